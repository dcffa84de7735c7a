package workflow_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// randomPlan makes a plan without circles: a step depends only on ones before it.
func randomPlan(t *testing.T, rnd *rand.Rand) workflow.Plan {
	t.Helper()
	modes := []string{oam.StepByStep, oam.DAG}
	w := &oam.Workflow{Mode: &oam.Mode{Steps: modes[rnd.IntN(2)], SubSteps: modes[rnd.IntN(2)]}}
	var before []string
	fill := func(s *oam.Step) {
		for _, name := range before {
			if rnd.IntN(4) == 0 {
				s.DependsOn = append(s.DependsOn, name)
			}
		}
		s.If = []string{"", "", "", "always", "even"}[rnd.IntN(5)]
	}
	for i := range 1 + rnd.IntN(7) {
		s := oam.Step{Name: fmt.Sprintf("s%d", i), Type: anyType}
		fill(&s)
		if rnd.IntN(4) == 0 {
			s.Type = oam.TypeStepGroup
			outside := before
			for j := range rnd.IntN(4) {
				sub := oam.Step{Name: fmt.Sprintf("s%d-%d", i, j), Type: anyType}
				fill(&sub)
				s.SubSteps = append(s.SubSteps, sub)
				before = append(slices.Clone(before), sub.Name)
			}
			before = outside
		}
		w.Steps = append(w.Steps, s)
		before = append(slices.Clone(before), s.Name)
	}
	p, err := workflow.NewPlan(&oam.Application{Spec: oam.Spec{Components: []oam.Component{}, Workflow: w}}, anyType)
	if err != nil {
		t.Fatal(err)
	}
	p.Eval = func(_ string, v workflow.Vars) (bool, error) {
		return !v.Status[v.Step.Name].Failed && len(v.Step.Name)%2 == 0, nil
	}
	return p
}

// fate is how a step ends, the same in every trial of one plan.
func fate(seed uint64, name string) workflow.Observation {
	rnd := rand.New(rand.NewPCG(seed, uint64(len(name))<<32|uint64(name[1])<<8|uint64(name[len(name)-1])))
	if rnd.IntN(5) == 0 {
		return workflow.Observation{Phase: oam.StepFailed, Reason: workflow.ReasonExecute, Message: "boom"}
	}
	return workflow.Observation{Phase: oam.StepSucceeded}
}

// drive runs a plan to its end, observing steps in a random order, some of them waiting
// for a while and some observed twice. With restarts, the state is stored and loaded
// between any two calls.
func drive(t *testing.T, p workflow.Plan, seed uint64, rnd *rand.Rand, restarts bool) *oam.WorkflowStatus {
	t.Helper()
	st := workflow.Start(p, "app-v1", noon)
	for range 1000 {
		if restarts {
			st = reload(t, st)
		}
		ready := workflow.Next(p, st, noon)
		if st.Finished {
			return st
		}
		if len(ready) == 0 {
			t.Fatalf("seed %d: nothing to run and not finished: %s", seed, dumpSteps(st.Steps))
		}
		s := ready[rnd.IntN(len(ready))]
		checkAllowed(t, p, st, s)
		if restarts {
			st = reload(t, st)
		}
		o := fate(seed, s.Name)
		if rnd.IntN(3) == 0 {
			o = workflow.Observation{Phase: oam.StepRunning, Reason: workflow.ReasonWait}
		}
		workflow.Observe(p, st, s, o, noon)
		if workflow.Observe(p, st, s, o, noon) {
			t.Fatalf("seed %d: observing %s twice changed something", seed, s.Name)
		}
	}
	t.Fatalf("seed %d: no end: %s", seed, dumpSteps(st.Steps))
	return nil
}

// checkAllowed fails when s may not run yet by the rules, worked out without the package.
func checkAllowed(t *testing.T, p workflow.Plan, st *oam.WorkflowStatus, s oam.Step) {
	t.Helper()
	phases := map[string]oam.StepPhase{}
	for _, top := range st.Steps {
		phases[top.Name] = top.Phase
		for _, sub := range top.SubSteps {
			phases[sub.Name] = sub.Phase
		}
	}
	ended := func(name string) bool {
		return slices.Contains([]oam.StepPhase{oam.StepSucceeded, oam.StepFailed, oam.StepSkipped}, phases[name])
	}
	for _, d := range s.DependsOn {
		if !ended(d) || s.If == "" && phases[d] != oam.StepSucceeded {
			t.Fatalf("%s runs while %s, which it depends on, is %q", s.Name, d, phases[d])
		}
	}
	check := func(list []oam.Step, mode string) {
		at := slices.IndexFunc(list, func(o oam.Step) bool { return o.Name == s.Name })
		for _, before := range list[:max(at, 0)] {
			if mode == oam.StepByStep && (!ended(before.Name) || s.If == "" && phases[before.Name] == oam.StepFailed) {
				t.Fatalf("%s runs behind %s, which is %q", s.Name, before.Name, phases[before.Name])
			}
		}
	}
	check(p.Steps, p.Mode.Steps)
	for _, top := range p.Steps {
		check(top.SubSteps, p.Mode.SubSteps)
	}
}

