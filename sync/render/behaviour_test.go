package render_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// TestOwnDefinitions: a definition from elsewhere counts before a built-in one, and a
// changed text is compiled anew.
func TestOwnDefinitions(t *testing.T) {
	t.Parallel()
	own := map[string]*render.Definition{}
	r := render.New(render.Config{Definitions: layered{own, render.Builtins()}})
	app := oam.Component{
		Name: "web", Type: "webservice", Properties: map[string]any{"image": "x"},
		Traits: []oam.Trait{{Type: "node-port", Properties: map[string]any{}}},
	}
	own["webservice"] = &render.Definition{
		Kind: render.KindComponent, Name: "webservice",
		Template: `output: {apiVersion: "v1", kind: "Pod", spec: replicas: len(context.components)}
outputs: service: {apiVersion: "v1", kind: "Service", metadata: name: "svc", spec: {type: "ClusterIP", ports: [{port: 80}]}}`,
	}
	own["node-port"] = &render.Definition{
		Kind: render.KindTrait, Name: "node-port",
		Template: "patchOutputs: service: spec: {\n// +patchStrategy=retainKeys\ntype: \"NodePort\"\n// +patchKey=port\nports: [{port: 80, nodePort: 30080}]}",
	}
	for _, kind := range []string{"Pod", "Gadget"} {
		def := *own["webservice"]
		def.Template = strings.Replace(def.Template, "Pod", kind, 1)
		own["webservice"] = &def
		out, err := r.Component(t.Context(), app, render.Context{AppName: "a", Namespace: "default", Components: []oam.Component{app, app}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Objects[0]; got.GetKind() != kind || fmt.Sprint(got.Object["spec"]) != "map[replicas:2]" {
			t.Errorf("workload %v, want a %s with 2 replicas", got.Object, kind)
		}
		if got, want := fmt.Sprint(out.Objects[1].Object["spec"]), "map[ports:[map[nodePort:30080 port:80]] type:NodePort]"; got != want {
			t.Errorf("service %s, want %s", got, want)
		}
	}
}

// TestGiveUp: a context that has ended renders nothing.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := render.New(render.Config{}).Component(ctx, seedApp(t).Spec.Components[0], render.Context{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that the context ended", err)
	}
}

// TestPanic: what panics costs one component an error, and the renderer goes on.
func TestPanic(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{Namespaced: func(gk schema.GroupKind) (bool, bool) {
		if gk.Kind == "Ingress" {
			panic("on\npurpose")
		}
		return true, true
	}})
	app := seedApp(t)
	for range 10 { // more than there are engines
		_, err := r.Component(t.Context(), app.Spec.Components[0], render.Context{AppName: "a", Namespace: "default"}, nil)
		if want := `component "my-server": the renderer panicked: on purpose`; err == nil || err.Error() != want {
			t.Fatalf("error %v, want %s", err, want)
		}
	}
	if _, err := r.Component(t.Context(), oam.Component{Name: "w", Type: "worker", Properties: map[string]any{"image": "x"}}, render.Context{}, nil); err != nil {
		t.Error(err)
	}
}

// TestInputsStayAsTheyWere: properties, labels and the like belong to the caller.
func TestInputsStayAsTheyWere(t *testing.T) {
	t.Parallel()
	app := seedApp(t)
	app.Labels = map[string]string{"team": "shop"}
	before, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	rc := render.Context{AppName: "a", Namespace: "default", AppLabels: app.Labels, AppAnnotations: app.Annotations, Components: app.Spec.Components}
	r := render.New(render.Config{})
	first, err := r.Component(t.Context(), app.Spec.Components[0], rc, nil)
	if err != nil {
		t.Fatal(err)
	}
	first.Objects[0].Object["spec"] = "changed"
	if after, err := json.Marshal(app); err != nil || string(after) != string(before) {
		t.Errorf("the Application is %s, was %s (%v)", after, before, err)
	}
}

// TestSourceOf reads what a Git source says, with its defaults.
func TestSourceOf(t *testing.T) {
	t.Parallel()
	if src, err := render.SourceOf(oam.Component{Type: "webservice"}); src != nil || err != nil {
		t.Errorf("a webservice has the source %v, %v", src, err)
	}
	src, err := render.SourceOf(oam.Component{Type: "kustomize", Properties: map[string]any{"url": "https://example.com/r", "path": "./apps"}})
	want := render.Source{Type: "git", URL: "https://example.com/r", Path: "./apps", PullInterval: 5 * 60e9, Prune: true}
	if err != nil || *src != want {
		t.Errorf("source %+v, %v; want %+v", src, err, want)
	}
	src, err = render.SourceOf(oam.Component{Type: "kustomize", Properties: map[string]any{
		"url": "u", "path": "p", "pullInterval": "90s", "timeout": "2m", "prune": false, "suspend": true, "force": true, "secretRef": "s", "targetNamespace": "n",
		"git":             map[string]any{"branch": "b", "tag": "t", "semver": ">=1", "name": "refs/heads/x", "commit": "c", "provider": "GitHub"},
		"imageRepository": map[string]any{"image": "x"},
	}})
	want = render.Source{
		Type: "git", URL: "u", Path: "p", PullInterval: 90e9, Timeout: 120e9, Suspend: true, Force: true, SecretName: "s", TargetNamespace: "n",
		Branch: "b", Tag: "t", SemVer: ">=1", RefName: "refs/heads/x", Commit: "c",
	}
	if err != nil || *src != want {
		t.Errorf("source %+v, %v; want %+v", src, err, want)
	}
}

// FuzzProperties: whatever the properties, there are objects or an error of one line that
// names the component.
func FuzzProperties(f *testing.F) {
	f.Add("webservice", `{"image": "x", "port": 80}`, "ingress", `{"domain": "d", "http": {"/": 80}}`)
	f.Add("k8s-objects", `{"objects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"a": 1}}}]}`, "labels", `{"a": null}`)
	f.Add("raw", `{"apiVersion": "v1", "kind": "List", "metadata": []}`, "json-patch", `{"operations": [{"op": "remove", "path": "/kind"}]}`)
	f.Add("task", `{"image": "x", "count": 1e30, "env": [null]}`, "env", `{"containers": [{}]}`)
	r := render.New(render.Config{})
	f.Fuzz(func(t *testing.T, kind, properties, trait, traitProperties string) {
		c := oam.Component{Name: "c", Type: kind, Traits: []oam.Trait{{Type: trait}}}
		if json.Unmarshal([]byte(properties), &c.Properties) != nil || json.Unmarshal([]byte(traitProperties), &c.Traits[0].Properties) != nil {
			return
		}
		out, err := r.Component(t.Context(), c, render.Context{AppName: "a", Namespace: "default"}, fstest.MapFS{})
		if err != nil {
			if e, ok := errors.AsType[*render.Error](err); !ok || e.Component != "c" || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "panicked") {
				t.Errorf("error %q", err)
			}
			return
		}
		for _, o := range out.Objects {
			if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" || o.GetLabels()[oam.LabelComponent] != "c" {
				t.Errorf("object without identity: %v", o.Object)
			}
		}
	})
}
