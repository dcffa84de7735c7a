package render_test

import (
	"context"
	"encoding/json"
	"errors"
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
	def, err := r.StepDefinition("default", step.Type)
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
	for _, name := range render.Builtins().Names(render.KindWorkflowStep, "") {
		if !covered[name] {
			t.Errorf("step type %s has no case in testdata/steps", name)
		}
	}
}

// TestStepSurvivesJSON: a step is evaluated in another process.
func TestStepSurvivesJSON(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{})
	def, err := r.StepDefinition("default", "apply-deployment")
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
	_, err := render.New(render.Config{}).StepDefinition("default", "aply-object")
	hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !ok || !strings.Contains(hinted.Hint(), `did you mean "apply-object"?`) {
		t.Errorf("error %v: want a hint at apply-object", err)
	}
}

// TestStepEnds: whoever wants an evaluation to end is obeyed, and what a step can ask for
// is bounded.
func TestStepEnds(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{})
	def := &render.Definition{Kind: render.KindWorkflowStep, Name: "many", Template: `
import "list"
parameter: {n: int}
all: [for i in list.Range(0, parameter.n, 1) {#provider: "kube", #do: "apply", $params: value: index: i}]
`}
	in := render.StepInput{Step: oam.Step{Name: "s", Type: "many", Properties: map[string]any{"n": int64(3)}}}
	result, err := r.Step(t.Context(), def, in)
	if err != nil || len(result.Calls) != 3 {
		t.Fatalf("result %+v, %v: want 3 calls", result, err)
	}
	in.Step.Properties["n"] = int64(2000)
	if _, err := r.Step(t.Context(), def, in); err == nil || !strings.Contains(err.Error(), `step "s": definition "many" has 2000 actions: at most 1000`) {
		t.Errorf("error %v: want that there are too many actions", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Step(ended, def, in); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v: want that of the context", err)
	}
	if _, err := r.Condition(ended, "true", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v: want that of the context", err)
	}
}
