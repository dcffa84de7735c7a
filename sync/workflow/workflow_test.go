package workflow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

const anyType = "job"

// trial drives one run the way a worker does: it stores and loads the state between any
// two calls.
type trial struct {
	*testing.T
	plan workflow.Plan
	st   *oam.WorkflowStatus
	now  time.Time
}

func begin(t *testing.T, spec string) *trial {
	t.Helper()
	return &trial{T: t, plan: plan(t, spec)}
}

func plan(t *testing.T, spec string) workflow.Plan {
	t.Helper()
	p, err := workflow.NewPlan(application(t, spec), workflow.TypeApplyComponent, anyType, "deploy")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func application(t *testing.T, spec string) *oam.Application {
	t.Helper()
	app := &oam.Application{}
	if err := yaml.Unmarshal([]byte(spec), &app.Spec); err != nil {
		t.Fatal(err)
	}
	return app
}

func (r *trial) store() {
	r.Helper()
	if r.st == nil {
		r.now = noon
		r.st = workflow.Start(r.plan, "shop-v1", r.now)
	}
	raw, err := json.Marshal(r.st)
	if err != nil {
		r.Fatal(err)
	}
	r.st = &oam.WorkflowStatus{}
	if err := json.Unmarshal(raw, r.st); err != nil {
		r.Fatal(err)
	}
}

// next lists the names of the steps that may run, joined by blanks.
func (r *trial) next() string {
	r.Helper()
	r.store()
	names := []string{}
	for _, s := range workflow.Next(r.plan, r.st, r.now) {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func (r *trial) wantNext(want string) {
	r.Helper()
	if got := r.next(); got != want {
		r.Fatalf("steps to run: %q, want %q\n%s", got, want, r.dump())
	}
}

func (r *trial) see(step string, phase oam.StepPhase, words ...string) bool {
	r.Helper()
	r.store()
	o := workflow.Observation{Phase: phase}
	if len(words) > 0 {
		o.Reason = words[0]
	}
	if len(words) > 1 {
		o.Message = words[1]
	}
	return workflow.Observe(r.plan, r.st, oam.Step{Name: step}, o, r.now)
}

func (r *trial) done(steps ...string) {
	r.Helper()
	for _, s := range steps {
		r.see(s, oam.StepSucceeded)
	}
}

// wantStates compares "name=phase" or "name=phase/Reason" for every recorded step,
// sub-steps in brackets, and the phase of the run before it.
func (r *trial) wantStates(want string) {
	r.Helper()
	if got := r.dump(); got != want {
		r.Fatalf("state\n got %s\nwant %s", got, want)
	}
}

func (r *trial) dump() string {
	return string(r.st.Phase) + ":" + dumpSteps(r.st.Steps)
}

func dumpSteps(steps []oam.StepStatus) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, " %s=%s", s.Name, s.Phase)
		if s.Reason != "" {
			b.WriteString("/" + s.Reason)
		}
		if len(s.SubSteps) > 0 {
			b.WriteString("[" + strings.TrimSpace(dumpSteps(s.SubSteps)) + "]")
		}
	}
	return b.String()
}

func (r *trial) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func steps(lines string) string {
	return "components: []\nworkflow:\n  steps:\n" + indent(lines)
}

func dag(lines string) string {
	return "components: []\nworkflow:\n  mode: {steps: DAG}\n  steps:\n" + indent(lines)
}

func indent(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimLeft(lines, "\n")) {
		b.WriteString("  " + strings.TrimPrefix(line, "\t\t"))
	}
	return b.String()
}

func TestImplicitWorkflowIsADAGOfComponents(t *testing.T) {
	t.Parallel()
	r := begin(t, `
components:
- {name: web, type: webservice, dependsOn: [db]}
- {name: db, type: webservice}
- {name: cache, type: webservice}
`)
	r.wantNext("db cache")
	if got, want := r.st.Mode, "DAG-DAG"; got != want {
		t.Errorf("mode %q, want %q", got, want)
	}
	r.see("db", oam.StepRunning, workflow.ReasonWait, "wait healthy")
	r.wantNext("db cache")
	r.wantStates("executing: web=pending db=running/Wait")
	r.done("cache", "db")
	r.wantNext("web")
	r.done("web")
	r.wantNext("")
	r.wantStates("succeeded: web=succeeded db=succeeded cache=succeeded")
	if !r.st.Finished || r.st.EndTime == nil || r.st.Suspend || r.st.Terminated {
		t.Errorf("finished run: %+v", r.st)
	}
}

