package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// execute runs the steps that may run, then keeps what earlier steps delivered as it
// should be. One step that fails does not stop the others.
func (x *run) execute(ctx context.Context) error {
	var failed error
	if x.policyWaits == "" {
		failed = x.runSteps(ctx)
	}
	if failed == nil || !fatal(failed) {
		failed = cmp.Or(failed, x.keep(ctx))
	}
	x.tellServices()
	x.tellApplied()
	if err := x.saveStore(ctx); err != nil {
		failed = cmp.Or(failed, applyProblem(oam.ConditionWorkflow, "FailedWorkflow", err))
	}
	if failed != nil {
		return failed
	}
	x.good(oam.ConditionWorkflow)
	return nil
}

// fatal says that this worker may not go on: its claim or its time is over.
func fatal(err error) bool {
	p, ok := errors.AsType[*problem](err)
	return ok && p.fatal
}

func (x *run) runSteps(ctx context.Context) error {
	var first error
	done := map[string]bool{}
	for {
		ran := false
		for _, step := range workflow.Next(x.plan, x.status.Workflow, x.now()) {
			if done[step.Name] {
				continue
			}
			done[step.Name], ran = true, true
			seen, err := x.step(ctx, step)
			first = cmp.Or(first, err)
			if err != nil && fatal(err) {
				return err
			}
			workflow.Observe(x.plan, x.status.Workflow, step, seen, x.now())
			if x.terminate {
				x.end()
				return first
			}
		}
		if !ran {
			return first
		}
	}
}

// end terminates the run, as one of its steps wanted.
func (x *run) end() {
	x.terminate = false
	if !x.status.Workflow.Finished {
		_ = workflow.Terminate(x.plan, x.status.Workflow, x.now()) // only a finished one cannot be
	}
}

// step runs one step once. Its outputs are there before it has succeeded, for whoever
// waits for them.
func (x *run) step(ctx context.Context, step oam.Step) (workflow.Observation, error) {
	seen, value, err := x.dispatch(ctx, step)
	if err != nil {
		return x.attempt(step, err)
	}
	delete(x.memo.tries, step.Name)
	if seen.Phase == oam.StepSucceeded {
		if err := x.output(ctx, step.Outputs, value); err != nil {
			return workflow.Observation{Phase: oam.StepFailed, Reason: workflow.ReasonOutput, Message: err.Error()}, nil
		}
	}
	return seen, nil
}

// dispatch does what a step of its type does. Value is what its outputs speak of.
func (x *run) dispatch(ctx context.Context, step oam.Step) (seen workflow.Observation, value map[string]any, err error) {
	switch step.Type {
	case workflow.TypeApplyComponent:
		return x.applyComponent(ctx, step)
	case typeDeploy:
		seen, err = x.deployAll(ctx, step)
		return seen, map[string]any{}, err
	default:
		return x.evaluate(ctx, step)
	}
}

// maxTries is how often a step of a written workflow may end with an error. The implicit
// workflow never gives up: what it waits for may come with the next commit.
const maxTries = 10

// try counts how often a step was tried, and until when it is let be.
type try struct {
	n    int
	said string
	due  time.Time
}

// attempt counts an error that time alone does not mend.
func (x *run) attempt(step oam.Step, err error) (workflow.Observation, error) {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		p = x.stepProblem(err)
	}
	seen := workflow.Observation{Phase: oam.StepRunning, Reason: workflow.ReasonWait, Message: p.Error()}
	if p.result != events.Failure {
		return seen, p
	}
	t := x.memo.tries[step.Name]
	if now := x.now(); !now.Before(t.due) {
		t.n++
		t.due = now.Add(backoff(t.n, errorMost))
	}
	p.wait = t.due.Sub(x.now())
	if x.app.Spec.Workflow != nil && t.n >= maxTries {
		delete(x.memo.tries, step.Name)
		return workflow.Observation{Phase: oam.StepFailed, Reason: workflow.ReasonRetries, Message: p.Error()}, p
	}
	x.memo.tries[step.Name] = t
	return seen, p
}

// backoff is the pause after the n-th time, as in KubeVela.
func backoff(n int, most time.Duration) time.Duration {
	seconds := int(0.05 * float64(int(1)<<min(n, 30)))
	return min(max(time.Duration(seconds)*time.Second, time.Second), most)
}

// keep corrects what earlier steps of this run delivered. Of a step that did not succeed,
// only what it is known to have applied counts: a step that waits for approval must not
// be carried out by the way.
func (x *run) keep(ctx context.Context) error {
	var first error
	before := x.appliedBefore()
	for _, p := range x.parts {
		if p.applied || p.service != nil {
			continue
		}
		state := workflow.State(x.status.Workflow, p.step)
		if state == nil || state.Phase == oam.StepPending || state.Phase == oam.StepSkipped {
			continue
		}
		if state.Phase != oam.StepSucceeded && !p.isAmong(before) {
			continue
		}
		if p.rendered == nil {
			lost := x.mistake(fmt.Errorf("component %q: the value of its input %q is lost: restart the workflow", p.Name, x.missing(p)))
			first = cmp.Or(first, error(lost))
			continue
		}
		err := x.applyPart(ctx, p, policy.OnStateKeep)
		if first = cmp.Or(first, err); err != nil && fatal(err) {
			return err
		}
	}
	return first
}
