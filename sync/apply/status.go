package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patch changes an Application as it was read: if anyone changed it since, another worker
// that took over among them, the server refuses and the caller looks again.
func (c *Cluster) patch(ctx context.Context, app *oam.Application, subresource []string, ops ...patchOp) error {
	ops = append([]patchOp{{Op: "replace", Path: "/metadata/resourceVersion", Value: app.ResourceVersion}}, ops...)
	fresh, err := c.patchApplication(ctx, app.Namespace, app.Name, types.JSONPatchType, ops, subresource...)
	if err != nil {
		return err
	}
	app.ResourceVersion, app.Generation, app.Finalizers = fresh.ResourceVersion, fresh.Generation, slices.Clone(fresh.Finalizers)
	app.Status = *fresh.Status.DeepCopy()
	return nil
}

func (c *Cluster) patchApplication(ctx context.Context, namespace, name string, kind types.PatchType, patch any, subresource ...string) (*application, error) {
	ref := applicationRef(namespace, name)
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encoding a patch of %s: %w", ref, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	obj, err := c.dynamic.Resource(applicationResource).Namespace(namespace).
		Patch(ctx, name, kind, body, metav1.PatchOptions{FieldManager: FieldOwner}, subresource...)
	if err != nil {
		return nil, classify(ref, "updating", err)
	}
	return c.applications.watch.Wrote(obj), nil
}

// WriteStatus stores status unless the Application has it already, and says whether it
// wrote.
func (c *Cluster) WriteStatus(ctx context.Context, app *oam.Application, status oam.Status) (bool, error) {
	if equality.Semantic.DeepEqual(app.Status, status) {
		return false, nil
	}
	err := c.patch(ctx, app, []string{"status"}, patchOp{Op: "add", Path: "/status", Value: status})
	if apierrors.IsConflict(err) && c.overtakenByImages(app) {
		// They belong to another writer, who has no part in ours.
		fresh, _, _ := c.Application(app.Namespace, app.Name)
		app.ResourceVersion, app.Status.Images, status.Images = fresh.ResourceVersion, fresh.Status.Images, fresh.Status.Images
		return c.WriteStatus(ctx, app, status)
	}
	return err == nil, err
}

// overtakenByImages reports whether nothing but what [Cluster.WriteImages] writes has
// changed since app was read.
func (c *Cluster) overtakenByImages(app *oam.Application) bool {
	fresh, found, err := c.Application(app.Namespace, app.Name)
	if !found || err != nil || fresh.ResourceVersion == app.ResourceVersion {
		return false
	}
	same := app.DeepCopy()
	same.ResourceVersion, same.ManagedFields, same.Status.Images = fresh.ResourceVersion, fresh.ManagedFields, fresh.Status.Images
	return equality.Semantic.DeepEqual(same, fresh)
}

// WriteImages replaces what the status says of images and nothing else; it makes no
// request when that is so.
func (c *Cluster) WriteImages(ctx context.Context, namespace, name string, images []oam.Image) error {
	app, found, _ := c.Application(namespace, name)
	if !found || equality.Semantic.DeepEqual(app.Status.Images, images) {
		return nil
	}
	_, err := c.patchApplication(ctx, namespace, name, types.MergePatchType,
		map[string]any{"status": map[string]any{"images": images}}, "status")
	return err
}

// SetFinalizer adds or removes our finalizer; it makes no request when that is so. With
// ours goes the one by which a user keeps the objects: it is ours to honour.
func (c *Cluster) SetFinalizer(ctx context.Context, app *oam.Application, present bool) error {
	if slices.Contains(app.Finalizers, oam.Finalizer) == present {
		return nil
	}
	finalizers := slices.DeleteFunc(slices.Clone(app.Finalizers), func(f string) bool {
		return f == oam.Finalizer || f == oam.FinalizerOrphan && !present
	})
	if present {
		finalizers = append(finalizers, oam.Finalizer)
	}
	if len(finalizers) == 0 {
		return c.patch(ctx, app, nil, patchOp{Op: "remove", Path: "/metadata/finalizers"})
	}
	return c.patch(ctx, app, nil, patchOp{Op: "add", Path: "/metadata/finalizers", Value: finalizers})
}

// Annotate sets annotations of an Application and touches nothing else; an empty value
// removes one.
func (c *Cluster) Annotate(ctx context.Context, namespace, name string, annotations map[string]string) error {
	return c.setMetadata(ctx, namespace, name, "annotations", annotations)
}

// Label sets labels of an Application and touches nothing else; an empty value removes
// one.
func (c *Cluster) Label(ctx context.Context, namespace, name string, labels map[string]string) error {
	return c.setMetadata(ctx, namespace, name, "labels", labels)
}

func (c *Cluster) setMetadata(ctx context.Context, namespace, name, field string, values map[string]string) error {
	patch := map[string]any{}
	for k, v := range values {
		patch[k] = v
		if v == "" {
			patch[k] = nil
		}
	}
	_, err := c.patchApplication(ctx, namespace, name, types.MergePatchType, map[string]any{"metadata": map[string]any{field: patch}})
	return err
}