func TestExplicitWorkflowRunsStepByStepAndOnlyItsComponents(t *testing.T) {
	t.Parallel()
	r := begin(t, `
components:
- {name: operator, type: helm}
- {name: mysql, type: raw}
- {name: unused, type: raw}
workflow:
  steps:
  - {name: deploy-operator, type: apply-component, properties: {component: operator}}
  - {name: deploy-mysql, type: apply-component, properties: {component: mysql}}
`)
	r.wantNext("deploy-operator")
	if got, want := r.st.Mode, "StepByStep-DAG"; got != want {
		t.Errorf("mode %q, want %q", got, want)
	}
	r.wantStates("executing:")
	r.see("deploy-operator", oam.StepRunning, workflow.ReasonWait, "wait healthy")
	r.wantNext("deploy-operator")
	r.done("deploy-operator")
	r.wantNext("deploy-mysql")
	r.done("deploy-mysql")
	r.wantStates("succeeded: deploy-operator=succeeded deploy-mysql=succeeded")
}

func TestComponentDependsOnHoldsInExplicitWorkflow(t *testing.T) {
	t.Parallel()
	r := begin(t, `
components:
- {name: operator, type: helm}
- {name: mysql, type: raw, dependsOn: [operator]}
workflow:
  mode: {steps: DAG}
  steps:
  - {name: second, type: apply-component, properties: {component: mysql}}
  - {name: first, type: apply-component, properties: {component: operator}}
`)
	r.wantNext("first")
	r.wantStates("executing: second=pending")
	if got, want := r.st.Steps[0].Message, "Pending on DependsOn: first"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	r.done("first")
	r.wantNext("second")
}

