package render_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// clusterDefinition is a definition as the cluster has it.
func clusterDefinition(kind, namespace, name, version, template string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": oam.APIVersion, "kind": kind, "metadata": map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{"version": version, "schematic": map[string]any{"cue": map[string]any{"template": template}}},
	}}
}

func revisionOf(namespace, name, kind string, held *unstructured.Unstructured) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": oam.APIVersion, "kind": "DefinitionRevision", "metadata": map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{kind: held.Object},
	}}
}

// TestCatalog: where a type is looked for, and what a version of it means.
func TestCatalog(t *testing.T) {
	t.Parallel()
	const component, trait = "ComponentDefinition", "TraitDefinition"
	c := render.NewCatalog()
	for _, object := range []*unstructured.Unstructured{
		clusterDefinition(component, "vela-system", "web", "2.0.0", "output: from: \"system\""),
		clusterDefinition(component, "team-a", "web", "", "output: from: \"a\""),
		clusterDefinition(component, "team-b", "worker", "", "output: from: \"b\""),
		clusterDefinition(trait, "vela-system", "web", "", "patch: from: \"trait\""),
		clusterDefinition(component, "vela-system", "broken", "", ""),
		revisionOf("vela-system", "web-v1", "componentDefinition", clusterDefinition(component, "", "web", "1.0.0", "output: from: \"v1\"")),
		revisionOf("vela-system", "web-v2", "componentDefinition", clusterDefinition(component, "elsewhere", "web", "1.2.0", "output: from: \"v2\"")),
		revisionOf("vela-system", "web-v3", "componentDefinition", clusterDefinition(component, "", "web", "1.10.3", "output: from: \"v3\"")),
		revisionOf("vela-system", "web-v4", "componentDefinition", clusterDefinition(component, "", "web", "1.11.0-rc.1", "output: from: \"v4\"")),
		revisionOf("team-b", "web-v2", "componentDefinition", clusterDefinition(component, "", "web", "1.2.9", "output: from: \"b2\"")),
		revisionOf("vela-system", "web-x-v1", "componentDefinition", clusterDefinition(component, "", "web-x", "", "output: from: \"x\"")),
	} {
		if about, changed := c.Put(object); !changed {
			t.Fatalf("Put(%v) = %v, unchanged", object.Object, about)
		}
	}
	tests := []struct {
		kind            render.Kind
		namespace, name string
		want            string // of its template, or "" when it is not found
	}{
		{render.KindComponent, "default", "web", "system"},
		{render.KindComponent, "team-a", "web", "a"},
		{render.KindComponent, "vela-system", "web", "system"},
		{render.KindTrait, "team-a", "web", "trait"},
		{render.KindComponent, "team-b", "worker", "b"},
		{render.KindComponent, "default", "worker", "Deployment"}, // built in
		{render.KindComponent, "default", "nope", ""},
		{render.KindComponent, "default", "web@v1", "v1"},
		{render.KindComponent, "team-a", "web@v2", "v2"},
		{render.KindComponent, "team-b", "web@v2", "b2"},
		{render.KindComponent, "default", "web@v9", ""},
		{render.KindComponent, "default", "web@1", "v3"},
		{render.KindComponent, "default", "web@1.2", "v2"},
		{render.KindComponent, "default", "web@v1.2.0", "v2"},
		{render.KindComponent, "team-b", "web@1.2", "b2"},
		{render.KindComponent, "default", "web@2", "system"},
		{render.KindComponent, "default", "web@1.1", ""}, // not 1.10
		{render.KindComponent, "default", "web@1.11.0-rc.1", "v4"},
		{render.KindComponent, "default", "web@", ""},
		{render.KindComponent, "default", "web@latest", ""},
		{render.KindComponent, "default", "web-x@v1", "x"},
		{render.KindComponent, "default", "web@x-v1", ""}, // the revision of another name
		{render.KindTrait, "default", "web@v1", ""},
		{render.KindComponent, "default", "webservice@v1", ""},
	}
	for _, tt := range tests {
		def, ok := c.Definition(tt.kind, tt.namespace, tt.name)
		if ok != (tt.want != "") || ok && !strings.Contains(def.Template, `"`+tt.want+`"`) {
			t.Errorf("Definition(%s, %s, %s) = %+v, %v, want %s", tt.kind, tt.namespace, tt.name, def, ok, tt.want)
		}
	}
	if def, ok := c.Definition(render.KindComponent, "x", "broken"); !ok || def.Err == nil {
		t.Errorf("broken is %+v, %v: it must not make way for another", def, ok)
	}
	names := strings.Join(c.Names(render.KindComponent, "team-b"), " ")
	for _, want := range []string{"broken", "web", "webservice", "worker"} {
		if !strings.Contains(" "+names+" ", " "+want+" ") {
			t.Errorf("names %s lack %s", names, want)
		}
	}
	if strings.Count(names, "worker") != 1 {
		t.Errorf("names %s", names)
	}
}

