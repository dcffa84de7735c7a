package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// pollMost is the longest pause between two looks of a step at something outside.
const pollMost = 60 * time.Second

// maxRounds bounds how often a template may ask for more before it must say how it is.
const maxRounds = 100

// evaluate is a step whose type a definition defines: its template says which calls to
// make, and, once they have returned, how the step is.
func (x *run) evaluate(ctx context.Context, step oam.Step) (workflow.Observation, map[string]any, error) {
	if seen, early := x.tooEarly(step); early {
		return seen, nil, nil
	}
	def, err := x.renderer.StepDefinition(x.app.Namespace, step.Type)
	if err != nil {
		return failedRendering(err), nil, nil
	}
	for _, in := range step.Inputs {
		if step.Properties, err = oam.Place(step.Properties, in.ParameterKey, x.plan.Values[in.From]); err != nil {
			return workflow.Observation{Phase: oam.StepFailed, Reason: workflow.ReasonInput, Message: fmt.Sprintf("input %q: %v", in.From, err)}, nil, nil
		}
	}
	record := x.store.Steps[step.Name]
	in := render.StepInput{Step: step, Context: x.stepContext(step), Returned: map[string]render.Returned{}, Resumed: record.Resumed, Vars: x.store.Vars}
	maps.Copy(in.Returned, record.Returned)
	for range maxRounds {
		result, err := x.renderer.Step(ctx, def, in)
		if err != nil {
			if ctx.Err() != nil {
				return workflow.Observation{}, nil, err
			}
			return failedRendering(err), nil, nil
		}
		if len(result.Calls) == 0 {
			return x.concluded(step, result)
		}
		err = x.call(ctx, step, result.Calls, in.Returned)
		if why, waits := errors.AsType[waitsFor](err); waits {
			x.newRound(step, x.store.Steps[step.Name])
			return x.poll(step, workflow.Observation{Phase: oam.StepRunning, Reason: workflow.ReasonWait, Message: string(why)}), nil, nil
		}
		if err != nil {
			return workflow.Observation{}, nil, err
		}
	}
	return failedRendering(fmt.Errorf("definition %q asked for more calls %d times", def.Name, maxRounds)), nil, nil
}

func failedRendering(err error) workflow.Observation {
	message := err.Error()
	if hint := hintOf(err); hint != "" {
		message += " (" + hint + ")"
	}
	return workflow.Observation{Phase: oam.StepFailed, Reason: workflow.ReasonRendering, Message: message}
}

func (x *run) stepContext(step oam.Step) render.StepContext {
	out := render.StepContext{
		AppName: x.app.Name, Namespace: x.app.Namespace, AppRevision: x.revision.Name, AppLabels: x.app.Labels, AppAnnotations: x.app.Annotations,
		PublishVersion: x.app.Annotations[oam.AnnotationPublishVersion], WorkflowName: x.app.Name, StepName: step.Name, StepGroupName: x.plan.Group(step.Name),
	}
	if s := workflow.State(x.status.Workflow, step.Name); s != nil {
		out.StepSessionID = s.ID
	}
	return out
}

