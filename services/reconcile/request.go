package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// request is what a person asks of the workflow, in [oam.AnnotationWorkflow].
type request struct {
	ID   string `json:"id"`
	Op   string `json:"op"`
	Step string `json:"step"`
	At   string `json:"at"`
}

const (
	opSuspend   = "suspend"
	opResume    = "resume"
	opTerminate = "terminate"
	opRestart   = "restart"
)

// request is the one that was not dealt with yet; nil when there is none.
func (x *run) request() *request {
	text := x.app.Annotations[oam.AnnotationWorkflow]
	if text == "" {
		return nil
	}
	r := &request{}
	if err := json.Unmarshal([]byte(text), r); err != nil || r.ID == "" {
		r = &request{ID: text, Op: "unreadable"}
	}
	if w := x.status.Workflow; w != nil && w.Request == r.ID {
		return nil
	}
	return r
}

// operate does what a person asked of the workflow: by our annotation, by KubeVela's, or
// by an edit of the status as its own command line makes. Each request is dealt with
// once; one that cannot be fulfilled is refused in the status.
func (x *run) operate(ctx context.Context) error {
	w := x.status.Workflow
	if w == nil || w.AppRevision != x.revision.Name {
		return nil // there is a new run to come
	}
	if err := x.restartAnnotation(ctx, w); err != nil {
		return err
	}
	x.edited(w)
	x.elapsed(w)
	r := x.request()
	if r == nil {
		return nil
	}
	err := x.perform(w, *r)
	w = x.status.Workflow // a restart makes another
	w.Request, w.Refused = r.ID, ""
	if err != nil {
		w.Refused = fmt.Sprintf("%s: %v", r.Op, err)
	}
	x.log.Info("workflow request", "app", x.owner.String(), "op", r.Op, "step", r.Step, "request", r.ID, "err", err)
	return nil
}

func (x *run) perform(w *oam.WorkflowStatus, r request) error {
	now := x.now()
	switch r.Op {
	case opSuspend:
		return workflow.Suspend(x.plan, w, r.Step, now)
	case opResume:
		x.resumed(w, r.Step)
		return workflow.Resume(x.plan, w, r.Step, now)
	case opTerminate:
		return workflow.Terminate(x.plan, w, now)
	case opRestart:
		if r.Step == "" {
			next := workflow.Start(x.plan, w.AppRevision, now)
			next.Backend, next.Run = w.Backend, x.store.Run
			x.restarted(next)
			return nil
		}
		if err := workflow.Restart(x.plan, w, r.Step, now); err != nil {
			return err
		}
		x.forgetSteps(r.ID)
		return nil
	default:
		return fmt.Errorf("want an op among %s, %s, %s and %s", opSuspend, opResume, opTerminate, opRestart)
	}
}

// resumed tells the steps that hold themselves that they may go on.
func (x *run) resumed(w *oam.WorkflowStatus, step string) {
	for _, s := range x.plan.All() {
		state := workflow.State(w, s.Name)
		held := state != nil && state.Phase == oam.StepSuspending && state.Reason == workflow.ReasonSuspend
		if held && !native(s.Type) && (step == "" || step == s.Name) {
			r := x.store.Steps[s.Name]
			r.Resumed = true
			x.setStep(s.Name, r)
		}
	}
}

// edited takes up what another client wrote into the status: KubeVela's command line
// suspends and resumes like that.
func (x *run) edited(w *oam.WorkflowStatus) {
	switch {
	case w.Finished:
	case w.Suspend && w.Phase != oam.WorkflowSuspending:
		w.Suspend = false
		_ = workflow.Suspend(x.plan, w, "", x.now()) // neither finished nor suspended
	case !w.Suspend && w.Phase == oam.WorkflowSuspending:
		w.Suspend = true
		x.resumed(w, "")
		_ = workflow.Resume(x.plan, w, "", x.now()) // suspended, and no step named
	}
}

// restartAnnotation is KubeVela's: "true" restarts now, a time then, a duration again and
// again. The restart itself is a request of ours, written in the same patch that takes
// the annotation off, so that it happens once.
func (x *run) restartAnnotation(ctx context.Context, w *oam.WorkflowStatus) error {
	value := x.app.Annotations[oam.AnnotationRestartWorkflow]
	if value == "" {
		return nil
	}
	due, again, err := restartDue(value, w)
	switch {
	case err != nil:
		w.Refused = err.Error()
		return nil
	case x.now().Before(due):
		x.wakeAt(due)
		return nil
	case again && !w.Finished:
		return nil // its end causes a look
	}
	id := "restart-workflow/" + due.UTC().Format(time.RFC3339)
	if value == "true" {
		id = "restart-workflow/" + x.app.ResourceVersion
	}
	r, err := json.Marshal(request{ID: id, Op: opRestart, At: x.now().UTC().Format(time.RFC3339)})
	if err != nil {
		return err
	}
	set := map[string]string{oam.AnnotationWorkflow: string(r), oam.AnnotationRestartWorkflow: ""}
	if again {
		delete(set, oam.AnnotationRestartWorkflow)
	}
	if last := x.app.Annotations[oam.AnnotationWorkflow]; last == string(r) {
		return nil
	}
	if err := x.cluster.AnnotateAs(ctx, x.app, set); err != nil {
		return applyProblem(oam.ConditionWorkflow, "FailedWorkflow", err)
	}
	return nil
}

func restartDue(value string, w *oam.WorkflowStatus) (due time.Time, again bool, err error) {
	if value == "true" {
		return time.Time{}, false, nil
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return at, false, nil
	}
	every, err := oam.ParseStepDuration(value)
	if err != nil {
		return due, false, fmt.Errorf("annotation %s: %q given, true, a time (RFC 3339) or a duration wanted", oam.AnnotationRestartWorkflow, value)
	}
	if w.StartTime == nil {
		return due, true, nil
	}
	return w.StartTime.Add(every), true, nil
}

// wakeAt asks for another look at the latest then.
func (x *run) wakeAt(at time.Time) {
	if x.wake.IsZero() || at.Before(x.wake) {
		x.wake = at
	}
}
