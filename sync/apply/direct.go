package apply

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// What workflow steps do with single objects that need not be the Application's own.

// Patch merges changes (RFC 7386) into an object and returns it.
func (c *Cluster) Patch(ctx context.Context, ref ObjectRef, changes map[string]any) (*unstructured.Unstructured, error) {
	ref = c.canonical(ref)
	client, err := c.resource(ctx, ref)
	if err != nil {
		return nil, classify(ref, "patching", err)
	}
	body, err := json.Marshal(changes)
	if err != nil {
		return nil, fmt.Errorf("encoding a patch of %s: %w", ref, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o, err := client.Patch(ctx, ref.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: FieldOwner})
	return o, classifyIf(ref, "patching", err)
}

// maxListed bounds what a step lists.
const maxListed = 1000

// List returns the objects of a kind in a namespace (empty means all) that have labels.
func (c *Cluster) List(ctx context.Context, ref ObjectRef, matching map[string]string) ([]unstructured.Unstructured, error) {
	client, err := c.resource(ctx, ref)
	if err != nil {
		return nil, classify(ref, "listing", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(matching).String(), Limit: maxListed})
	if err != nil {
		return nil, classify(ref, "listing", err)
	}
	if list.GetContinue() != "" {
		return nil, &Error{Reason: ReasonFailedApply, Ref: ref, Err: fmt.Errorf("listing %s: there are more than %d", ref.Kind, maxListed), Advice: "narrow the filter"}
	}
	return list.Items, nil
}

// Delete deletes an object by its name; one that is not there is fine.
func (c *Cluster) Delete(ctx context.Context, ref ObjectRef) error {
	ref = c.canonical(ref)
	client, err := c.resource(ctx, ref)
	if err != nil {
		return classify(ref, "deleting", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	background := metav1.DeletePropagationBackground
	err = client.Delete(ctx, ref.Name, metav1.DeleteOptions{PropagationPolicy: &background})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return classifyIf(ref, "deleting", err)
}

var configMapResource = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

func configMapRef(namespace, name string) ObjectRef {
	return ObjectRef{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name}
}

// Stored reads what [Cluster.Store] wrote, with its version; nothing when there is none.
func (c *Cluster) Stored(ctx context.Context, namespace, name string) (data map[string]string, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o, err := c.dynamic.Resource(configMapResource).Namespace(namespace).Get(ctx, name, getOptions)
	if apierrors.IsNotFound(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", classify(configMapRef(namespace, name), "reading", err)
	}
	data, _, err = unstructured.NestedStringMap(o.Object, "data")
	return data, o.GetResourceVersion(), err
}

// Store keeps data of an Application in a ConfigMap that goes with it. It must be as the
// caller read it last: version is of that reading, empty when there was none.
func (c *Cluster) Store(ctx context.Context, app *oam.Application, name string, data map[string]string, version string) (string, error) {
	ref := configMapRef(app.Namespace, name)
	values := map[string]any{}
	for k, v := range data {
		values[k] = v
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": values}}
	o.SetNamespace(app.Namespace)
	o.SetName(name)
	o.SetLabels(map[string]string{oam.LabelName: app.Name, "app.kubernetes.io/managed-by": FieldOwner})
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: oam.APIVersion, Kind: oam.Kind, Name: app.Name, UID: app.UID, Controller: new(true)}})
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := c.dynamic.Resource(configMapResource).Namespace(app.Namespace)
	var stored *unstructured.Unstructured
	var err error
	if version == "" {
		stored, err = client.Create(ctx, o, metav1.CreateOptions{FieldManager: FieldOwner})
	} else {
		o.SetResourceVersion(version)
		stored, err = client.Update(ctx, o, metav1.UpdateOptions{FieldManager: FieldOwner})
	}
	switch {
	case apierrors.IsAlreadyExists(err), version != "" && apierrors.IsNotFound(err): // another worker's, or somebody's hand
		return "", classify(ref, "storing", apierrors.NewConflict(configMapResource.GroupResource(), name, err))
	case err != nil:
		return "", classify(ref, "storing", err)
	}
	return stored.GetResourceVersion(), nil
}

// AnnotateAs sets annotations of an Application as it was read, so that whoever changed
// it since is not overruled; an empty value removes one. The Application given shows what
// was written.
func (c *Cluster) AnnotateAs(ctx context.Context, app *oam.Application, annotations map[string]string) error {
	patch := map[string]any{}
	for k, v := range annotations {
		patch[k] = v
		if v == "" {
			patch[k] = nil
		}
	}
	fresh, err := c.patchApplication(ctx, app.Namespace, app.Name, types.MergePatchType,
		map[string]any{"metadata": map[string]any{"resourceVersion": app.ResourceVersion, "annotations": patch}})
	if err != nil {
		return err
	}
	app.ResourceVersion, app.Annotations = fresh.ResourceVersion, fresh.Annotations
	return nil
}
