package workflow

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// run joins a plan with the state of a run of it.
type run struct {
	plan   Plan
	st     *oam.WorkflowStatus
	now    time.Time
	nodes  []*node
	byName map[string]*node
	states map[string]*oam.StepStatus
	held   bool // a person suspended the run as a whole: nothing starts, no clock counts
}

func newRun(p Plan, st *oam.WorkflowStatus, now time.Time) *run {
	r := &run{plan: p, st: st, now: now, nodes: compile(p), byName: map[string]*node{}}
	for _, n := range r.nodes {
		r.byName[n.Name] = n
	}
	r.index()
	r.held = st.Suspend && !r.waitsForPerson()
	return r
}

// waitsForPerson says whether a step suspends the run, rather than a person.
func (r *run) waitsForPerson() bool {
	return slices.ContainsFunc(r.nodes, func(n *node) bool {
		s := r.state(n)
		return s != nil && s.Phase == oam.StepSuspending && s.Reason == ReasonSuspend
	})
}

// settle records everything that follows from the state, until nothing more does.
func (r *run) settle() {
	if r.st.Finished {
		return
	}
	if r.st.Terminated { // by another client, which leaves the rest to us
		r.terminate()
		return
	}
	for changed := true; changed; {
		changed = false
		for _, n := range r.nodes {
			if o, ok := r.judge(n); ok && r.put(n, o) {
				changed = true
			}
		}
	}
	r.conclude()
}

// judge says what follows for one step from the state of the others and the time. Every
// step only ever moves towards its end, so settle ends.
func (r *run) judge(n *node) (Observation, bool) {
	none := Observation{}
	switch {
	case r.ended(n.Name):
		return none, false
	case n.group != nil && r.ended(n.group.Name):
		return r.judgeAfterGroup(n), true
	case r.begun(n):
		return r.judgeBegun(n)
	case r.held || n.group != nil && !r.begun(n.group):
		return none, false
	}
	if message := r.waiting(n); message != "" {
		listed := len(n.after) == 0 || r.allEnded(n.after)
		return Observation{Phase: oam.StepPending, Message: message}, listed
	}
	run, err := r.condition(n)
	switch {
	case err != nil:
		return Observation{oam.StepFailed, ReasonRendering, fmt.Sprintf("if %q: %v", n.If, err)}, true
	case !run:
		return Observation{Phase: oam.StepSkipped, Reason: ReasonSkip}, true
	case r.missing(n) != "":
		return Observation{oam.StepFailed, ReasonInput, fmt.Sprintf("input %q has no value: no step put it out", r.missing(n))}, true
	case n.Type == oam.TypeSuspend:
		message, _ := n.Properties["message"].(string)
		return Observation{oam.StepSuspending, ReasonSuspend, message}, true
	case n.Type == oam.TypeStepGroup:
		return Observation{Phase: oam.StepRunning}, true
	}
	return none, false // it is for the caller to run
}

// judgeAfterGroup ends a sub-step whose group ended without it.
func (r *run) judgeAfterGroup(n *node) Observation {
	if group := r.state(n.group); group.Phase == oam.StepFailed && r.begun(n) {
		return Observation{oam.StepFailed, group.Reason, fmt.Sprintf("group %q: %s", n.group.Name, group.Message)}
	}
	return Observation{Phase: oam.StepSkipped, Reason: ReasonSkip}
}

func (r *run) judgeBegun(n *node) (Observation, bool) {
	s := r.state(n)
	switch due := r.resumption(n); {
	case n.Type == oam.TypeStepGroup && !r.expired(n):
		return r.judgeGroup(n), true
	case r.held:
		return Observation{}, false
	case !due.IsZero() && !r.now.Before(due):
		return Observation{Phase: oam.StepSucceeded}, true
	case r.expired(n):
		return Observation{oam.StepFailed, ReasonTimeout, "not done within " + n.Timeout}, true
	case s.Phase == oam.StepSuspending && s.Reason != ReasonSuspend:
		return Observation{oam.StepRunning, s.Reason, s.Message}, true // no longer held
	}
	return Observation{}, false
}

// condition says whether a step that waits for nothing any more runs or is skipped.
func (r *run) condition(n *node) (bool, error) {
	switch {
	case n.If == "always":
		return true, nil
	case n.If == "":
		return !r.anyFailed(n.after) && r.allSucceeded(n.needs), nil
	case r.plan.Eval == nil:
		return false, errors.New("expressions are not supported here; only always is")
	}
	return r.plan.Eval(n.If, r.vars(n))
}

// conclude sets the state of the run as a whole.
func (r *run) conclude() {
	r.st.Suspend = r.held || r.waitsForPerson()
	var failed *node
	for _, n := range r.nodes {
		if !r.ended(n.Name) {
			r.st.Phase = oam.WorkflowExecuting
			if r.st.Suspend {
				r.st.Phase = oam.WorkflowSuspending
			}
			return
		}
		if r.phase(n.Name) == oam.StepFailed && (failed == nil || n.group == failed) {
			failed = n // a sub-step says more than its group
		}
	}
	r.st.Finished, r.st.Suspend, r.st.EndTime = true, false, stamp(r.now)
	r.st.Phase = oam.WorkflowSucceeded
	if failed != nil {
		r.st.Phase, r.st.Message = oam.WorkflowFailed, failure(r.state(failed))
	}
}

func failure(s *oam.StepStatus) string {
	out := fmt.Sprintf("step %q failed", s.Name)
	if s.Reason != "" {
		out += " (" + s.Reason + ")"
	}
	if s.Message != "" {
		out += ": " + s.Message
	}
	return out
}

// runnable lists the steps that are the caller's to run now.
func (r *run) runnable() []oam.Step {
	if r.st.Finished || r.held {
		return nil
	}
	var out []oam.Step
	for _, n := range r.nodes {
		if s := r.state(n); r.observable(n) && (s == nil || s.Phase != oam.StepSuspending) {
			out = append(out, n.Step)
		}
	}
	return out
}

// observable says whether an observation of a step means anything now. After settle, a
// step that waits for nothing and has no end is one that may run.
func (r *run) observable(n *node) bool {
	if n.Type == oam.TypeSuspend || n.Type == oam.TypeStepGroup || r.st.Finished || r.ended(n.Name) {
		return false
	}
	if r.begun(n) {
		return true
	}
	return !r.held && (n.group == nil || r.begun(n.group)) && r.waiting(n) == ""
}