func TestPoliciesMakeDeploySteps(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, policies, want string }{
		{"topologies, overrides first", "[{type: topology, name: eu}, {type: override}, {type: topology, name: us}]",
			"deploy-eu[override-auto-gen-1 eu] deploy-us[override-auto-gen-1 us]"},
		{"overrides alone", "[{type: override, name: small}, {type: apply-once}]", "deploy[small]"},
		{"neither", "[{type: garbage-collect}]", "web[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := plan(t, "components: [{name: web, type: webservice}]\npolicies: "+tt.policies)
			var got []string
			for _, s := range p.Steps {
				policies, _ := s.Properties["policies"].([]any)
				got = append(got, fmt.Sprintf("%s%v", s.Name, append([]any{}, policies...)))
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestFailureSkipsTheRestButNotAlways(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: a, type: job}
		- {name: b, type: job}
		- {name: report, type: job, if: always}
		- {name: c, type: job}
`))
	r.wantNext("a")
	r.see("a", oam.StepFailed, workflow.ReasonExecute, "boom")
	r.wantNext("report")
	r.wantStates("executing: a=failed/Execute b=skipped/Skip")
	r.done("report")
	r.wantStates("failed: a=failed/Execute b=skipped/Skip report=succeeded c=skipped/Skip")
	if got, want := r.st.Message, `step "a" failed (Execute): boom`; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestSkippedPredecessor(t *testing.T) {
	t.Parallel()
	never := func(string, workflow.Vars) (bool, error) { return false, nil }

	r := begin(t, steps(`
		- {name: a, type: job, if: context.no}
		- {name: b, type: job}
`))
	r.plan.Eval = never
	r.wantNext("b") // StepByStep: a skipped step does not stand in the way
	r.done("b")
	r.wantStates("succeeded: a=skipped/Skip b=succeeded")

	r = begin(t, dag(`
		- {name: a, type: job, if: context.no}
		- {name: b, type: job, dependsOn: [a]}
`))
	r.plan.Eval = never
	r.wantNext("") // DAG: what depends on it is skipped with it
	r.wantStates("succeeded: a=skipped/Skip b=skipped/Skip")
}

func TestDAGSkipsOnlyWhatDependsOnTheFailure(t *testing.T) {
	t.Parallel()
	r := begin(t, dag(`
		- {name: a, type: job}
		- {name: b, type: job, dependsOn: [a]}
		- {name: c, type: job, dependsOn: [b]}
		- {name: clean, type: job, dependsOn: [a], if: always}
		- {name: behind, type: job, dependsOn: [clean]}
		- {name: other, type: job}
`))
	r.wantNext("a other")
	r.see("a", oam.StepFailed, workflow.ReasonAction)
	r.wantNext("clean other")
	r.done("clean")
	r.wantNext("other")
	r.wantStates("executing: a=failed/Action b=skipped/Skip c=skipped/Skip clean=succeeded behind=skipped/Skip")
	r.done("other")
	r.wantNext("")
	if r.st.Phase != oam.WorkflowFailed {
		t.Errorf("phase %s", r.st.Phase)
	}
}

func TestDependsOnInStepByStepAddsWaiting(t *testing.T) {
	t.Parallel()
	// The group's sub-step waits for a step outside of it.
	r := begin(t, `
components: []
workflow:
  mode: {steps: DAG}
  steps:
  - name: g
    type: step-group
    mode: StepByStep
    subSteps:
    - {name: x, type: job, dependsOn: [a]}
    - {name: "y", type: job}
  - {name: a, type: job}
`)
	r.wantNext("a")
	r.wantStates("executing: g=running[x=pending]")
	r.done("a")
	r.wantNext("x")
	r.done("x")
	r.wantNext("y")
}

func TestIf(t *testing.T) {
	t.Parallel()
	spec := steps(`
		- {name: a, type: job}
		- {name: b, type: job, if: 'status.a.failed'}
`)
	r := begin(t, spec)
	r.plan.Eval = func(expr string, v workflow.Vars) (bool, error) {
		if expr != "status.a.failed" || v.Step.Name != "b" {
			return false, fmt.Errorf("asked for %q of %q", expr, v.Step.Name)
		}
		return v.Status["a"].Failed, nil
	}
	r.see("a", oam.StepFailed, workflow.ReasonTimeout)
	r.wantNext("b")

	r = begin(t, spec)
	r.plan.Eval = func(string, workflow.Vars) (bool, error) { return false, errors.New("no such field") }
	r.done("a")
	r.wantNext("")
	r.wantStates("failed: a=succeeded b=failed/Rendering")
	if got, want := r.st.Message, `step "b" failed (Rendering): if "status.a.failed": no such field`; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if got := r.st.Steps[1].FirstExecuteTime; got != nil {
		t.Errorf("a step that was never run has first execute time %v", got)
	}

	r = begin(t, spec)
	r.done("a")
	r.wantNext("")
	if got, want := r.st.Steps[1].Message, `if "status.a.failed": expressions are not supported here; only always is`; got != want {
		t.Errorf("without Eval: message %q, want %q", got, want)
	}
}

func TestVarsAsExpressionsSeeThem(t *testing.T) {
	t.Parallel()
	r := begin(t, dag(`
		- {name: a, type: job, outputs: [{name: url, valueFrom: output.url}]}
		- {name: b, type: job}
		- {name: c, type: job, dependsOn: [b], inputs: [{from: url}], if: ask}
`))
	r.plan.Values = map[string]any{"url": "http://a"}
	var seen workflow.Vars
	r.plan.Eval = func(_ string, v workflow.Vars) (bool, error) { seen = v; return false, nil }
	r.done("a")
	r.see("b", oam.StepFailed, workflow.ReasonRetries)
	raw, err := json.Marshal(map[string]any{"status": seen.Status, "inputs": seen.Inputs})
	r.must(err)
	var got map[string]any
	r.must(json.Unmarshal(raw, &got))
	want := map[string]any{"inputs": map[string]any{"url": "http://a"}, "status": map[string]any{
		"a": map[string]any{
			"id": workflow.StepID("shop-v1", "a"), "name": "a", "type": "job", "phase": "succeeded",
			"firstExecuteTime": "2026-03-02T12:00:00Z", "lastExecuteTime": "2026-03-02T12:00:00Z",
			"succeeded": true, "failed": false, "skipped": false, "timeout": false, "failedAfterRetries": false, "terminate": false,
		},
		"b": map[string]any{
			"id": workflow.StepID("shop-v1", "b"), "name": "b", "type": "job", "phase": "failed", "reason": "FailedAfterRetries",
			"firstExecuteTime": "2026-03-02T12:00:00Z", "lastExecuteTime": "2026-03-02T12:00:00Z",
			"succeeded": false, "failed": true, "skipped": false, "timeout": false, "failedAfterRetries": true, "terminate": false,
		},
		"c": map[string]any{
			"id": workflow.StepID("shop-v1", "c"), "name": "c", "type": "job", "phase": "pending", "message": "Pending on DependsOn: b",
			"succeeded": false, "failed": false, "skipped": false, "timeout": false, "failedAfterRetries": false, "terminate": false,
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("vars (-want +got):\n%s", diff)
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	spec := `
components:
- {name: db, type: raw, outputs: [{name: host, valueFrom: output.host}]}
- {name: web, type: webservice, inputs: [{from: host, parameterKey: "env[0].value"}]}
`
	r := begin(t, spec)
	r.wantNext("db")
	r.done("db")
	r.wantNext("") // succeeded, but the caller has not evaluated the output yet
	r.wantStates("executing: db=succeeded web=pending")
	if got, want := r.st.Steps[1].Message, "Pending on Input: host"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	r.plan.Values = map[string]any{"host": "10.0.0.1"}
	r.wantNext("web")

	r = begin(t, spec)
	r.see("db", oam.StepFailed, workflow.ReasonExecute)
	r.wantNext("")
	r.wantStates("failed: db=failed/Execute web=skipped/Skip")

	r = begin(t, dag(`
		- {name: a, type: job, outputs: [{name: v, valueFrom: x}]}
		- {name: b, type: job, if: always, inputs: [{from: v}]}
		- {name: c, type: job, inputs: [{from: context.namespace}]}
`))
	r.see("a", oam.StepFailed, workflow.ReasonExecute)
	r.wantNext("")
	r.wantStates("executing: a=failed/Execute b=failed/Input c=pending")
	r.plan.Values = map[string]any{"context.namespace": "shop"}
	r.wantNext("c")
}

func TestObserve(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: a, type: job}
		- {name: b, type: job}
`))
	if r.see("b", oam.StepSucceeded) {
		t.Error("a step that may not run yet was taken for done")
	}
	if r.see("nobody", oam.StepSucceeded) {
		t.Error("an unknown step changed something")
	}
	if !r.see("a", oam.StepRunning, workflow.ReasonWait, "wait healthy") {
		t.Error("the first observation changed nothing")
	}
	r.now = r.now.Add(time.Minute)
	if r.see("a", oam.StepRunning, workflow.ReasonWait, "wait healthy") {
		t.Error("the same observation changed something")
	}
	if !r.see("a", oam.StepRunning, workflow.ReasonWait, "1 of 2 ready") {
		t.Error("another message changed nothing")
	}
	first, last := r.st.Steps[0].FirstExecuteTime, r.st.Steps[0].LastExecuteTime
	if !first.Time.Equal(noon) || !last.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("executed first %v, last %v", first, last)
	}
	r.done("a")
	if r.see("a", oam.StepFailed, workflow.ReasonExecute) {
		t.Error("an observation after the end changed the step")
	}
	r.done("b")
	if r.see("b", oam.StepRunning) {
		t.Error("an observation after the run changed it")
	}
	r.wantStates("succeeded: a=succeeded b=succeeded")
}

func TestStepIDIsStable(t *testing.T) {
	t.Parallel()
	a := workflow.StepID("shop-v1", "web")
	if len(a) != 10 || a != workflow.StepID("shop-v1", "web") {
		t.Errorf("id %q", a)
	}
	if b := workflow.StepID("shop-v2", "web"); b == a {
		t.Errorf("two revisions share id %q", a)
	}
}
