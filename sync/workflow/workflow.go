// Package workflow orders the delivery of an Application: which steps may run now, and
// what their results mean. It is a pure state machine over [oam.WorkflowStatus]: no
// goroutine, clock or I/O, so a run continues from its stored status after any restart.
// What running a step means is the caller's business.
package workflow

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Plan is the steps of one Application and how they are ordered.
type Plan struct {
	Steps []oam.Step
	Mode  oam.Mode
}

// TypeApplyComponent is the step type of the implicit workflow.
const TypeApplyComponent = "apply-component"

// The reasons of a step's state, in KubeVela's words.
const (
	ReasonWait    = "Wait"
	ReasonSkip    = "Skip"
	ReasonTimeout = "Timeout"
	ReasonExecute = "Execute"
)

// NewPlan reads the workflow of app. Without one, every component is a step and they run
// as a DAG over their dependsOn; with one, only the components that a step applies are
// deployed.
func NewPlan(app *oam.Application) (Plan, error) {
	if w := app.Spec.Workflow; w != nil && w.Ref != "" {
		return Plan{}, fmt.Errorf("spec.workflow.ref %q: Workflow objects are not supported yet; write the steps in the Application", w.Ref)
	}
	if w := app.Spec.Workflow; w != nil && len(w.Steps) > 0 {
		return explicit(w)
	}
	p := Plan{Mode: oam.Mode{Steps: oam.DAG, SubSteps: oam.DAG}}
	for _, c := range app.Spec.Components {
		p.Steps = append(p.Steps, oam.Step{
			Name: c.Name, Type: TypeApplyComponent, DependsOn: c.DependsOn,
			Properties: map[string]any{"component": c.Name},
		})
	}
	return p, nil
}

func explicit(w *oam.Workflow) (Plan, error) {
	p := Plan{Mode: oam.Mode{Steps: oam.StepByStep, SubSteps: oam.DAG}}
	if w.Mode != nil {
		for _, m := range []struct {
			path, given string
			into        *string
		}{
			{"steps", w.Mode.Steps, &p.Mode.Steps}, {"subSteps", w.Mode.SubSteps, &p.Mode.SubSteps},
		} {
			switch m.given {
			case "":
			case oam.StepByStep, oam.DAG:
				*m.into = m.given
			default:
				return p, fmt.Errorf("spec.workflow.mode.%s: %q: want StepByStep or DAG", m.path, m.given)
			}
		}
	}
	for i, s := range w.Steps {
		if s.Name == "" {
			s.Name = fmt.Sprintf("step-%d", i)
		}
		if s.Type != TypeApplyComponent {
			return p, fmt.Errorf("workflow step %q: type %q is not known; known types: %s", s.Name, s.Type, TypeApplyComponent)
		}
		if s.If != "" && s.If != "always" {
			return p, fmt.Errorf("workflow step %q: if %q is not supported yet; only \"always\" is", s.Name, s.If)
		}
		p.Steps = append(p.Steps, s)
	}
	return p, p.checkDependencies()
}

func (p Plan) checkDependencies() error {
	known := map[string]bool{}
	for _, s := range p.Steps {
		known[s.Name] = true
	}
	for _, s := range p.Steps {
		for _, d := range s.DependsOn {
			if !known[d] {
				return fmt.Errorf("workflow step %q depends on step %q, which does not exist", s.Name, d)
			}
		}
	}
	return nil
}

// Component is the component that an apply-component step applies.
func Component(s oam.Step) string {
	name, _ := s.Properties["component"].(string)
	return name
}

// Start begins a run of the plan for a revision.
func Start(p Plan, revision string, now time.Time) *oam.WorkflowStatus {
	begun := metav1.NewTime(now)
	return &oam.WorkflowStatus{
		AppRevision: revision,
		Mode:        p.Mode.Steps + "-" + p.Mode.SubSteps,
		Phase:       oam.WorkflowExecuting,
		StartTime:   &begun,
	}
}

// Next settles what follows from the state alone (skips, timeouts, the end of the run)
// and returns the steps to run now, in order.
func Next(p Plan, st *oam.WorkflowStatus, now time.Time) []oam.Step {
	if st.Finished || st.Suspend || st.Terminated {
		return nil
	}
	var ready []oam.Step
	for i, s := range p.Steps {
		state := find(st, s.Name)
		if state != nil && ended(state.Phase) {
			continue
		}
		if state != nil && expired(s, state, now) {
			set(st, s, Observation{Phase: oam.StepFailed, Reason: ReasonTimeout, Message: "not done within " + s.Timeout}, now)
			continue
		}
		before := p.before(i)
		if !allEnded(st, before) {
			if p.Mode.Steps == oam.StepByStep {
				break
			}
			continue
		}
		if s.If == "" && anyFailed(st, before) {
			set(st, s, Observation{Phase: oam.StepSkipped, Reason: ReasonSkip, Message: "an earlier step failed"}, now)
			continue
		}
		ready = append(ready, s)
		if p.Mode.Steps == oam.StepByStep {
			break
		}
	}
	finish(p, st, now)
	return ready
}

