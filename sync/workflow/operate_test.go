package workflow_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

func TestGroup(t *testing.T) {
	t.Parallel()
	group := steps(`
		- name: g
		  type: step-group
		  subSteps:
		  - {name: x, type: job}
		  - {name: "y", type: job, dependsOn: [x]}
		  - {name: z, type: job}
		- {name: after, type: job}
`)
	r := begin(t, group)
	r.wantNext("x z")
	r.wantStates("executing: g=running[y=pending]")
	r.see("z", oam.StepRunning, workflow.ReasonWait)
	r.done("x", "y")
	r.wantStates("executing: g=running[x=succeeded y=succeeded z=running/Wait]")
	r.done("z")
	r.wantNext("after")
	r.wantStates("executing: g=succeeded[x=succeeded y=succeeded z=succeeded]")

	r = begin(t, group)
	r.see("x", oam.StepFailed, workflow.ReasonRetries, "no route")
	r.done("z")
	r.wantNext("")
	r.wantStates("failed: g=failed/FailedAfterRetries[x=failed/FailedAfterRetries y=skipped/Skip z=succeeded] after=skipped/Skip")
	if got, want := r.st.Message, `step "x" failed (FailedAfterRetries): no route`; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestGroupStepByStepAndSkipped(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: a, type: job}
		- name: g
		  type: step-group
		  mode: StepByStep
		  subSteps:
		  - {name: x, type: job, if: always}
		  - {name: "y", type: job}
		- name: h
		  type: step-group
		  if: always
		  mode: StepByStep
		  subSteps:
		  - {name: p, type: job}
		  - {name: q, type: job}
		- {name: empty, type: step-group, if: always}
`))
	r.see("a", oam.StepFailed, workflow.ReasonExecute)
	r.wantNext("p") // a skipped group takes all of its sub-steps with it
	r.wantStates("executing: a=failed/Execute g=skipped/Skip[x=skipped/Skip y=skipped/Skip] h=running")
	r.done("p")
	r.wantNext("q")
	r.done("q")
	r.wantStates("failed: a=failed/Execute g=skipped/Skip[x=skipped/Skip y=skipped/Skip] h=succeeded[p=succeeded q=succeeded] empty=succeeded")
}

func TestGroupOfSkippedStepsIsSkipped(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: g, type: step-group, subSteps: [{name: x, type: job, if: "false"}]}
		- {name: b, type: job}
`))
	r.plan.Eval = func(string, workflow.Vars) (bool, error) { return false, nil }
	r.wantNext("b")
	r.wantStates("executing: g=skipped/Skip[x=skipped/Skip]")
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: a, type: job, timeout: 1m30s}
		- {name: b, type: job, if: always}
`))
	r.wantNext("a")
	if got := workflow.Deadline(r.plan, r.st); !got.IsZero() {
		t.Errorf("deadline %v of a step that was not run yet", got)
	}
	r.now = noon.Add(500 * time.Millisecond)
	r.see("a", oam.StepRunning, workflow.ReasonWait)
	due := noon.Add(91 * time.Second) // the half second was lost when the state was stored
	if got := workflow.Deadline(r.plan, r.st); !got.Equal(due) {
		t.Errorf("deadline %v, want %v", got, due)
	}
	r.now = due.Add(-time.Nanosecond)
	r.wantNext("a")
	r.now = due
	r.wantNext("b")
	r.wantStates("executing: a=failed/Timeout")
	if got, want := r.st.Steps[0].Message, "not done within 1m30s"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if got := workflow.Deadline(r.plan, r.st); !got.IsZero() {
		t.Errorf("deadline %v after the timeout", got)
	}
}

func TestTimeoutOfGroup(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- name: g
		  type: step-group
		  timeout: 1m
		  subSteps: [{name: x, type: job}, {name: "y", type: job, dependsOn: [x]}, {name: z, type: job}]
`))
	r.wantNext("x z")
	r.see("x", oam.StepRunning, workflow.ReasonWait)
	r.now = noon.Add(2 * time.Minute)
	r.wantNext("")
	r.wantStates("failed: g=failed/Timeout[x=failed/Timeout y=skipped/Skip z=skipped/Skip]")
	if got, want := r.st.Message, `step "x" failed (Timeout): group "g": not done within 1m`; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestTimeoutOfGroupThatRanNothingFailsTheRun(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: g, type: step-group, timeout: 1m, subSteps: [{name: x, type: job}]}
`))
	r.wantNext("x")
	r.now = noon.Add(2 * time.Minute)
	r.wantNext("")
	r.wantStates("failed: g=failed/Timeout[x=skipped/Skip]")
}

func TestSuspendStep(t *testing.T) {
	t.Parallel()
	spec := steps(`
		- {name: a, type: job}
		- {name: gate, type: suspend, properties: {message: look first}}
		- {name: b, type: job}
