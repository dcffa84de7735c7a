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

// Restore gives an Application, as it was read, the spec of a recorded one: if anyone
// changed it since, the server refuses. The version that an Application is published
// under goes with the spec, which would not be delivered without it.
func (c *Cluster) Restore(ctx context.Context, app, recorded *oam.Application, dryRun bool) error {
	ops := []patchOp{{Op: "replace", Path: "/spec", Value: recorded.Spec}}
	const version = "/metadata/annotations/app.oam.dev~1publishVersion"
	now, then := app.Annotations[oam.AnnotationPublishVersion], recorded.Annotations[oam.AnnotationPublishVersion]
	switch {
	case now == then:
	case then == "":
		ops = append(ops, patchOp{Op: "remove", Path: version})
	case len(app.Annotations) == 0:
		ops = append(ops, patchOp{Op: "add", Path: "/metadata/annotations", Value: map[string]string{oam.AnnotationPublishVersion: then}})
	default:
		ops = append(ops, patchOp{Op: "add", Path: version, Value: then})
	}
	return c.edit(ctx, app, dryRun, ops...)
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

func (c *Cluster) edit(ctx context.Context, app *oam.Application, dryRun bool, ops ...patchOp) error {
	ref := applicationRef(app.Namespace, app.Name)
	body, err := json.Marshal(append([]patchOp{{Op: "replace", Path: "/metadata/resourceVersion", Value: app.ResourceVersion}}, ops...))
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
