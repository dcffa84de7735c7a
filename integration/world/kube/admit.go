package kube

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// Admit asks whether the API server would take an object as it is, in the version it is
// written in. It is a server-side apply that changes nothing and refuses unknown fields
// and list elements that are there twice.
func (c *Cluster) Admit(ctx context.Context, obj *unstructured.Unstructured) error {
	id := fmt.Sprintf("%s %s/%s", obj.GetKind(), obj.GetNamespace(), obj.GetName())
	gvk := obj.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return fmt.Errorf("admitting %s: %w", id, err)
	}
	var resource dynamic.ResourceInterface = c.client.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameRoot {
		resource = c.client.Resource(mapping.Resource).Namespace(obj.GetNamespace())
	}
	data, err := obj.MarshalJSON()
	if err != nil {
		return fmt.Errorf("admitting %s: %w", id, err)
	}
	_, err = resource.Patch(ctx, obj.GetName(), "application/apply-patch+yaml", data, metav1.PatchOptions{
		DryRun: []string{metav1.DryRunAll}, FieldManager: "kubectl", FieldValidation: "Strict", Force: new(true),
	})
	if err != nil {
		return fmt.Errorf("admitting %s: %w", id, err)
	}
	return nil
}
