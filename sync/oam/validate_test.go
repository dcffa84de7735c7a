package oam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, spec, want string }{ // want is what follows "Application shop is not valid: "
		{"no components at all", "  policies: []\n", "spec.components is missing"},
		{"an empty list of them", "  components: []\n", ""},
		{"a name twice", "  components: [{name: a, type: x}, {name: b, type: x}, {name: a, type: x}]\n",
			`spec.components[2].name: "a" is the name of spec.components[0] already`},
		{"names and types missing", "  components: [{type: x}, {name: b}, {name: c, type: x, traits: [{}]}, null]\n  policies: [{name: p}]\n",
			`spec.components[0].name is missing; spec.components[1].type is missing (component "b"); ` +
				`spec.components[2].traits[0].type is missing (component "c"); spec.components[3].name is missing; ` +
				`spec.components[3].type is missing (component ""); spec.policies[0].type is missing (policy "p")`},
		{"an unknown dependency", "  components: [{name: a, type: x, dependsOn: [b]}]\n",
			`component "a" depends on "b", which is not a component of this Application`},
		{"a circle", "  components: [{name: z, type: x, dependsOn: [a]}, {name: a, type: x, dependsOn: [b]}, {name: b, type: x, dependsOn: [a]}]\n",
			"components depend on each other in a circle: a → b → a"},
		{"itself", "  components: [{name: a, type: x, dependsOn: [a]}]\n",
			"components depend on each other in a circle: a → a"},
		{"a diamond is no circle", "  components: [{name: a, type: x, dependsOn: [b, c]}, {name: b, type: x, dependsOn: [d]}, {name: c, type: x, dependsOn: [d]}, {name: d, type: x}]\n", ""},
		{"passing without names", "  components: [{name: a, type: x, inputs: [{parameterKey: k}], outputs: [{name: o}]}]\n",
			"spec.components[0].inputs[0].from is missing; spec.components[0].outputs[0]: want name and valueFrom"},
		{"ref and steps", "  components: []\n  workflow: {ref: w, steps: [{type: suspend}]}\n", "spec.workflow has both ref and steps: keep one"},
		{"a mode", "  components: []\n  workflow: {mode: {steps: dag, subSteps: Parallel}, steps: [{type: step-group, mode: x}]}\n",
			`spec.workflow.mode.steps: "dag": want StepByStep or DAG; spec.workflow.mode.subSteps: "Parallel": want StepByStep or DAG; ` +
				`spec.workflow.steps[0].mode: "x": want StepByStep or DAG`},
		{"step names", "  components: []\n  workflow: {steps: [{name: a, type: suspend}, {type: step-group, subSteps: [{name: a, type: suspend}]}, {name: step-1, type: suspend}]}\n",
			`spec.workflow.steps[1].subSteps[0].name: "a" is the name of spec.workflow.steps[0] already; ` +
				`spec.workflow.steps[2].name: "step-1" is the name of spec.workflow.steps[1] already`},
		{"step types", "  components: []\n  workflow: {steps: [{name: a}]}\n", `spec.workflow.steps[0].type is missing (step "a")`},
		{"groups", "  components: []\n  workflow: {steps: [{type: suspend, subSteps: [{type: step-group, subSteps: [{type: suspend}]}]}]}\n",
			"spec.workflow.steps[0].subSteps: only a step of type step-group has sub-steps; spec.workflow.steps[0].subSteps[0]: a group cannot hold another"},
		{"a step's component", "  components: [{name: a, type: x}]\n  workflow: {steps: [{type: apply-component, properties: {component: b}}, {type: apply-component}, {type: apply-component, properties: {component: a}}]}\n",
			`spec.workflow.steps[0].properties.component: "b" is not a component of this Application; spec.workflow.steps[1].properties.component: want the name of a component`},
		{"a timeout", "  components: []\n  workflow: {steps: [{type: suspend, timeout: 1d}]}\n",
			`spec.workflow.steps[0].timeout: "1d" is not a duration: want numbers with ms, s, m or h, such as 90s or 1h30m`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app, err := oam.Parse([]byte(header(tt.spec)))
			got := strings.TrimPrefix(fmt.Sprint(err), "Application shop is not valid: ")
			if tt.want == "" {
				tt.want = "<nil>"
			}
			if got != tt.want {
				t.Errorf("error\n got %s\nwant %s", got, tt.want)
			}
			if app == nil || app.Name != "shop" {
				t.Errorf("the document did not come with the error: %+v", app)
			}
		})
	}
}

