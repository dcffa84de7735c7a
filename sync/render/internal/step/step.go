// Package step evaluates the definitions of workflow steps. Their templates contain
// actions (apply this object, send that request, wait until); those that reach outside
// are not run here: they are handed out as calls, and what they returned is put in at the
// next evaluation. Nothing is kept between two evaluations, so a step goes on in any
// process and after any restart.
package step

import (
	"context"
	"fmt"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// Input is what a step is evaluated with.
type Input struct {
	Step    oam.Step `json:"step"` // with its inputs in place
	Context Context  `json:"context"`
	// Returned is what the calls of this round have returned so far, by their path. A new
	// round, after a wait, begins without any: everything is looked at again.
	Returned map[string]Returned `json:"returned,omitempty"`
	// Resumed says that a person, or the clock, let go on what #Suspend held.
	Resumed bool `json:"resumed,omitempty"`
	// Vars are the variables that #DoVar of this run kept.
	Vars map[string]any `json:"vars,omitempty"`
}

// Context is what templates see of the Application around a step.
type Context struct {
	AppName        string            `json:"appName"`
	Namespace      string            `json:"namespace"`
	AppRevision    string            `json:"appRevision,omitempty"`
	AppLabels      map[string]string `json:"appLabels,omitempty"`
	AppAnnotations map[string]string `json:"appAnnotations,omitempty"`
	PublishVersion string            `json:"publishVersion,omitempty"`
	WorkflowName   string            `json:"workflowName,omitempty"`
	StepName       string            `json:"stepName,omitempty"` // "" means the name of the step
	StepGroupName  string            `json:"stepGroupName,omitempty"`
	StepSessionID  string            `json:"stepSessionID,omitempty"` // the step's ID in the status
	SpanID         string            `json:"spanID,omitempty"`
}

// Returned is the end of a call: values, or the error that it ended with.
type Returned struct {
	Value map[string]any `json:"value,omitempty"`
	Err   string         `json:"err,omitempty"`
}

// Call is something to be done outside, in KubeVela's words: kube apply, http do.
type Call struct {
	Path     string         `json:"path"` // of the action in the template
	Provider string         `json:"provider"`
	Function string         `json:"function"`
	Params   map[string]any `json:"params,omitempty"`
}

// Result is how far a step is.
type Result struct {
	// Calls are to be made now, in this order and up to the first error. While there are
	// any, the step runs, and what is below, the log excepted, says nothing yet.
	Calls []Call `json:"calls,omitempty"`

	Phase           oam.StepPhase  `json:"phase"` // succeeded, running, suspending or failed
	Reason          string         `json:"reason,omitempty"`
	Message         string         `json:"message,omitempty"`
	SuspendDuration string         `json:"suspendDuration,omitempty"` // "" means until a person resumes it
	Value           map[string]any `json:"value,omitempty"`           // the complete fields; they may hold credentials
	Vars            map[string]any `json:"vars,omitempty"`            // to be kept for this run
	Log             []string       `json:"log,omitempty"`
}

// The reasons of a phase, in KubeVela's words.
const (
	reasonWait      = "Wait"
	reasonSuspend   = "Suspend"
	reasonAction    = "Action"    // #Fail
	reasonTerminate = "Terminate" // #Break
	reasonExecute   = "Execute"   // a call ended with an error: to be tried again
)

// Run evaluates the template of a step's definition.
func Run(ctx context.Context, e *template.Engine, t template.Template, in Input) (*Result, error) {
	t.Packages = Packages
	parameter := in.Step.Properties
	if parameter == nil {
		parameter = map[string]any{}
	}
	evaluated, err := e.Evaluate(t, template.Input{Parameter: parameter, Context: in.data()})
	if err != nil {
		return nil, err
	}
	r := &run{in: in, name: t.Name, template: evaluated, ended: map[string]bool{}, result: &Result{Vars: in.Vars}}
	// Each turn ends at least one action. Of those there may be as many as a template
	// makes, so the deadline is asked at each.
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.broken = r.template.Value().Validate(); r.broken != nil && len(r.ended) == 0 {
			return nil, r.template.Fault("template", r.broken)
		}
		actions := r.actions()
		if len(actions) > maxActions {
			return nil, fmt.Errorf("definition %q has %d actions: at most %d are run", t.Name, len(actions), maxActions)
		}
		more, err := r.returns(actions)
		if err != nil {
			return nil, err
		}
		if !more {
			return r.conclude(actions)
		}
	}
}

// maxActions bounds what one step does.
const maxActions = 1000

// run is one evaluation.
type run struct {
	in       Input
	name     string // of the definition
	template *template.Result
	ended    map[string]bool // the actions whose values are in the template, by path
	broken   error           // what returned values made of the template; an action may say why
	result   *Result
}

func (in Input) data() map[string]any {
	c := in.Context
	data := map[string]any{
		"name": c.AppName, "appName": c.AppName, "namespace": c.Namespace,
		"appLabels": object(c.AppLabels), "appAnnotations": object(c.AppAnnotations),
		"stepName": in.Step.Name,
	}
	// Templates ask whether these are there.
	for name, value := range map[string]string{
		"appRevision": c.AppRevision, "publishVersion": c.PublishVersion, "workflowName": c.WorkflowName,
		"stepName": c.StepName, "stepGroupName": c.StepGroupName, "stepSessionID": c.StepSessionID, "spanID": c.SpanID,
	} {
		if value != "" {
			data[name] = value
		}
	}
	return data
}

func object(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
