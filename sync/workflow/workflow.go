// Package workflow orders the delivery of an Application: which steps may run now, and
// what their results mean. It is a pure state machine over [oam.WorkflowStatus]: no
// goroutine, clock or I/O, so a run continues from its stored status after any restart,
// and the same inputs give the same outputs. Step groups, suspension, timeouts, `if`
// and skipping are its own; what running any other step means is the caller's business.
//
// A caller makes a [Plan], begins a run with [Start], and whenever something happened
// asks [Next] for the steps to run, reports what it saw with [Observe], and looks again
// at [Deadline] at the latest.
package workflow

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// TypeApplyComponent is the step type of the implicit workflow.
const TypeApplyComponent = oam.TypeApplyComponent

// The reasons of a step's state, in KubeVela's words.
const (
	ReasonWait      = "Wait"      // running: not healthy yet
	ReasonSuspend   = "Suspend"   // suspending: waits for a person
	ReasonResumed   = "Resumed"   // running again after a person let it
	ReasonSkip      = "Skip"      // skipped
	ReasonTimeout   = "Timeout"   // failed: not done within its timeout
	ReasonTerminate = "Terminate" // failed: a person ended the run
	ReasonExecute   = "Execute"   // failed: running it gave an error
	ReasonRetries   = "FailedAfterRetries"
	ReasonRendering = "Rendering" // failed: an expression could not be evaluated
	ReasonInput     = "Input"     // failed: an input has no value
	ReasonOutput    = "Output"    // failed: an output has no value
	ReasonAction    = "Action"    // failed: the step itself said so
)

// Observation is what running a step showed. Attempts at a step that gave an error are
// the caller's to count: it reports running while it goes on trying, and failed when it
// has given up.
type Observation struct {
	Phase   oam.StepPhase
	Reason  string
	Message string
}

// Component is the component that an apply-component step applies.
func Component(s oam.Step) string {
	name, _ := s.Properties["component"].(string)
	return name
}

// Start begins a run of the plan for a revision.
func Start(p Plan, revision string, now time.Time) *oam.WorkflowStatus {
	return &oam.WorkflowStatus{
		AppRevision: revision,
		Mode:        p.Mode.Steps + "-" + p.Mode.SubSteps,
		Phase:       oam.WorkflowExecuting,
		StartTime:   stamp(now),
	}
}

// Next records in st what follows from it alone (skips, groups, suspension, timeouts,
// the end of the run) and returns the steps to run now, in the order of the plan. A step
// that runs already is returned again until an observation ends it.
func Next(p Plan, st *oam.WorkflowStatus, now time.Time) []oam.Step {
	r := newRun(p, st, now)
	r.settle()
	return r.runnable()
}

// Observe records what running a step showed, with what follows from it, and says
// whether that changed anything. What comes too late, for a step or run that has ended,
// and what comes too early, for a step that may not run yet, is ignored.
func Observe(p Plan, st *oam.WorkflowStatus, s oam.Step, o Observation, now time.Time) bool {
	before := st.DeepCopy()
	r := newRun(p, st, now)
	r.settle()
	if n := r.byName[s.Name]; n != nil && r.observable(n) {
		if r.held && (o.Phase == oam.StepRunning || o.Phase == oam.StepSuspending) {
			o.Phase, o.Reason = oam.StepSuspending, ReasonWait
		}
		if r.put(n, o) {
			r.execute(r.state(n))
		}
		r.settle()
	}
	return !equality.Semantic.DeepEqual(before, st)
}

// Deadline is the next moment at which [Next] will find something changed although
// nothing was observed, or zero.
func Deadline(p Plan, st *oam.WorkflowStatus) time.Time {
	var next time.Time
	r := newRun(p, st, time.Time{})
	if st.Finished || r.held {
		return next
	}
	for _, n := range r.nodes {
		for _, due := range []time.Time{r.timeout(n), r.resumption(n)} {
			if !due.IsZero() && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
	}
	return next
}

// State is the recorded state of a step; nil when it has none.
func State(st *oam.WorkflowStatus, step string) *oam.StepStatus {
	for i := range st.Steps {
		s := &st.Steps[i]
		if s.Name == step {
			return s
		}
		for j := range s.SubSteps {
			if s.SubSteps[j].Name == step {
				return &s.SubSteps[j]
			}
		}
	}
	return nil
}

// All lists the steps of the plan in its order, a group before its sub-steps.
func (p Plan) All() []oam.Step {
	var out []oam.Step
	for s := range everyStep(p.Steps) {
		out = append(out, *s)
	}
	return out
}

// Group is the name of the step group that holds a step, or "".
func (p Plan) Group(step string) string {
	for _, s := range p.Steps {
		if slices.ContainsFunc(s.SubSteps, func(sub oam.Step) bool { return sub.Name == step }) {
			return s.Name
		}
	}
	return ""
}

// stepID is ten characters like KubeVela's, but the same for the same run and step.
func stepID(revision, step string) string {
	sum := sha256.Sum256([]byte(revision + "/" + step))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:10]
}

// stamp keeps what survives being stored: whole seconds.
func stamp(now time.Time) *metav1.Time {
	t := metav1.NewTime(now.Truncate(time.Second))
	return &t
}
