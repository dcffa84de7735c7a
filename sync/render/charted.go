package render

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/manifests"
)

// typeHelm is the component type whose objects come from a chart; another package
// fetches and renders it.
const typeHelm = "helm"

// traitHelmLabels is the one trait that has an effect on what a chart makes.
const traitHelmLabels = "helm-labels"

// CheckProperties reports properties that the component's definition, and those of its
// traits, do not allow. It returns hints at what nothing reads.
func (r *Renderer) CheckProperties(ctx context.Context, c oam.Component) ([]string, error) {
	out := &Component{}
	if err := withComponent(r.checkProperties(ctx, c, out), c.Name); err != nil {
		return nil, err
	}
	for _, t := range c.Traits {
		if t.Type != traitHelmLabels {
			out.Hints = append(out.Hints, fmt.Sprintf("trait %s has no effect here: use properties.values", t.Type))
		}
	}
	return out.Hints, nil
}

// unfetched is the error of a component whose chart nobody fetched, or of its properties.
func (r *Renderer) unfetched(ctx context.Context, c oam.Component) error {
	if _, err := r.CheckProperties(ctx, c); err != nil {
		return err
	}
	return &Error{Err: errors.New("what a chart makes is known only when it was fetched"), Advice: "helm template shows it"}
}

// Charted makes a component of the objects that its chart made: they get their place in
// namespace and the labels that all objects of an Application have.
func (r *Renderer) Charted(c oam.Component, rc Context, namespace string, objects []*unstructured.Unstructured) (*Component, error) {
	out := &Component{Name: c.Name, Type: c.Type}
	for _, o := range objects {
		if err := manifests.Identity(o); err != nil {
			return nil, withComponent(&Error{Err: err}, c.Name)
		}
		r.place(o, namespace)
		object := Object{Unstructured: o, Role: oam.ResourceWorkload}
		mark(object, c, rc)
		out.Objects = append(out.Objects, object)
	}
	for _, t := range c.Traits {
		if t.Type == traitHelmLabels {
			helmLabels(out, c, rc, t)
		}
	}
	return out, withComponent(checkDuplicates(out.Objects), c.Name)
}

// helmLabels puts the labels of the Application, and those of the trait, on one workload
// and its pods.
func helmLabels(out *Component, c oam.Component, rc Context, t oam.Trait) {
	text := func(field, fallback string) string {
		if s, ok := t.Properties[field].(string); ok && s != "" {
			return s
		}
		return fallback
	}
	labels := map[string]string{oam.LabelComponent: c.Name, oam.LabelName: rc.AppName}
	given, _ := t.Properties["labels"].(map[string]any)
	for k, v := range given {
		if s, ok := v.(string); ok {
			labels[k] = s
		}
	}
	at := slices.IndexFunc(out.Objects, func(o Object) bool {
		return o.GetKind() == text("kind", "Deployment") && o.GetAPIVersion() == text("apiVersion", "apps/v1") &&
			o.GetName() == text("name", c.Name) && o.GetNamespace() == text("namespace", o.GetNamespace())
	})
	if at < 0 {
		out.Hints = append(out.Hints, fmt.Sprintf("trait %s: the chart makes no %s %s", traitHelmLabels, text("kind", "Deployment"), text("name", c.Name)))
		return
	}
	workload := out.Objects[at]
	all := workload.GetLabels()
	maps.Copy(all, labels)
	workload.SetLabels(all)
	pods, _, err := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "labels")
	if err != nil || pods == nil {
		pods = map[string]string{}
	}
	maps.Copy(pods, labels)
	if err := unstructured.SetNestedStringMap(workload.Object, pods, "spec", "template", "metadata", "labels"); err != nil {
		out.Hints = append(out.Hints, fmt.Sprintf("trait %s: %s %s has no pods", traitHelmLabels, workload.GetKind(), workload.GetName()))
	}
}