// TestCatalogTellsChanges: what only informs people changes nothing.
func TestCatalogTellsChanges(t *testing.T) {
	t.Parallel()
	c := render.NewCatalog()
	web := clusterDefinition("ComponentDefinition", "vela-system", "web", "", "output: {}")
	want := render.DefinitionID{Kind: render.KindComponent, Namespace: "vela-system", Name: "web"}
	put := func(object *unstructured.Unstructured, change bool) {
		t.Helper()
		if about, changed := c.Put(object); changed != change || about != want {
			t.Errorf("Put = %v, %v, want %v, %v", about, changed, want, change)
		}
	}
	put(web, true)
	put(web, false)
	described := web.DeepCopy()
	described.SetAnnotations(map[string]string{"definition.oam.dev/description": "new"})
	put(described, false)
	put(clusterDefinition("ComponentDefinition", "vela-system", "web", "", "output: {a: 1}"), true)
	put(clusterDefinition("ComponentDefinition", "vela-system", "web", "", ""), true)
	put(revisionOf("vela-system", "web-v1", "componentDefinition", web), true)
	if about, changed := c.Remove(web); !changed || about != want {
		t.Errorf("Remove = %v, %v", about, changed)
	}
	if _, ok := c.Definition(render.KindComponent, "x", "web"); ok {
		t.Error("it is still there")
	}
	for _, kind := range []string{"WorkloadDefinition", "Application", "DefinitionRevision"} {
		if about, changed := c.Put(clusterDefinition(kind, "default", "x", "", "output: {}")); changed {
			t.Errorf("a %s defines %v", kind, about)
		}
	}
}

// TestFingerprint changes with every definition that a component uses, and with no other.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	c := render.NewCatalog()
	r := render.New(render.Config{Definitions: c})
	component := oam.Component{Name: "x", Type: "web", Traits: []oam.Trait{{Type: "scaler"}, {Type: "own"}}}
	seen := map[string]string{}
	for i, object := range []*unstructured.Unstructured{
		clusterDefinition("ComponentDefinition", "vela-system", "web", "", "output: {}"),
		clusterDefinition("TraitDefinition", "vela-system", "own", "", "patch: {}"),
		clusterDefinition("TraitDefinition", "vela-system", "own", "", "patch: {a: 1}"),
		clusterDefinition("TraitDefinition", "default", "scaler", "", "patch: {}"),
	} {
		c.Put(object)
		print := r.Fingerprint("default", component)
		if before, ok := seen[print]; ok {
			t.Errorf("change %d: as %s", i, before)
		}
		seen[print] = fmt.Sprint("change ", i)
	}
	before := r.Fingerprint("default", component)
	c.Put(clusterDefinition("TraitDefinition", "vela-system", "other", "", "patch: {}"))
	c.Put(clusterDefinition("TraitDefinition", "elsewhere", "own", "", "patch: {}"))
	if r.Fingerprint("default", component) != before {
		t.Error("it changed with definitions that are not used")
	}
}