func TestValidateWantsAName(t *testing.T) {
	t.Parallel()
	_, err := oam.Parse([]byte("apiVersion: core.oam.dev/v1beta1\nkind: Application\nspec: {components: []}\n"))
	if want := "Application  is not valid: metadata.name is missing"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestDefaulted(t *testing.T) {
	t.Parallel()
	spec := oam.Spec{
		Policies: []oam.Policy{{Type: "topology"}, {Name: "mine", Type: "override"}, {Type: "override"}},
		Workflow: &oam.Workflow{Steps: []oam.Step{
			{Type: "suspend"}, {Name: "g", Type: "step-group", SubSteps: []oam.Step{{Type: "suspend"}, {Name: "x", Type: "suspend"}, {Type: "suspend"}}},
			{Type: "step-group", SubSteps: []oam.Step{{Type: "suspend"}}},
		}},
	}
	before := toJSON(t, spec)
	got := spec.Defaulted()
	var names []string
	for _, p := range got.Policies {
		names = append(names, p.Name)
	}
	for _, s := range got.Workflow.Steps {
		names = append(names, s.Name)
		for _, sub := range s.SubSteps {
			names = append(names, sub.Name)
		}
	}
	want := []string{
		"topology-auto-gen-0", "mine", "override-auto-gen-2",
		"step-0", "g", "step-1-0", "x", "step-1-2", "step-2", "step-2-0",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if after := toJSON(t, spec); after != before {
		t.Errorf("the original changed:\n%s\n%s", before, after)
	}
}

func TestSpecHash(t *testing.T) {
	t.Parallel()
	parse := func(spec, metadata string) string {
		app, err := oam.Parse([]byte("apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: shop" + metadata + "}\nspec:\n" + spec))
		if err != nil {
			t.Fatal(err)
		}
		return oam.SpecHash(app.Spec)
	}
	base := "  components: [{name: a, type: x, properties: {b: 1, c: [1, 2]}}]\n  workflow: {steps: [{type: suspend}]}\n"
	want := parse(base, "")
	if want != "a59a79fda619c676" {
		t.Errorf("hash %s is not what it was: every Application would get a new revision", want)
	}
	same := map[string]string{
		"another order of keys": "  workflow: {steps: [{type: suspend}]}\n  components: [{type: x, properties: {c: [1, 2], b: 1.0}, name: a}]\n",
		"the default name":      strings.Replace(base, "{type: suspend}", "{name: step-0, type: suspend}", 1),
		"an unknown field":      base + "  colour: blue\n",
	}
	for name, spec := range same {
		if got := parse(spec, ""); got != want {
			t.Errorf("%s changes the hash", name)
		}
	}
	if got := parse(base, ", labels: {a: b}, annotations: {c: d}"); got != want {
		t.Error("metadata changes the hash")
	}
	for name, spec := range map[string]string{
		"a property":         strings.Replace(base, "b: 1", "b: 2", 1),
		"the order of lists": strings.Replace(base, "[1, 2]", "[2, 1]", 1),
		"a step":             strings.Replace(base, "suspend", "step-group", 1),
	} {
		if got := parse(spec, ""); got == want {
			t.Errorf("%s does not change the hash", name)
		}
	}
}

func TestWithInput(t *testing.T) {
	t.Parallel()
	c := oam.Component{
		Name: "web", Type: "webservice",
		Properties: map[string]any{"image": "web:1", "env": []any{map[string]any{"name": "HOST", "value": "old"}}},
		Traits:     []oam.Trait{{Type: "ingress", Properties: map[string]any{"domain": "old"}}},
	}
	before := toJSON(t, c)
	tests := []struct{ key, want string }{ // want is a part of the component's JSON, or the error
		{"image", `"image":"new"`},
		{"properties.image", `"image":"new"`},
		{"a.b", `"a":{"b":"new"}`},
		{`labels["app.oam.dev/name"]`, `"labels":{"app.oam.dev/name":"new"}`},
		{"env[0].value", `"env":[{"name":"HOST","value":"new"}]`},
		{"env[1].value", `"env":[{"name":"HOST","value":"old"},{"value":"new"}]`},
		{"traits[0].properties.domain", `"properties":{"domain":"new"}`},
		{"", `"image":"web:1"`},
		{"env[3]", `input "out": parameterKey "env[3]": [3] of a list of 1`},
		{"image.tag", `input "out": parameterKey "image.tag": "tag" of a value that is no object`},
		{"image[0]", `input "out": parameterKey "image[0]": [0] of a value that is no list`},
		{"a..b", `input "out": parameterKey "a..b": "..b" is not a path: want names and [index], such as env[0].value`},
		{"traits[0].type[0]", `input "out": parameterKey "traits[0].type[0]": [0] of a value that is no list`},
		{"traits[0]", `input "out": component.traits[0]: string given, object wanted`},
	}
	for _, tt := range tests {
		got, err := c.WithInput(oam.Input{From: "out", ParameterKey: tt.key}, "new")
		if err != nil {
			if err.Error() != tt.want {
				t.Errorf("%s: error %v, want %s", tt.key, err, tt.want)
			}
		} else if raw := toJSON(t, got); !strings.Contains(raw, tt.want) {
			t.Errorf("%s: %s, want %s in it", tt.key, raw, tt.want)
		}
	}
	if after := toJSON(t, c); after != before {
		t.Errorf("the original changed:\n%s\n%s", before, after)
	}
}