func reload(t *testing.T, st *oam.WorkflowStatus) *oam.WorkflowStatus {
	t.Helper()
	raw, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	out := &oam.WorkflowStatus{}
	if err := json.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnyOrderOfObservationsEndsTheSame(t *testing.T) {
	t.Parallel()
	phases := map[oam.WorkflowPhase]int{}
	for seed := range uint64(60) {
		p := randomPlan(t, rand.New(rand.NewPCG(seed, 1)))
		want := drive(t, p, seed, rand.New(rand.NewPCG(seed, 2)), false)
		phases[want.Phase]++
		for again := range uint64(4) {
			got := drive(t, p, seed, rand.New(rand.NewPCG(seed, 3+again)), again%2 == 0)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, order %d ends otherwise (-first +this):\n%s", seed, again, diff)
			}
		}
	}
	if phases[oam.WorkflowSucceeded] < 8 || phases[oam.WorkflowFailed] < 8 {
		t.Errorf("the plans are too alike to prove much: %v", phases)
	}
}

// Whatever happens in whatever order, a run keeps its promises: a step that ended stays
// as it is, states are sorted by the plan, and the state is what survives being stored.
func TestNothingBreaksARun(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		p := randomPlan(t, rnd)
		names := []string{""}
		for i, s := range p.Steps {
			if rnd.IntN(3) == 0 && s.Type == anyType {
				p.Steps[i].Timeout = "3s"
			}
			names = append(names, s.Name)
			for _, sub := range s.SubSteps {
				names = append(names, sub.Name)
			}
		}
		st, now := workflow.Start(p, "app-v1", noon), noon
		for range 60 {
			before := reload(t, st)
			now = now.Add(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			name := names[rnd.IntN(len(names))]
			restarted := false
			switch rnd.IntN(9) {
			case 0:
				_ = workflow.Suspend(p, st, "", now)
			case 1, 2:
				_ = workflow.Resume(p, st, name, now)
			case 3:
				restarted = workflow.Restart(p, st, name, now) == nil
			case 4:
				if rnd.IntN(4) == 0 {
					_ = workflow.Terminate(p, st, now)
				}
			case 5:
				workflow.Next(p, st, now)
			default:
				phases := []oam.StepPhase{oam.StepRunning, oam.StepSucceeded, oam.StepFailed, oam.StepSkipped, oam.StepSuspending}
				workflow.Observe(p, st, oam.Step{Name: name}, workflow.Observation{Phase: phases[rnd.IntN(5)], Reason: workflow.ReasonWait}, now)
			}
			if diff := cmp.Diff(st, reload(t, st), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d: storing loses something:\n%s", seed, diff)
			}
			checkKept(t, p, before, st, restarted)
		}
	}
}

func checkKept(t *testing.T, p workflow.Plan, before, after *oam.WorkflowStatus, restarted bool) {
	t.Helper()
	position := map[string]int{}
	for _, s := range p.Steps {
		position[s.Name] = len(position)
	}
	if !slices.IsSortedFunc(after.Steps, func(a, b oam.StepStatus) int { return position[a.Name] - position[b.Name] }) {
		t.Fatalf("not in the order of the plan: %s", dumpSteps(after.Steps))
	}
	if after.Finished != (after.EndTime != nil) || after.Finished && after.Suspend {
		t.Fatalf("finished, suspended and end time disagree: %+v", after)
	}
	if restarted {
		return
	}
	for _, s := range before.Steps {
		i := slices.IndexFunc(after.Steps, func(a oam.StepStatus) bool { return a.Name == s.Name })
		if i < 0 {
			t.Fatalf("step %s was forgotten", s.Name)
		}
		switch s.Phase {
		case oam.StepSucceeded, oam.StepFailed, oam.StepSkipped:
			if after.Steps[i].Phase != s.Phase {
				t.Fatalf("step %s went from %s to %s", s.Name, s.Phase, after.Steps[i].Phase)
			}
		}
	}
}
