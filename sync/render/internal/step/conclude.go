package step

import (
	"cmp"
	"fmt"
	"slices"

	"cuelang.org/go/cue"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// verdict is what an action means for those after it.
type verdict int

const (
	goOn verdict = iota
	stop
)

// conclude says how far the step is when nothing more can be computed: actions are taken
// in order, up to the first that lets nothing past it.
func (r *run) conclude(actions []action) (*Result, error) {
	r.result.Phase = oam.StepSucceeded
	var open []action // whose parameters are not complete
	for _, a := range actions {
		v, err := r.take(a)
		if err != nil {
			open = append(open, a)
		}
		if v == stop {
			return r.held(open)
		}
		// What is asked for now may be all that this one lacks, and it comes before the rest.
		if err != nil && len(r.result.Calls) > 0 {
			break
		}
	}
	switch {
	case r.broken != nil:
		return nil, r.template.Fault("template", r.broken)
	case len(r.result.Calls) > 0:
		r.result.Phase = oam.StepRunning
	case len(open) > 0 && r.failedCall(actions) != "":
		// What could not be read is missed by the actions that need it.
		r.end(oam.StepFailed, reasonExecute, r.failedCall(actions))
	case len(open) > 0:
		return nil, r.explain(open[0])
	}
	return r.finish(), nil
}

// held is the result where an action lets nothing past it. One that waits for what cannot
// come is told from one that waits.
func (r *run) held(open []action) (*Result, error) {
	if r.result.Phase != oam.StepRunning || len(r.result.Calls) > 0 {
		return r.finish(), nil
	}
	if len(open) > 0 {
		if err := r.template.Complete(); err != nil {
			return nil, err
		}
	}
	if r.result.Message == "" {
		switch {
		case r.broken != nil:
			r.result.Message = r.template.Fault("template", r.broken).Error()
		case len(open) > 0:
			r.result.Message = r.explain(open[0]).Error()
		}
	}
	return r.finish(), nil
}

// take deals with one action. An error means that its parameters are not complete.
func (r *run) take(a action) (verdict, error) {
	if control, ok := controls[a.function]; ok {
		// What is asked for now may change what is decided here.
		if a.name != "message" && len(r.result.Calls) > 0 {
			r.result.Phase = oam.StepRunning
			return stop, nil
		}
		return control(r, a)
	}
	if _, ok := computed[a.function]; ok {
		if !r.ended[a.path] {
			return goOn, errPending
		}
		return goOn, nil
	}
	if r.ended[a.path] {
		if message := r.in.Returned[a.path].Err; message != "" && !a.reportsErrors() {
			r.end(oam.StepFailed, reasonExecute, fmt.Sprintf("action %q: %s", a.path, message))
			return stop, nil
		}
		return goOn, nil
	}
	call, err := r.call(a)
	if err != nil {
		return goOn, err
	}
	r.result.Calls = append(r.result.Calls, call)
	return goOn, nil
}

// reportsErrors says whether a template is told the error of an action in its err, to go
// another way, rather than the step to have failed.
func (a action) reportsErrors() bool {
	return a.provider == "query" || a.provider == "kube" && slices.Contains([]string{"read", "list", "delete"}, a.name)
}

// failedCall is the error of the first call that ended with one.
func (r *run) failedCall(actions []action) string {
	for _, a := range actions {
		if message := cmp.Or(r.in.Returned[a.path].Err, r.in.Returned[baseOf(a.path)].Err); message != "" {
			return fmt.Sprintf("action %q: %s", a.path, message)
		}
	}
	return ""
}

// explain says why an action cannot run.
func (r *run) explain(a action) error {
	v := a.value
	if !a.inline {
		v = v.LookupPath(pathParams)
	}
	err := v.Validate(cue.Concrete(true))
	if err == nil {
		_, err = r.call(a)
	}
	return r.template.Fault(a.path, cmp.Or(err, errPending))
}

func (r *run) end(phase oam.StepPhase, reason, message string) {
	r.result.Phase, r.result.Reason = phase, reason
	r.result.Message = problem.OneLine(cmp.Or(message, r.result.Message))
	r.result.Calls = nil
}

// finish adds what the template is worth by now.
func (r *run) finish() *Result {
	if len(r.result.Calls) == 0 {
		value, _ := r.partial(r.template.Value())
		r.result.Value, _ = value.(map[string]any)
		delete(r.result.Value, "context")
	}
	return r.result
}

// partial exports what is complete of a value.
func (r *run) partial(v cue.Value) (any, bool) {
	if value, err := template.Export(v); err == nil {
		return value, true
	}
	fields := r.fields(v)
	if kind := v.IncompleteKind(); kind != cue.StructKind && (kind != cue.BottomKind || len(fields) == 0) {
		return nil, false
	}
	out := map[string]any{}
	for _, f := range fields {
		if value, ok := r.partial(f.value); ok {
			out[f.selector.Unquoted()] = value
		}
	}
	return out, true
}

// controls are the functions that decide how the step goes on.
var controls = map[function]func(*run, action) (verdict, error){
	{"builtin", "wait"}:    wait,
	{"builtin", "suspend"}: suspend,
	{"builtin", "fail"}:    fail,
	{"builtin", "break"}:   fail,
	{"builtin", "message"}: message,
}

// wait holds the step until its condition is true; one that cannot be told yet is not.
func wait(r *run, a action) (verdict, error) {
	if holds, err := a.param("continue").Bool(); err == nil && holds {
		return goOn, nil
	}
	text, _ := a.text("message")
	r.end(oam.StepRunning, reasonWait, text)
	return stop, nil
}

func suspend(r *run, a action) (verdict, error) {
	if r.in.Resumed {
		return goOn, nil
	}
	text, err := a.text("message")
	if err != nil {
		return goOn, err
	}
	duration, err := a.text("duration")
	if err != nil {
		return goOn, err
	}
	if duration != "" {
		if _, err := oam.ParseStepDuration(duration); err != nil {
			r.end(oam.StepFailed, reasonAction, fmt.Sprintf("action %q: duration: %v", a.path, err))
			return stop, nil
		}
	}
	r.end(oam.StepSuspending, reasonSuspend, text)
	r.result.SuspendDuration = duration
	return stop, nil
}

// fail ends the step, and with it (#Break) the whole run.
func fail(r *run, a action) (verdict, error) {
	text, err := a.text("message")
	if err != nil {
		return goOn, err
	}
	reason := reasonAction
	if a.name == "break" {
		reason = reasonTerminate
	}
	r.end(oam.StepFailed, reason, text)
	return stop, nil
}

func message(r *run, a action) (verdict, error) {
	text, err := a.text("message")
	if err != nil {
		return goOn, err
	}
	r.result.Message = problem.OneLine(text)
	return goOn, nil
}