// call makes the calls of a round, up to the first that ends with an error, and writes
// down at once what cannot be done twice.
func (x *run) call(ctx context.Context, step oam.Step, calls []render.Call, returned map[string]render.Returned) error {
	for _, c := range calls {
		if x.job.Check != nil && !reads(c) {
			if err := x.job.Check(ctx); err != nil {
				return err
			}
		}
		value, err := x.do(ctx, step, c)
		_, waits := errors.AsType[waitsFor](err)
		if err != nil && (waits || ctx.Err() != nil || retryable(err)) {
			return err
		}
		r := render.Returned{Value: value}
		if err != nil {
			r.Err = oneLine(err)
		}
		returned[c.Path] = r
		if err != nil {
			return nil // the template may look at it
		}
		if !reads(c) {
			record := x.store.Steps[step.Name]
			if record.Returned == nil {
				record.Returned = map[string]render.Returned{}
			}
			record.Returned[c.Path] = render.Returned{Value: withoutSecrets(value)}
			x.setStep(step.Name, record)
			if err := x.saveStore(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// withoutSecrets is what of an answer may be written down: whoever reads ConfigMaps need
// not be allowed to read Secrets.
func withoutSecrets(value map[string]any) map[string]any {
	out := make(map[string]any, len(value))
	for key, inner := range value {
		switch inner := inner.(type) {
		case map[string]any:
			out[key] = withoutSecrets(inner)
		case []any:
			list := make([]any, 0, len(inner))
			for _, item := range inner {
				if m, ok := item.(map[string]any); ok {
					item = withoutSecrets(m)
				}
				list = append(list, item)
			}
			out[key] = list
		default:
			out[key] = inner
		}
	}
	if out["kind"] == kindSecret {
		delete(out, "data")
		delete(out, "stringData")
	}
	return out
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// concluded turns what a template says into what the workflow makes of it. After a wait a
// new round begins: everything is looked at, and sent, again.
func (x *run) concluded(step oam.Step, result *render.StepResult) (workflow.Observation, map[string]any, error) {
	for name, value := range result.Vars {
		x.store.Vars[name] = value
		x.store.changed = true
	}
	seen := workflow.Observation{Phase: result.Phase, Reason: result.Reason, Message: result.Message}
	record := x.store.Steps[step.Name]
	switch {
	case result.Phase == oam.StepFailed && result.Reason == workflow.ReasonExecute:
		x.newRound(step, record)
		return seen, nil, x.mistake(errors.New(result.Message))
	case result.Phase == oam.StepFailed && result.Reason == workflow.ReasonTerminate:
		x.terminate = true
	case result.Phase == oam.StepRunning:
		x.newRound(step, record)
		return x.poll(step, seen), nil, nil
	case result.Phase == oam.StepSuspending:
		x.newRound(step, record)
		if d, err := oam.ParseStepDuration(result.SuspendDuration); err == nil {
			record.Returned, record.ResumeAt = nil, x.now().Add(d)
			x.setStep(step.Name, record)
			x.wakeAt(record.ResumeAt)
		}
	}
	return seen, result.Value, nil
}

func (x *run) newRound(step oam.Step, record stepRecord) {
	if record.Returned != nil {
		record.Returned = nil
		x.setStep(step.Name, record)
	}
}

// elapsed lets steps that hold themselves for a while go on when the while is over.
func (x *run) elapsed(w *oam.WorkflowStatus) {
	for name, record := range x.store.Steps {
		state := workflow.State(w, name)
		switch {
		case record.ResumeAt.IsZero() || record.Resumed || state == nil || state.Phase != oam.StepSuspending:
		case x.now().Before(record.ResumeAt):
			x.wakeAt(record.ResumeAt)
		default:
			x.resumed(w, name)
			_ = workflow.Resume(x.plan, w, name, x.now()) // else the run is held as a whole
		}
	}
}

// poll decides when a step that waits for something outside looks again: later and later
// while it says the same.
func (x *run) poll(step oam.Step, seen workflow.Observation) workflow.Observation {
	t := x.memo.polls[step.Name]
	if t.said != seen.Message {
		t = try{said: seen.Message}
	}
	t.n++
	t.due = x.now().Add(backoff(t.n, pollMost))
	x.memo.polls[step.Name] = t
	x.wakeAt(t.due)
	return seen
}

// tooEarly says that a step that waits need not look again yet.
func (x *run) tooEarly(step oam.Step) (workflow.Observation, bool) {
	t, s := x.memo.polls[step.Name], workflow.State(x.status.Workflow, step.Name)
	if s == nil || s.Phase != oam.StepRunning || !x.now().Before(t.due) {
		return workflow.Observation{}, false
	}
	x.wakeAt(t.due)
	return workflow.Observation{Phase: s.Phase, Reason: s.Reason, Message: s.Message}, true
}

// mistake is a problem that a change of the Application or of the cluster mends.
func (x *run) mistake(err error) *problem {
	return &problem{stage: events.StageApply, condition: oam.ConditionWorkflow, reason: "FailedWorkflow", result: events.Failure, err: err}
}