`)
	r := begin(t, spec)
	r.done("a")
	r.wantNext("")
	r.wantStates("suspending: a=succeeded gate=suspending/Suspend")
	if !r.st.Suspend || r.st.Steps[1].Message != "look first" {
		t.Errorf("suspended: %+v", r.st)
	}
	if r.see("gate", oam.StepSucceeded) {
		t.Error("an observation passed the gate")
	}
	r.store()
	r.must(workflow.Resume(r.plan, r.st, "", r.now))
	r.wantNext("b")
	r.wantStates("executing: a=succeeded gate=succeeded")
	if r.st.Suspend {
		t.Error("still suspended")
	}
}

func TestSuspendStepWithDuration(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: gate, type: suspend, properties: {duration: 10m}}
		- {name: b, type: job}
`))
	r.wantNext("")
	due := noon.Add(10*time.Minute + time.Second)
	if got := workflow.Deadline(r.plan, r.st); !got.Equal(due) {
		t.Errorf("deadline %v, want %v", got, due)
	}
	r.now = due.Add(-time.Second)
	r.wantNext("")
	r.now = due
	r.wantNext("b")
	r.wantStates("executing: gate=succeeded")
}

func TestSuspendStepHoldsOnlyItsBranchOfADAG(t *testing.T) {
	t.Parallel()
	r := begin(t, dag(`
		- {name: gate, type: suspend}
		- {name: b, type: job, dependsOn: [gate]}
		- {name: c, type: job}
		- {name: d, type: job, dependsOn: [c]}
		- name: g
		  type: step-group
		  subSteps: [{name: other, type: suspend}]
`))
	r.wantNext("c")
	r.wantStates("suspending: gate=suspending/Suspend b=pending d=pending g=suspending[other=suspending/Suspend]")
	r.done("c")
	r.wantNext("d")
	r.store()
	r.must(workflow.Resume(r.plan, r.st, "gate", r.now))
	r.wantNext("b d")
	if !r.st.Suspend {
		t.Error("the other gate does not suspend the run")
	}
	r.must(workflow.Resume(r.plan, r.st, "g", r.now)) // a group stands for its sub-steps
	r.done("b", "d")
	r.wantStates("succeeded: gate=succeeded b=succeeded c=succeeded d=succeeded g=succeeded[other=succeeded]")
}

func TestSuspendStepTimesOut(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: gate, type: suspend, timeout: 1h}
		- {name: b, type: job}
`))
	r.wantNext("")
	r.now = noon.Add(2 * time.Hour)
	r.wantNext("")
	r.wantStates("failed: gate=failed/Timeout b=skipped/Skip")
	if r.st.Suspend {
		t.Error("a finished run is suspended")
	}
}

func TestSuspendByHand(t *testing.T) {
	t.Parallel()
	r := begin(t, dag(`
		- {name: a, type: job, timeout: 1m}
		- {name: b, type: job}
		- {name: g, type: step-group, subSteps: [{name: x, type: job}]}
		- {name: c, type: job, dependsOn: [b]}
`))
	r.see("a", oam.StepRunning, workflow.ReasonWait, "wait healthy")
	r.see("b", oam.StepRunning, workflow.ReasonWait)
	r.see("x", oam.StepRunning, workflow.ReasonWait)
	r.must(workflow.Suspend(r.plan, r.st, "", r.now))
	r.wantNext("")
	r.wantStates("suspending: a=suspending/Wait b=suspending/Wait g=suspending[x=suspending/Wait] c=pending")

	// What was under way may still end, and what is seen of the rest is kept.
	r.done("b")
	r.see("a", oam.StepRunning, workflow.ReasonWait, "1 of 2 ready")
	r.see("x", oam.StepSuspending, workflow.ReasonSuspend)
	r.now = noon.Add(time.Hour) // no clock counts
	r.wantNext("")
	r.wantStates("suspending: a=suspending/Wait b=succeeded g=suspending[x=suspending/Wait] c=pending")
	if got := workflow.Deadline(r.plan, r.st); !got.IsZero() {
		t.Errorf("deadline %v while suspended", got)
	}

	r.must(workflow.Resume(r.plan, r.st, "", r.now))
	r.wantNext("a x c")
	r.wantStates("executing: a=running/Wait b=succeeded g=running[x=running/Wait] c=pending")
	if got, want := workflow.Deadline(r.plan, r.st), r.now.Add(61*time.Second); !got.Equal(want) {
		t.Errorf("deadline %v, want %v: the timeout counts anew", got, want)
	}
}

func TestSuspendBeforeAnythingRan(t *testing.T) {
	t.Parallel()
	r := begin(t, steps("\n\t\t- {name: a, type: job}\n"))
	r.store()
	r.must(workflow.Suspend(r.plan, r.st, "", r.now))
	r.wantNext("")
	if r.see("a", oam.StepSucceeded) {
		t.Error("a step ran in a suspended run")
	}
	r.wantStates("suspending:")
	r.must(workflow.Resume(r.plan, r.st, "", r.now))
	r.wantNext("a")
}

func TestNothingBeginsInASuspendedRun(t *testing.T) {
	t.Parallel()
	r := begin(t, dag(`
		- {name: a, type: job}
		- {name: gate, type: suspend, dependsOn: [a]}
		- {name: g, type: step-group, dependsOn: [a], subSteps: [{name: x, type: suspend}]}
		- {name: b, type: job, dependsOn: [a], if: "false"}