// TestDefinitionRoundTrip: a file becomes an object and a file again, which means the
// same.
func TestDefinitionRoundTrip(t *testing.T) {
	t.Parallel()
	const file = `import "strings"

"my-type": {
	type: "trait"
	alias: "mine"
	description: "Does \"this\"."
	labels: {"ui-hidden": "true", "trait.oam.dev/x": "y"}
	annotations: "a/b": "c"
	attributes: {
		appliesToWorkloads: ["deployments.apps"]
		conflictsWith: ["scaler"]
		podDisruptive: true
		stage: "PreDispatch"
		version: "1.2.3"
		status: {
			customStatus: "message: \"a\\nb\""
			healthPolicy: isHealth: context.outputs.x.ok
			details: {import_: strings.ToUpper("x")}
		}
		extension: {deep: [1, {a: true}]}
	}
}
template: {
	// +patchStrategy=retainKeys
	patch: spec: a: strings.ToLower(parameter.a)
	parameter: {
		// +usage=The a
		a: *"x" | string
	}
}`
	first, err := render.DefinitionObject("f.cue", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	metadata, _ := json.Marshal(first["metadata"])
	const want = `{"annotations":{"custom.definition.oam.dev/a/b":"c","definition.oam.dev/alias":"mine","definition.oam.dev/description":"Does \"this\"."},"labels":{"custom.definition.oam.dev/ui-hidden":"true","trait.oam.dev/x":"y"},"name":"my-type"}`
	if string(metadata) != want {
		t.Errorf("metadata\n got %s\nwant %s", metadata, want)
	}
	def, err := render.DefinitionFromObject(first)
	if err != nil {
		t.Fatal(err)
	}
	if def.Stage != render.StagePre || !def.PodDisruptive || def.Version != "1.2.3" || fmt.Sprint(def.AppliesTo, def.ConflictsWith) != "[deployments.apps] [scaler]" ||
		strings.TrimSpace(def.HealthPolicy) != "isHealth: context.outputs.x.ok" || !strings.HasPrefix(def.Details, `import "strings"`) || strings.Contains(def.HealthPolicy, "import") {
		t.Errorf("definition %+v", def)
	}
	text, err := render.FormatDefinition(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := render.DefinitionObject("g.cue", text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("a second time (-first +second):\n%s\nfile\n%s", diff, text)
	}
	if err := render.Vet(t.Context(), def); err != nil {
		t.Error(err)
	}
}

func TestVet(t *testing.T) {
	t.Parallel()
	tests := []struct{ kind, template, want string }{
		{"ComponentDefinition", "output: {a: parameter.a}, parameter: a: int", ""},
		{"ComponentDefinition", "output: {", `compiling definition "x": expected '}', found 'EOF': x:1:10`},
		{"ComponentDefinition", "output: {a: nope}", `compiling definition "x": output.a: reference "nope" not found: x:1:13`},
		{"ComponentDefinition", "import \"vela/op\"\noutput: op.#Read", `compiling definition "x": import "vela/op": its functions act on clusters and services, and rendering does neither: only CUE's standard packages can be imported here; what has to be fetched belongs into a workflow step`},
		{"TraitDefinition", "patch: {a: 1, a: 2}", `compiling definition "x": patch.a: conflicting values 2 and 1: x:1:12 x:1:18`},
		{"TraitDefinition", "import \"strings\"\npatch: {}", `compiling definition "x": imported and not used: "strings": x:1:8`},
		{"WorkflowStepDefinition", "import \"vela/op\"\nread: op.#Read & {value: x: 1}", ""},
		{"WorkflowStepDefinition", "read: {", `compiling definition "x": expected '}', found 'EOF': x:1:8`},
		{"PolicyDefinition", "", "PolicyDefinition x: spec.schematic.cue.template is required"},
	}
	for _, tt := range tests {
		def, _ := render.DefinitionFromObject(clusterDefinition(tt.kind, "", "x", "", tt.template).Object)
		got := ""
		if err := render.Vet(t.Context(), def); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: error\n got %s\nwant %s", tt.template, got, tt.want)
		}
	}
}

// FuzzDefinitionFromObject: whatever is in the cluster is read, kept and looked up without
// a panic.
func FuzzDefinitionFromObject(f *testing.F) {
	for _, text := range []string{
		`{"apiVersion": "core.oam.dev/v1beta1", "kind": "ComponentDefinition", "metadata": {"name": "a"}, "spec": {"schematic": {"cue": {"template": "output: {}"}}}}`,
		`{"apiVersion": "core.oam.dev/v1beta1", "kind": "TraitDefinition", "metadata": {"name": "a", "annotations": {"definition.oam.dev/alias": "x"}}, "spec": {"stage": "PostDispatch", "podDisruptive": true, "conflictsWith": ["b"], "status": {"healthPolicy": "isHealth: true"}, "schematic": {"cue": {"template": "// +patchKey=name\npatch: l: [1] + [2]"}}}}`,
		`{"apiVersion": "core.oam.dev/v1beta1", "kind": "PolicyDefinition", "metadata": {"name": 7, "labels": []}, "spec": []}`,
		`{"apiVersion": "core.oam.dev/v1beta1", "kind": "WorkflowStepDefinition", "metadata": null, "spec": {"schematic": {"terraform": 1}}}`,
		`{"apiVersion": "core.oam.dev/v1beta1", "kind": "DefinitionRevision", "metadata": {"name": "a-v1"}, "spec": {"componentDefinition": {"metadata": {"name": "a"}, "spec": {"version": "1.0.0"}}, "traitDefinition": 3}}`,
		`{"spec": {"schematic": {"cue": null}}}`, `{}`, `null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var object map[string]any
		if utiljson.Unmarshal(data, &object) != nil {
			return
		}
		catalog := render.NewCatalog()
		if about, changed := catalog.Put(&unstructured.Unstructured{Object: object}); changed {
			catalog.Definition(about.Kind, about.Namespace, about.Name)
			catalog.Names(about.Kind, about.Namespace)
			catalog.Remove(&unstructured.Unstructured{Object: object})
		}
		def, err := render.DefinitionFromObject(object)
		if (err != nil) != (def == nil || def.Err != nil) {
			t.Fatalf("definition %+v with error %v", def, err)
		}
		if err == nil && (def.Name == "" || def.Template == "") {
			t.Errorf("a definition without a name or a template: %+v", def)
		}
	})
}

// TestPolicy renders what a policy of the user's own makes.
func TestPolicy(t *testing.T) {
	t.Parallel()
	c := render.NewCatalog()
	c.Put(clusterDefinition("PolicyDefinition", "vela-system", "quota", "", `
output: {apiVersion: "v1", kind: "ResourceQuota", spec: hard: pods: parameter.pods * len(context.components)}
outputs: budget: {
	apiVersion: "policy/v1", kind: "PodDisruptionBudget"
	metadata: name: context.name + "-" + context.appName
	spec: selector: matchLabels: context.artifacts.web.workload.spec.selector.matchLabels
	spec: ports: context.artifacts.web.traits.service.spec.ports
}
parameter: pods: *3 | int`))
	c.Put(clusterDefinition("PolicyDefinition", "vela-system", "bare", "", `parameter: {must: string}, errs: [if parameter.must == "no" {"no is not allowed"}]`))
	r := render.New(render.Config{Definitions: c})
	rc := render.Context{AppName: "shop", Namespace: "default", AppRevision: "shop-v1", AppLabels: map[string]string{"team": "blue"}}
	web := oam.Component{Name: "web", Type: "webservice", Properties: map[string]any{"image": "x", "ports": []any{map[string]any{"port": int64(80), "expose": true}}}}
	rc.Components = []oam.Component{web}
	rendered, err := r.Component(t.Context(), web, rc, nil)
	if err != nil {
		t.Fatal(err)
	}
	rendered.Objects[1].Key = "service"
	rc.Artifacts = []*render.Component{rendered}
	out, err := r.Policy(t.Context(), oam.Policy{Name: "limits", Type: "quota", Properties: map[string]any{"pods": int64(5)}}, rc)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, o := range out.Objects {
		raw, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(raw)
	}
	const want = `apiVersion: v1
kind: ResourceQuota
metadata:
  labels:
    app.kubernetes.io/managed-by: tradewind
    app.oam.dev/appRevision: shop-v1
    app.oam.dev/name: shop
    app.oam.dev/namespace: default
    team: blue
  name: limits
  namespace: default
spec:
  hard:
    pods: 5
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  labels:
    app.kubernetes.io/managed-by: tradewind
    app.oam.dev/appRevision: shop-v1
    app.oam.dev/name: shop
    app.oam.dev/namespace: default
    team: blue
  name: limits-shop
  namespace: default
spec:
  ports:
  - name: port-80
    port: 80
    protocol: TCP
    targetPort: 80
  selector:
    matchLabels:
      app.oam.dev/component: web
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		policy oam.Policy
		want   string
	}{
		{oam.Policy{Name: "p", Type: "quotas"}, `policy "p": policy type "quotas" is not known`},
		{oam.Policy{Name: "p", Type: "quota", Properties: map[string]any{"pods": "x"}}, `policy "p": properties.pods: "x" given, whole number wanted`},
		{oam.Policy{Name: "p", Type: "bare", Properties: map[string]any{"must": "no"}}, `policy "p": no is not allowed`},
	} {
		if _, err := r.Policy(t.Context(), tt.policy, rc); fmt.Sprint(err) != tt.want {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
}

// TestContextOfTraits: config and custom are there when they are given, and the whole of
// the properties under context.parameter.
func TestContextOfTraits(t *testing.T) {
	t.Parallel()
	c := render.NewCatalog()
	c.Put(clusterDefinition("ComponentDefinition", "vela-system", "own", "", `
output: {apiVersion: "v1", kind: "ConfigMap", data: {
	given: context.parameter.a
	if context.config != _|_ {env: context.config[0].value}
	if context.custom != _|_ {custom: context.custom.region}
}}
parameter: {a: string}`))
	c.Put(clusterDefinition("TraitDefinition", "team-a", "early", "", `outputs: x: {apiVersion: "v1", kind: "ConfigMap", data: type: context.componentType}`))
	staged := clusterDefinition("TraitDefinition", "team-a", "late", "", `outputs: y: {apiVersion: "v1", kind: "Secret"}`)
	if err := unstructured.SetNestedField(staged.Object, render.StagePost, "spec", "stage"); err != nil {
		t.Fatal(err)
	}
	c.Put(staged)
	r := render.New(render.Config{Definitions: c})
	component := oam.Component{Name: "x", Type: "own", Properties: map[string]any{"a": "b"}, Traits: []oam.Trait{{Type: "early"}, {Type: "late"}}}
	rc := render.Context{AppName: "shop", Namespace: "target", AppNamespace: "team-a"}
	for _, tt := range []struct {
		config []any
		custom map[string]any
		want   string
	}{
		{nil, nil, "map[given:b]"},
		{[]any{map[string]any{"name": "A", "value": "1"}}, map[string]any{"region": "eu"}, "map[custom:eu env:1 given:b]"},
	} {
		rc.Config, rc.Custom = tt.config, tt.custom
		out, err := r.Component(t.Context(), component, rc, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(out.Objects[0].Object["data"]); got != tt.want {
			t.Errorf("data %s, want %s", got, tt.want)
		}
		var stages []string
		for _, o := range out.Objects {
			stages = append(stages, o.Stage+" "+o.GetNamespace())
		}
		if got, want := strings.Join(stages, ", "), "DefaultDispatch target, DefaultDispatch target, PostDispatch target"; got != want {
			t.Errorf("stages %s, want %s", got, want)
		}
	}
	if err := r.CheckTypes("team-b", component); err == nil || !strings.Contains(err.Error(), `trait type "early" is not known`) {
		t.Errorf("in another namespace: %v", err)
	}
}