// before lists the steps that must have ended before step i starts.
func (p Plan) before(i int) []string {
	names := slices.Clone(p.Steps[i].DependsOn)
	if p.Mode.Steps == oam.StepByStep {
		for _, s := range p.Steps[:i] {
			names = append(names, s.Name)
		}
	}
	return names
}

// Observation is what running a step showed.
type Observation struct {
	Phase   oam.StepPhase
	Reason  string
	Message string
}

// Observe records what running a step showed. The same observation twice changes
// nothing, so that the status says something new only when there is something new.
func Observe(p Plan, st *oam.WorkflowStatus, s oam.Step, o Observation, now time.Time) {
	set(st, s, o, now)
	finish(p, st, now)
}

// Deadline is the next moment at which the state changes by itself, or zero.
func Deadline(p Plan, st *oam.WorkflowStatus) time.Time {
	var next time.Time
	for _, s := range p.Steps {
		state := find(st, s.Name)
		if state == nil || ended(state.Phase) || s.Timeout == "" || state.FirstExecuteTime == nil {
			continue
		}
		d, err := oam.ParseDuration(s.Timeout)
		if err != nil {
			continue
		}
		if at := state.FirstExecuteTime.Add(d); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

func expired(s oam.Step, state *oam.StepStatus, now time.Time) bool {
	if s.Timeout == "" || state.FirstExecuteTime == nil {
		return false
	}
	d, err := oam.ParseDuration(s.Timeout)
	return err == nil && !now.Before(state.FirstExecuteTime.Add(d))
}

func set(st *oam.WorkflowStatus, s oam.Step, o Observation, now time.Time) {
	state := find(st, s.Name)
	if state == nil {
		first := metav1.NewTime(now)
		st.Steps = append(st.Steps, oam.StepStatus{
			ID: stepID(st.AppRevision, s.Name), Name: s.Name, Type: s.Type, FirstExecuteTime: &first,
		})
		state = &st.Steps[len(st.Steps)-1]
	}
	if state.Phase == o.Phase && state.Reason == o.Reason && state.Message == o.Message {
		return
	}
	last := metav1.NewTime(now)
	state.Phase, state.Reason, state.Message, state.LastExecuteTime = o.Phase, o.Reason, o.Message, &last
}

func finish(p Plan, st *oam.WorkflowStatus, now time.Time) {
	failed := false
	for _, s := range p.Steps {
		state := find(st, s.Name)
		if state == nil || !ended(state.Phase) {
			return
		}
		failed = failed || state.Phase == oam.StepFailed
	}
	if st.Finished {
		return
	}
	end := metav1.NewTime(now)
	st.Finished, st.EndTime = true, &end
	st.Phase = oam.WorkflowSucceeded
	if failed {
		st.Phase = oam.WorkflowFailed
	}
}

func find(st *oam.WorkflowStatus, name string) *oam.StepStatus {
	for i := range st.Steps {
		if st.Steps[i].Name == name {
			return &st.Steps[i]
		}
	}
	return nil
}

func ended(p oam.StepPhase) bool {
	return p == oam.StepSucceeded || p == oam.StepFailed || p == oam.StepSkipped
}

func allEnded(st *oam.WorkflowStatus, names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool {
		s := find(st, n)
		return s == nil || !ended(s.Phase)
	})
}

// anyFailed counts a skipped step as failed: a step is skipped only behind a failure.
func anyFailed(st *oam.WorkflowStatus, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		s := find(st, n)
		return s != nil && (s.Phase == oam.StepFailed || s.Phase == oam.StepSkipped)
	})
}

// Dispatched lists the components that some step of the run has begun to apply.
func Dispatched(p Plan, st *oam.WorkflowStatus) []string {
	var out []string
	for _, s := range p.Steps {
		state := find(st, s.Name)
		if state != nil && state.Phase != oam.StepSkipped && state.Phase != oam.StepPending {
			out = append(out, Component(s))
		}
	}
	return out
}

// stepID is ten characters like KubeVela's, but the same for the same run and step.
func stepID(revision, step string) string {
	sum := sha256.Sum256([]byte(revision + "/" + step))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:10]
}
