package workflow

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

var errFinished = errors.New("the workflow has finished")

// Suspend holds a run: nothing starts and no clock counts until [Resume]. With a step,
// only that one is held, which must be running.
func Suspend(p Plan, st *oam.WorkflowStatus, step string, now time.Time) error {
	switch {
	case st.Finished:
		return errFinished
	case st.Suspend && step == "":
		return errors.New("the workflow is suspended already")
	}
	r := newRun(p, st, now)
	if step != "" {
		return r.suspendStep(step)
	}
	r.held = true
	for _, n := range r.nodes {
		if s := r.state(n); s != nil && s.Phase == oam.StepRunning {
			r.put(n, Observation{oam.StepSuspending, s.Reason, s.Message})
		}
	}
	r.settle()
	return nil
}

func (r *run) suspendStep(step string) error {
	switch n := r.byName[step]; {
	case n == nil:
		return fmt.Errorf("the workflow has no step %q", step)
	case r.phase(step) != oam.StepRunning || n.Type == oam.TypeStepGroup:
		return fmt.Errorf("step %q is not running", step)
	default:
		r.put(n, Observation{oam.StepSuspending, ReasonSuspend, r.state(n).Message})
	}
	r.settle()
	return nil
}

// Resume lets a suspended run go on: suspend steps succeed, held steps run on, with the
// whole of their timeout before them. With a step, only that one is let go.
func Resume(p Plan, st *oam.WorkflowStatus, step string, now time.Time) error {
	if st.Finished {
		return errFinished
	}
	if !st.Suspend {
		return errors.New("the workflow is not suspended")
	}
	r := newRun(p, st, now)
	if step != "" {
		switch n := r.byName[step]; {
		case n == nil:
			return fmt.Errorf("the workflow has no step %q", step)
		case r.phase(step) != oam.StepSuspending:
			return fmt.Errorf("step %q is not suspended", step)
		case r.held:
			return errors.New("the workflow was suspended as a whole: resume it without naming a step")
		}
	}
	for _, n := range r.nodes {
		named := step == "" || n.Name == step || n.group != nil && n.group.Name == step
		if named && r.phase(n.Name) == oam.StepSuspending {
			r.release(n)
		}
	}
	r.held = false
	r.settle()
	return nil
}

func (r *run) release(n *node) {
	s := r.state(n)
	switch {
	case n.Type == oam.TypeSuspend:
		r.put(n, Observation{Phase: oam.StepSucceeded})
	case n.Type == oam.TypeStepGroup && !r.held: // its clock went on, as that of the gate inside
	case s.Reason == ReasonSuspend:
		r.put(n, Observation{oam.StepRunning, ReasonResumed, s.Message})
		s.FirstExecuteTime = stamp(r.now)
	default:
		r.put(n, Observation{oam.StepRunning, s.Reason, s.Message})
		s.FirstExecuteTime = stamp(r.now)
	}
}

// Terminate ends a run: what was not done has failed.
func Terminate(p Plan, st *oam.WorkflowStatus, now time.Time) error {
	if st.Finished {
		return errFinished
	}
	newRun(p, st, now).terminate()
	return nil
}

func (r *run) terminate() {
	for _, n := range r.nodes {
		if r.state(n) != nil && !r.ended(n.Name) {
			r.put(n, Observation{Phase: oam.StepFailed, Reason: ReasonTerminate})
		}
	}
	r.st.Phase, r.st.Terminated, r.st.Suspend = oam.WorkflowTerminated, true, false
	r.st.Finished, r.st.EndTime = true, stamp(r.now)
}

// Restart runs everything again, or, with a step that failed, that one and what follows.
func Restart(p Plan, st *oam.WorkflowStatus, step string, now time.Time) error {
	if step == "" {
		*st = *Start(p, st.AppRevision, now)
		return nil
	}
	r := newRun(p, st, now)
	switch {
	case r.byName[step] == nil:
		return fmt.Errorf("the workflow has no step %q", step)
	case r.phase(step) != oam.StepFailed:
		return fmt.Errorf("step %q did not fail: only a failed step can be restarted", step)
	}
	again, reopened := r.following(step)
	for _, n := range slices.Backward(r.nodes) { // sub-steps before their group
		if again[n.Name] {
			r.forget(n)
		} else if s := r.state(n); reopened[n.Name] && s != nil {
			*s = oam.StepStatus{
				ID: s.ID, Name: s.Name, Type: s.Type, Phase: oam.StepRunning,
				FirstExecuteTime: stamp(now), LastExecuteTime: stamp(now), SubSteps: s.SubSteps,
			}
		}
	}
	st.Finished, st.Terminated, st.Suspend, st.EndTime, st.Message = false, false, false, nil, ""
	r.held = false
	r.settle()
	return nil
}

// following lists the step with everything that waits for it, and apart from these the
// groups that have to go on because a sub-step of theirs is among them.
func (r *run) following(step string) (again, reopened map[string]bool) {
	again, reopened = map[string]bool{step: true}, map[string]bool{}
	for changed := true; changed; {
		changed = false
		for _, n := range r.nodes {
			waits := slices.ContainsFunc(n.waits(), func(name string) bool { return again[name] || reopened[name] })
			if !again[n.Name] && (waits || n.group != nil && again[n.group.Name]) {
				again[n.Name], changed = true, true
			}
			if again[n.Name] && n.group != nil && !again[n.group.Name] && !reopened[n.group.Name] {
				reopened[n.group.Name], changed = true, true
			}
		}
	}
	return again, reopened
}

func (r *run) forget(n *node) {
	if n.group == nil || r.state(n.group) != nil {
		list := r.list(n)
		*list = slices.DeleteFunc(*list, func(s oam.StepStatus) bool { return s.Name == n.Name })
		r.index()
	}
}
