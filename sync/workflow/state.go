package workflow

import (
	"cmp"
	"slices"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// state is the recorded state of a step, nil when there is none yet.
func (r *run) state(n *node) *oam.StepStatus { return r.states[n.Name] }

// index notes where each state is; a list that grew or shrank moved them.
func (r *run) index() {
	r.states = map[string]*oam.StepStatus{}
	for i := range r.st.Steps {
		s := &r.st.Steps[i]
		for j := range s.SubSteps {
			r.states[s.SubSteps[j].Name] = &s.SubSteps[j]
		}
		r.states[s.Name] = s
	}
}

// list is where the state of a step is recorded; its group has a state before it has.
func (r *run) list(n *node) *[]oam.StepStatus {
	if n.group == nil {
		return &r.st.Steps
	}
	return &r.state(n.group).SubSteps
}

// put records the state of a step and says whether it was another. States stand in the
// order of the plan, whatever order they came in.
func (r *run) put(n *node, o Observation) bool {
	if r.state(n) == nil {
		list := r.list(n)
		at, _ := slices.BinarySearchFunc(*list, n, func(s oam.StepStatus, n *node) int {
			return cmp.Compare(r.position(s.Name), n.position)
		})
		*list = slices.Insert(*list, at, oam.StepStatus{ID: stepID(r.st.AppRevision, n.Name), Name: n.Name, Type: n.Type})
		r.index()
	}
	s := r.state(n)
	if s.Phase == o.Phase && s.Reason == o.Reason && s.Message == o.Message {
		return false
	}
	s.Phase, s.Reason, s.Message = o.Phase, o.Reason, o.Message
	switch o.Phase {
	case oam.StepRunning, oam.StepSuspending, oam.StepSucceeded:
		r.execute(s)
	case oam.StepPending, oam.StepFailed, oam.StepSkipped: // also without ever being run
	}
	return true
}

// position is where a step stands in the plan; one that another plan left comes first.
func (r *run) position(name string) int {
	if n := r.byName[name]; n != nil {
		return n.position
	}
	return -1
}

// execute notes that a step was run now.
func (r *run) execute(s *oam.StepStatus) {
	s.LastExecuteTime = stamp(r.now)
	if s.FirstExecuteTime == nil {
		s.FirstExecuteTime = stamp(r.now)
	}
}

// begun says whether a step was ever run.
func (r *run) begun(n *node) bool {
	s := r.state(n)
	return s != nil && s.FirstExecuteTime != nil && s.Phase != oam.StepPending
}

func (r *run) phase(name string) oam.StepPhase {
	if s := r.states[name]; s != nil && r.byName[name] != nil {
		return s.Phase
	}
	return ""
}

func (r *run) ended(name string) bool {
	p := r.phase(name)
	return p == oam.StepSucceeded || p == oam.StepFailed || p == oam.StepSkipped
}

func (r *run) allEnded(names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return !r.ended(n) })
}

func (r *run) anyFailed(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return r.phase(n) == oam.StepFailed })
}

// allSucceeded looks through to what the named steps needed themselves: a step with
// `if: always` succeeds behind a failure, but does not undo it.
func (r *run) allSucceeded(names []string) bool {
	seen := map[string]bool{}
	var succeeded func(names []string) bool
	succeeded = func(names []string) bool {
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			if r.phase(name) != oam.StepSucceeded || !succeeded(r.byName[name].needs) {
				return false
			}
		}
		return true
	}
	return succeeded(names)
}

// waiting says what keeps a step from being run or skipped, or "".
func (r *run) waiting(n *node) string {
	for _, name := range n.waits() {
		if !r.ended(name) {
			return "Pending on DependsOn: " + name
		}
	}
	if in := r.missing(n); in != "" && r.promised(in) {
		return "Pending on Input: " + in
	}
	return ""
}

// missing is the first input that has no value, or "".
func (r *run) missing(n *node) string {
	for _, in := range n.Inputs {
		if _, ok := r.plan.Values[in.From]; !ok {
			return in.From
		}
	}
	return ""
}

// promised says whether a value may still come: a step that puts it out has succeeded,
// and the caller has yet to evaluate it; or nobody but the caller knows it.
func (r *run) promised(name string) bool {
	by := producers(r.nodes, name)
	return len(by) == 0 || slices.ContainsFunc(by, func(n string) bool { return r.phase(n) == oam.StepSucceeded })
}

func (r *run) vars(n *node) Vars {
	v := Vars{Step: n.Step, Status: map[string]StepState{}, Inputs: map[string]any{}}
	for _, other := range r.nodes {
		if s := r.state(other); s != nil {
			v.Status[other.Name] = StepState{
				StepStatus: *s,
				Succeeded:  s.Phase == oam.StepSucceeded, Failed: s.Phase == oam.StepFailed, Skipped: s.Phase == oam.StepSkipped,
				Timeout: s.Reason == ReasonTimeout, FailedAfterRetries: s.Reason == ReasonRetries, Terminate: s.Reason == ReasonTerminate,
			}
		}
	}
	for _, in := range n.Inputs {
		if value, ok := r.plan.Values[in.From]; ok {
			v.Inputs[in.From] = value
		}
	}
	return v
}
