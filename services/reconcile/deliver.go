package reconcile

import (
	"context"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// AnnotationPrune with the value "approved" on an Application lifts the prune budget.
const AnnotationPrune = "tradewind.dev/prune"

// deliver brings the cluster to what the Application says. What can be read and rendered
// is read and rendered before anything is written, so a mistake anywhere leaves all as it
// was; only components with inputs have to wait for them.
func (x *run) deliver(ctx context.Context) error {
	for _, part := range []func(context.Context) error{
		x.freeze,   // revision.go: publishVersion may hold an older spec
		x.read,     // plan.go: policies, steps, and which components each of them applies where
		x.operate,  // request.go: what a person wants of the workflow that runs
		x.render,   // render.go
		x.record,   // revision.go: finalizer and ApplicationRevision
		x.begin,    // run.go: a new run for a new revision
		x.operate,  // for a run that has just begun
		x.policies, // policies.go: objects that policies make
		x.execute,  // execute.go: the steps, then what earlier steps delivered
		x.collect,  // collect.go: what is not wanted any more goes
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// begin starts a run of the workflow when there is none for the revision. It supersedes
// one that still runs or waits.
func (x *run) begin(ctx context.Context) error {
	var err error
	if x.inv, err = x.cluster.LoadInventory(x.owner); err != nil {
		return applyProblem(oam.ConditionReady, "FailedApply", err)
	}
	w := x.status.Workflow
	if w != nil && w.AppRevision == x.revision.Name {
		return x.again()
	}
	next := workflow.Start(x.plan, x.revision.Name, x.now())
	if w != nil {
		next.Request, next.Refused, next.Backend = w.Request, w.Refused, w.Backend
		if !w.Finished {
			x.supersede(ctx, w)
			next.Message = "superseded the run of " + w.AppRevision
		}
	}
	x.restarted(next)
	return nil
}

// restarted puts a run at its beginning.
func (x *run) restarted(w *oam.WorkflowStatus) {
	x.status.Workflow = w
	x.status.Services, x.status.AppliedResources = nil, nil
	x.memo.tries, x.memo.polls = map[string]try{}, map[string]try{}
}

// supersede tells that a run ended because something newer is wanted.
func (x *run) supersede(ctx context.Context, w *oam.WorkflowStatus) {
	message := "the run of " + w.AppRevision + " was superseded by " + x.revision.Name
	if at := unfinished(w.Steps); at != "" {
		message += " at step " + at
	}
	x.log.Info("run superseded", "app", x.owner.String(), "revision", w.AppRevision, "by", x.revision.Name)
	o := x.outcome(events.Superseded)
	o.Reason, o.Message = "Superseded", message
	if err := x.queue.Report(ctx, o); err != nil {
		x.log.Warn("outcome not published", "err", err)
	}
}

// unfinished is the first step that has begun and not ended, or "".
func unfinished(steps []oam.StepStatus) string {
	for _, s := range steps {
		if inner := unfinished(s.SubSteps); inner != "" {
			return inner
		}
		if s.Phase == oam.StepRunning || s.Phase == oam.StepSuspending {
			return s.Name
		}
	}
	return ""
}

// again gives steps that were given up another chance when their Git source has moved.
func (x *run) again() error {
	w := x.status.Workflow
	if !x.moved || w.Phase != oam.WorkflowFailed {
		return nil
	}
	for _, step := range x.plan.All() {
		if s := workflow.State(w, step.Name); s != nil && s.Reason == workflow.ReasonRetries && step.Type != oam.TypeStepGroup {
			if err := workflow.Restart(x.plan, w, step.Name, x.now()); err != nil {
				return applyProblem(oam.ConditionWorkflow, "FailedWorkflow", err)
			}
		}
	}
	return nil
}

// apply applies items of one component, policy or step and keeps the receipt.
func (x *run) apply(ctx context.Context, items []apply.Item, adopt bool) error {
	if len(items) == 0 {
		return nil
	}
	changes, err := x.cluster.Apply(ctx, x.inv, items, apply.ApplyOptions{Check: x.job.Check, Adopt: adopt})
	x.changes = append(x.changes, changes...)
	if err == nil {
		err = changes.Err()
	}
	return err
}