`))
	r.see("a", oam.StepRunning, workflow.ReasonWait)
	r.must(workflow.Suspend(r.plan, r.st, "", r.now))
	r.done("a")
	r.wantNext("")
	r.wantStates("suspending: a=succeeded gate=pending g=pending b=pending")
}

func TestResumeRestartsTheClockOfAGroup(t *testing.T) {
	t.Parallel()
	spec := `
		- {name: g, type: step-group, timeout: 1m, subSteps: [{name: x, type: job}, {name: gate, type: suspend}]}
`
	r := begin(t, steps(strings.Replace(spec, ", {name: gate, type: suspend}", "", 1)))
	r.see("x", oam.StepRunning, workflow.ReasonWait)
	r.must(workflow.Suspend(r.plan, r.st, "", r.now))
	r.now = noon.Add(time.Hour)
	r.must(workflow.Resume(r.plan, r.st, "", r.now))
	r.wantNext("x")
	r.wantStates("executing: g=running[x=running/Wait]")

	// Where only a gate inside waited, the clock of the group went on.
	r = begin(t, steps(spec))
	r.wantNext("x")
	r.now = noon.Add(50 * time.Second)
	r.must(workflow.Resume(r.plan, r.st, "", r.now))
	r.now = noon.Add(70 * time.Second)
	r.wantNext("")
	r.wantStates("failed: g=failed/Timeout[x=skipped/Skip gate=succeeded]")
}

// Other clients write status.workflow.suspend and terminated themselves.
func TestOperationsOfOtherClients(t *testing.T) {
	t.Parallel()
	r := begin(t, dag(`
		- {name: a, type: job}
		- {name: b, type: job}
		- {name: c, type: job, dependsOn: [a]}
`))
	r.see("a", oam.StepRunning, workflow.ReasonWait)
	r.must(workflow.Suspend(r.plan, r.st, "", r.now))
	r.st.Suspend = false
	r.wantNext("a b")
	r.wantStates("executing: a=running/Wait c=pending")
	r.st.Suspend = true
	r.wantNext("")
	r.st.Suspend, r.st.Terminated = false, true
	r.wantNext("")
	r.wantStates("terminated: a=failed/Terminate c=failed/Terminate")
	if !r.st.Finished {
		t.Error("not finished")
	}
}

func TestResumeOfACallersOwnGate(t *testing.T) {
	t.Parallel()
	r := begin(t, steps(`
		- {name: prod, type: deploy, properties: {auto: false}}
`))
	r.see("prod", oam.StepSuspending, workflow.ReasonSuspend, "Waiting approval to the deploy step")
	r.wantNext("")
	r.wantStates("suspending: prod=suspending/Suspend")
	r.must(workflow.Resume(r.plan, r.st, "", r.now))
	r.wantNext("prod")
	r.wantStates("executing: prod=running/Resumed")
	r.done("prod")
	r.wantStates("succeeded: prod=succeeded")
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	r := begin(t, dag(`
		- {name: a, type: job}
		- {name: b, type: job}
		- {name: c, type: job, dependsOn: [b]}
		- {name: g, type: step-group, subSteps: [{name: x, type: job}]}
`))
	r.done("a")
	r.see("b", oam.StepRunning, workflow.ReasonWait)
	r.see("x", oam.StepRunning, workflow.ReasonWait)
	r.must(workflow.Terminate(r.plan, r.st, r.now))
	r.wantNext("")
	r.wantStates("terminated: a=succeeded b=failed/Terminate c=failed/Terminate g=failed/Terminate[x=failed/Terminate]")
	if !r.st.Finished || !r.st.Terminated || r.st.EndTime == nil {
		t.Errorf("terminated run: %+v", r.st)
	}
	if r.see("b", oam.StepSucceeded) {
		t.Error("a late observation changed a terminated run")
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	failing := func() *trial {
		r := begin(t, dag(`
		- {name: a, type: job}
		- {name: b, type: job, dependsOn: [a]}
		- {name: report, type: job, dependsOn: [b], if: always}
		- name: g
		  type: step-group
		  subSteps: [{name: x, type: job}, {name: "y", type: job}, {name: z, type: job, dependsOn: ["y"]}]
		- {name: last, type: job, dependsOn: [g]}
