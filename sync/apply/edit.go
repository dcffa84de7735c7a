package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// editor is the field owner of what a person changes with a command of ours. It is not
// [FieldOwner]: what Git says wins over it.
const editor = FieldOwner + "-cli"

// SetSpec replaces the spec of an Application as it was read: if anyone changed it since,
// the server refuses.
func (c *Cluster) SetSpec(ctx context.Context, app *oam.Application, spec oam.Spec, dryRun bool) error {
	return c.edit(ctx, app, dryRun, patchOp{Op: "replace", Path: "/spec", Value: spec})
}

// DeleteApplication deletes an Application as it was read, and with it what it owns,
// unless orphan keeps that.
func (c *Cluster) DeleteApplication(ctx context.Context, app *oam.Application, orphan, dryRun bool) error {
	if orphan && !slices.Contains(app.Finalizers, oam.FinalizerOrphan) {
		op := patchOp{Op: "add", Path: "/metadata/finalizers", Value: append(slices.Clone(app.Finalizers), oam.FinalizerOrphan)}
		if err := c.edit(ctx, app, dryRun, op); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	uid := app.UID
	err := c.dynamic.Resource(applicationResource).Namespace(app.Namespace).Delete(ctx, app.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, DryRun: dryRunOf(dryRun),
	})
	return classifyIf(applicationRef(app.Namespace, app.Name), "deleting", err)
}

func (c *Cluster) edit(ctx context.Context, app *oam.Application, dryRun bool, op patchOp) error {
	ref := applicationRef(app.Namespace, app.Name)
	body, err := json.Marshal([]patchOp{{Op: "replace", Path: "/metadata/resourceVersion", Value: app.ResourceVersion}, op})
	if err != nil {
		return fmt.Errorf("encoding a patch of %s: %w", ref, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = c.dynamic.Resource(applicationResource).Namespace(app.Namespace).
		Patch(ctx, app.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: editor, DryRun: dryRunOf(dryRun)})
	return classifyIf(ref, "updating", err)
}

func dryRunOf(dryRun bool) []string {
	if dryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}
