package render_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// script is what happens outside while a step runs.
type script struct {
	Returns map[string]render.Returned `json:"returns"` // by the path of the call
	Resumed bool                       `json:"resumed"`
	Vars    map[string]any             `json:"vars"`
	Outputs map[string]string          `json:"outputs"` // valueFrom expressions for when it is done
}

// evaluation is one evaluation of a step, as it is written to out/trace.yaml.
type evaluation struct {
	render.StepResult
	Outputs map[string]any `json:"outputs,omitempty"`
}

// TestSteps runs step.yaml of every archive: calls end as script.yaml says, and what each
// evaluation asked for and concluded is in out/trace.yaml. A definition.cue replaces the
// built-in definition.
func TestSteps(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/steps/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata/steps: %v", err)
	}
	r := render.New(render.Config{})
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in, kept := map[string][]byte{}, archive.Files[:0:0]
			for _, f := range archive.Files {
				in[f.Name] = f.Data
				if !strings.HasPrefix(f.Name, "out/") {
					kept = append(kept, f)
				}
			}
			out := runStep(t, r, in)
			if *update {
				archive.Files = kept
				for _, name := range []string{"out/trace.yaml", "out/error"} {
					if out[name] != "" {
						archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(out[name])})
					}
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, name := range []string{"out/trace.yaml", "out/error"} {
				if diff := cmp.Diff(string(in[name]), out[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// runStep runs a step to its end and returns the files that tell of it.
func runStep(t *testing.T, r *render.Renderer, in map[string][]byte) map[string]string {
	t.Helper()
	var s script
	if err := yaml.UnmarshalStrict(in["script.yaml"], &s); err != nil {
		t.Fatal(err)
	}
	var step oam.Step
	if err := yaml.UnmarshalStrict(in["step.yaml"], &step); err != nil {
		t.Fatal(err)
	}
	def := definitionOf(t, r, step, in["definition.cue"])
	input := render.StepInput{
		Step: step, Resumed: s.Resumed, Vars: s.Vars, Returned: map[string]render.Returned{},
		Context: render.StepContext{
			AppName: "shop", Namespace: "prod", AppRevision: "shop-v3", WorkflowName: "shop",
			StepSessionID: "a1b2c3", AppLabels: map[string]string{"team": "web"},
		},
	}
	out := map[string]string{}
	for _, hint := range r.StepHints(def, input) {
		out["out/error"] += "hint: " + hint + "\n"
	}
	var trace []evaluation
	for {
		result, err := r.Step(t.Context(), def, input)
		if err != nil {
			out["out/error"] += err.Error() + "\n"
			break
		}
		trace = append(trace, evaluation{StepResult: *result, Outputs: outputsOf(t, r, s, result)})
		if len(result.Calls) == 0 || !answer(t, s, result.Calls, input.Returned) {
			break
		}
	}
	if trace != nil {
		text, err := yaml.Marshal(trace)
		if err != nil {
			t.Fatal(err)
		}
		out["out/trace.yaml"] = string(text)
	}
	return out
}

func definitionOf(t *testing.T, r *render.Renderer, step oam.Step, own []byte) *render.Definition {
	t.Helper()
	if own != nil {
		def, err := render.ParseDefinition("definition.cue", own)
		if err != nil {
			t.Fatal(err)
		}
		return def
	}
	def, err := r.StepDefinition(step.Type)
	if err != nil {
		t.Fatal(err)
	}
	return def
}

// answer ends the calls as the script says; it stops at the first that ends with an error.
func answer(t *testing.T, s script, calls []render.Call, returned map[string]render.Returned) bool {
	t.Helper()
	for _, call := range calls {
		value, ok := s.Returns[call.Path]
		if !ok {
			return false
		}
		if _, again := returned[call.Path]; again {
			t.Fatalf("call %s is made a second time", call.Path)
		}
		returned[call.Path] = value
		if value.Err != "" {
			break
		}
	}
	return true
}

func outputsOf(t *testing.T, r *render.Renderer, s script, result *render.StepResult) map[string]any {
	t.Helper()
	if result.Phase != oam.StepSucceeded {
		return nil
	}
	var out map[string]any
	for name, expr := range s.Outputs {
		value, err := r.ValueFrom(t.Context(), expr, result.Value)
		if err != nil {
			value = "error: " + err.Error()
		}
		if out == nil {
			out = map[string]any{}
		}
		out[name] = value
	}
	return out
}

// TestEveryStepTypeHasACase: the archive is the proof that a definition works.
func TestEveryStepTypeHasACase(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	cases, _ := filepath.Glob("testdata/steps/*.txtar")
	for _, file := range cases {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			var step oam.Step
			if f.Name == "step.yaml" && yaml.Unmarshal(f.Data, &step) == nil {
				covered[step.Type] = true
			}
		}
	}
	for _, name := range render.Builtins().Names(render.KindWorkflowStep) {
		if !covered[name] {
			t.Errorf("step type %s has no case in testdata/steps", name)
		}
	}
}

// TestStepSurvivesJSON: a step is evaluated in another process.
func TestStepSurvivesJSON(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{})
	def, err := r.StepDefinition("apply-deployment")
	if err != nil {
		t.Fatal(err)
	}
	in := render.StepInput{
		Step:    oam.Step{Name: "web", Type: "apply-deployment", Properties: map[string]any{"image": "x", "replicas": int64(2)}},
		Context: render.StepContext{AppName: "shop", Namespace: "prod"},
		Returned: map[string]render.Returned{"output": {Value: map[string]any{
			"value": map[string]any{"status": map[string]any{"readyReplicas": int64(2)}},
		}}},
	}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var again render.StepInput
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	first, err := r.Step(t.Context(), def, in)
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Step(t.Context(), def, again)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	if first.Phase != oam.StepSucceeded {
		t.Errorf("phase %s: want succeeded", first.Phase)
	}
}

func TestStepDefinitionUnknown(t *testing.T) {
	t.Parallel()
	_, err := render.New(render.Config{}).StepDefinition("aply-object")
	hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !ok || !strings.Contains(hinted.Hint(), `did you mean "apply-object"?`) {
		t.Errorf("error %v: want a hint at apply-object", err)
	}
}

var conditionVars = map[string]any{
	"status": map[string]any{
		"build": map[string]any{"phase": "succeeded", "succeeded": true, "failed": false},
		"a-b":   map[string]any{"phase": "failed", "succeeded": false, "failed": true, "message": "no"},
	},
	"inputs":    map[string]any{"replicas": int64(3), "name": "web-1"},
	"context":   map[string]any{"name": "shop", "appLabels": map[string]any{"team": "web"}},
	"parameter": map[string]any{"image": "x:1"},
}

func TestCondition(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{})
	for _, test := range []struct {
		expr  string
		want  bool
		wrong string // part of the error
	}{
		{expr: `status["a-b"].failed`, want: true},
		{expr: `status.build.succeeded`, want: true},
		{expr: `status.build.phase == "failed"`},
		{expr: `status["a-b"].message == "no" && !status.build.failed`, want: true},
		{expr: `inputs.replicas > 2`, want: true},
		{expr: `inputs["name"] =~ "^web-[0-9]$"`, want: true},
		{expr: `context.appLabels.team != "web"`},
		{expr: `context.appLabels.owner == _|_`, want: true},
		{expr: `parameter.image == "x:1" || status.nobody.failed`, wrong: "nobody"},
		{expr: `strings.HasPrefix(context.name, "sh")`, want: true},
		{expr: "import \"strings\"\nstrings.HasSuffix(context.name, \"op\")", want: true},
		{expr: `status.nobody.failed`, wrong: "nobody"},
		{expr: `inputs.replicas`, wrong: "it gives 3: want true or false"},
		{expr: `inputs.name`, wrong: "it gives a string"},
		{expr: `stauts.build.failed`, wrong: "there are: context, inputs, parameter, status"},
		{expr: ``, wrong: "empty"},
		{expr: `true)`, wrong: "expected"},
		{expr: "true\nfalse", wrong: "two expressions"},
		{expr: "status: build: failed: true\ntrue", wrong: "expected"},
		{expr: `bool`, wrong: "bool"},
		{expr: strings.Repeat("(", 9000) + "true" + strings.Repeat(")", 9000), wrong: "at most"},
	} {
		got, err := r.Condition(t.Context(), test.expr, conditionVars)
		name := fmt.Sprintf("%.60q", test.expr)
		switch {
		case test.wrong == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
			t.Errorf("%s: error %v: want %q", name, err, test.wrong)
		case got != test.want:
			t.Errorf("%s gives %t: want %t", name, got, test.want)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`status["a-b"].failed`, `status.build.phase == "x"`, `len(inputs.name) > 3`, `[for k, v in status {v.failed}][0]`,
		`{a: b, b: a}.a`, `"\(context.name)" == "shop"`, `import "strings"`, `_|_`, `{`, `let x = x, x`, "0x", `~(a,b)`,
	} {
		f.Add(seed)
	}
	r := render.New(render.Config{})
	f.Fuzz(func(t *testing.T, expr string) {
		first, err := r.Condition(t.Context(), expr, conditionVars)
		if err != nil && strings.Contains(err.Error(), "panicked") {
			return // CUE's own mistakes are contained, which is all we promise
		}
		second, again := r.Condition(t.Context(), expr, conditionVars)
		if first != second || (err == nil) != (again == nil) {
			t.Errorf("%q gives %t, %v and then %t, %v", expr, first, err, second, again)
		}
	})
}