`))
		r.done("a", "x")
		r.see("b", oam.StepFailed, workflow.ReasonExecute)
		r.see("y", oam.StepFailed, workflow.ReasonExecute)
		r.done("report")
		r.wantStates("failed: a=succeeded b=failed/Execute report=succeeded g=failed/Execute[x=succeeded y=failed/Execute z=skipped/Skip] last=skipped/Skip")
		return r
	}

	r := failing()
	r.must(workflow.Restart(r.plan, r.st, "b", r.now))
	r.wantNext("b")
	r.done("b")
	r.wantNext("report")
	r.done("report")
	r.wantStates("failed: a=succeeded b=succeeded report=succeeded g=failed/Execute[x=succeeded y=failed/Execute z=skipped/Skip] last=skipped/Skip")

	r = failing()
	r.must(workflow.Restart(r.plan, r.st, "y", r.now)) // its group goes on, its sibling stays done
	r.wantNext("y")
	r.wantStates("executing: a=succeeded b=failed/Execute report=succeeded g=running[x=succeeded z=pending] last=pending")
	if r.st.Finished || r.st.EndTime != nil || r.st.Message != "" {
		t.Errorf("restarted run: %+v", r.st)
	}
	r.done("y", "z")
	r.wantNext("last")

	r = failing()
	r.must(workflow.Restart(r.plan, r.st, "g", r.now))
	r.wantNext("x y")

	across := begin(t, dag(`
		- {name: g, type: step-group, subSteps: [{name: x, type: job}, {name: "y", type: job}]}
		- {name: b, type: job, dependsOn: [x]}
`))
	across.done("x", "b")
	across.see("y", oam.StepFailed, workflow.ReasonExecute)
	across.must(workflow.Restart(across.plan, across.st, "g", across.now))
	across.wantNext("x y") // and b again, behind the new x
	across.wantStates("executing: g=running b=pending")

	r = failing()
	r.now = r.now.Add(time.Hour)
	r.must(workflow.Restart(r.plan, r.st, "", r.now))
	r.wantStates("executing:")
	r.wantNext("a x y")
	if r.st.AppRevision != "shop-v1" || !r.st.StartTime.Time.Equal(noon.Add(time.Hour)) {
		t.Errorf("restarted run: %+v", r.st)
	}
}

func TestOperationsRefuse(t *testing.T) {
	t.Parallel()
	p := plan(t, steps(`
		- {name: a, type: job}
		- {name: b, type: job}
`))
	running := func() *oam.WorkflowStatus { return workflow.Start(p, "v1", noon) }
	suspended := func() *oam.WorkflowStatus {
		st := running()
		workflow.Observe(p, st, p.Steps[0], workflow.Observation{Phase: oam.StepRunning}, noon)
		if err := workflow.Suspend(p, st, "", noon); err != nil {
			t.Fatal(err)
		}
		return st
	}
	finished := func() *oam.WorkflowStatus {
		st := running()
		if err := workflow.Terminate(p, st, noon); err != nil {
			t.Fatal(err)
		}
		return st
	}
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"suspend twice", workflow.Suspend(p, suspended(), "", noon), "the workflow is suspended already"},
		{"suspend finished", workflow.Suspend(p, finished(), "", noon), "the workflow has finished"},
		{"resume running", workflow.Resume(p, running(), "", noon), "the workflow is not suspended"},
		{"resume finished", workflow.Resume(p, finished(), "", noon), "the workflow has finished"},
		{"resume unknown step", workflow.Resume(p, suspended(), "x", noon), `the workflow has no step "x"`},
		{"resume step not suspended", workflow.Resume(p, suspended(), "b", noon), `step "b" is not suspended`},
		{"resume part of a hold", workflow.Resume(p, suspended(), "a", noon), "the workflow was suspended as a whole: resume it without naming a step"},
		{"terminate finished", workflow.Terminate(p, finished(), noon), "the workflow has finished"},
		{"restart unknown step", workflow.Restart(p, running(), "x", noon), `the workflow has no step "x"`},
		{"restart step that did not fail", workflow.Restart(p, running(), "a", noon), `step "a" did not fail: only a failed step can be restarted`},
	}
	for _, tt := range tests {
		if tt.err == nil || tt.err.Error() != tt.want {
			t.Errorf("%s: error %v, want %s", tt.name, tt.err, tt.want)
		}
	}
}
