package render_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

func parseObjects(t *testing.T, docs ...string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, doc := range docs {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	return out
}

const chartedDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: site, labels: {app.kubernetes.io/managed-by: Helm}}
spec: {template: {metadata: {labels: {app: site}}}}
`

// TestCharted gives what a chart made its place and the labels of the Application.
func TestCharted(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{})
	c := oam.Component{Name: "web", Type: "helm", Traits: []oam.Trait{{Type: "helm-labels", Properties: map[string]any{
		"name": "site", "labels": map[string]any{"tier": "front"}}}}}
	rc := render.Context{AppName: "shop", Namespace: "default", AppRevision: "shop-v2", AppRevisionNum: 2}
	out, err := r.Charted(c, rc, "prod", parseObjects(t, chartedDeployment, "{apiVersion: v1, kind: Namespace, metadata: {name: extra, namespace: wrong}}"))
	if err != nil {
		t.Fatal(err)
	}
	site, extra := out.Objects[0], out.Objects[1]
	if site.GetNamespace() != "prod" || extra.GetNamespace() != "" {
		t.Errorf("namespaces %q and %q", site.GetNamespace(), extra.GetNamespace())
	}
	want := map[string]string{
		oam.LabelName: "shop", oam.LabelNamespace: "default", oam.LabelComponent: "web", oam.LabelRevision: "shop-v2", oam.LabelResourceType: oam.ResourceWorkload,
		oam.LabelWorkloadType: "helm", "app.kubernetes.io/managed-by": "Helm", "tier": "front",
	}
	if diff := cmp.Diff(want, site.GetLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	pods, _, _ := unstructured.NestedStringMap(site.Object, "spec", "template", "metadata", "labels")
	if diff := cmp.Diff(map[string]string{"app": "site", oam.LabelName: "shop", oam.LabelComponent: "web", "tier": "front"}, pods); diff != "" {
		t.Errorf("labels of the pods (-want +got):\n%s", diff)
	}
	s := r.Health(c, rc, out, func(*unstructured.Unstructured) *unstructured.Unstructured { return nil })
	if s.Healthy || !strings.Contains(s.Message, "Deployment site is not there yet") {
		t.Errorf("health: %+v", s)
	}
}

func TestChartedMistakes(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{})
	c := oam.Component{Name: "web", Type: "helm", Properties: map[string]any{"url": "https://x", "chart": "web"}}
	if _, err := r.Charted(c, render.Context{AppName: "shop", Namespace: "default"}, "default", parseObjects(t, chartedDeployment, chartedDeployment)); err == nil {
		t.Error("the same object twice was accepted")
	}
	c.Traits = []oam.Trait{{Type: "helm-labels"}}
	out, err := r.Charted(c, render.Context{AppName: "shop", Namespace: "default"}, "default", parseObjects(t, chartedDeployment))
	if err != nil || len(out.Hints) != 1 || !strings.Contains(out.Hints[0], "makes no Deployment web") {
		t.Errorf("a trait for nothing: %v, %v", out, err)
	}
	c.Traits = []oam.Trait{{Type: "scaler"}}
	hints, err := r.CheckProperties(t.Context(), c)
	if err != nil || len(hints) != 1 || !strings.Contains(hints[0], "scaler has no effect") {
		t.Errorf("another trait: %q, %v", hints, err)
	}
	c.Properties["version"] = 1.5
	if _, err := r.CheckProperties(t.Context(), c); err == nil || !strings.Contains(err.Error(), "properties.version") {
		t.Errorf("a number as version: %v", err)
	}
}
