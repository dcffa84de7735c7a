package workflow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Plan is the steps of one Application and how they are ordered. Make one with
// [NewPlan], which checks that no step waits for itself.
type Plan struct {
	Steps []oam.Step
	Mode  oam.Mode

	// Values are the outputs there are by now, by name; a step waits until its inputs
	// are among them. They are the caller's to compute and to keep.
	Values map[string]any
	// Eval decides an `if` other than "always". Without it such a step fails.
	Eval func(expr string, vars Vars) (bool, error)
}

// Vars is what an `if` may speak of, beside what the caller knows itself.
type Vars struct {
	Step   oam.Step             // whose `if` it is
	Status map[string]StepState // by step name, for the steps that have a state
	Inputs map[string]any       // by name
}

// StepState is the state of a step in the form `if` expressions use.
type StepState struct {
	oam.StepStatus
	Succeeded          bool `json:"succeeded"`
	Failed             bool `json:"failed"`
	Skipped            bool `json:"skipped"`
	Timeout            bool `json:"timeout"`
	FailedAfterRetries bool `json:"failedAfterRetries"`
	Terminate          bool `json:"terminate"`
}

// typeRefObjects is the component type whose objects exist already: they are copied to
// where a deploy step says.
const typeRefObjects = "ref-objects"

// typeDeploy is the step type of an implicit workflow over topology and override policies.
const typeDeploy = "deploy"

// NewPlan reads the workflow of app. Without one, every component is a step and they run
// as a DAG over their dependsOn and inputs; with one, only the components that a step
// applies are deployed. Types are the step types that the caller can run; none means
// apply-component alone.
func NewPlan(app *oam.Application, types ...string) (Plan, error) {
	spec := app.Spec.Defaulted()
	w := cmp.Or(spec.Workflow, &oam.Workflow{})
	if w.Ref != "" {
		return Plan{}, fmt.Errorf("spec.workflow.ref %q: Workflow objects are not supported yet; write the steps in the Application", w.Ref)
	}
	p := Plan{Steps: w.Steps, Mode: oam.Mode{Steps: oam.StepByStep, SubSteps: oam.DAG}}
	if len(types) == 0 {
		types = []string{TypeApplyComponent}
	}
	if len(w.Steps) == 0 {
		p.Steps, p.Mode.Steps = implicitSteps(spec), oam.DAG
		if len(p.Steps) > 0 && p.Steps[0].Type == typeDeploy && !slices.Contains(types, typeDeploy) {
			return Plan{}, fmt.Errorf("policies of type topology and override are not supported yet: remove them, or write a workflow")
		}
	}
	if w.Mode != nil {
		p.Mode.Steps, p.Mode.SubSteps = cmp.Or(w.Mode.Steps, p.Mode.Steps), cmp.Or(w.Mode.SubSteps, p.Mode.SubSteps)
	}
	if err := p.checkTypes(types); err != nil {
		return Plan{}, err
	}
	p.Steps = withComponents(p.Steps, spec.Components)
	return p, p.checkOrder(spec.Components)
}

// implicitSteps is one step for each component, or, where policies say where and how
// components are deployed, one deploy step for each place.
func implicitSteps(spec oam.Spec) []oam.Step {
	var overrides, places []any
	for _, policy := range spec.Policies {
		switch policy.Type {
		case "override":
			overrides = append(overrides, policy.Name)
		case "topology":
			places = append(places, policy.Name)
		}
	}
	var steps []oam.Step
	for _, place := range places {
		policies := append(slices.Clone(overrides), place)
		steps = append(steps, oam.Step{
			Name: fmt.Sprintf("deploy-%v", place), Type: typeDeploy, Properties: map[string]any{"policies": policies},
		})
	}
	if len(steps) > 0 {
		return steps
	}
	if len(overrides) > 0 || slices.ContainsFunc(spec.Components, func(c oam.Component) bool { return c.Type == typeRefObjects }) {
		return []oam.Step{{Name: "deploy", Type: typeDeploy, Properties: map[string]any{"policies": orEmpty(overrides)}}}
	}
	for _, c := range spec.Components {
		steps = append(steps, oam.Step{
			Name: c.Name, Type: TypeApplyComponent, Properties: map[string]any{"component": c.Name},
		})
	}
	return steps
}

func orEmpty(list []any) []any { return append([]any{}, list...) }

// withComponents gives every apply-component step the dependsOn, inputs and outputs of
// its component; a component that is depended on stands for the steps that apply it.
func withComponents(steps []oam.Step, components []oam.Component) []oam.Step {
	appliedBy := map[string][]string{}
	for s := range everyStep(steps) {
		if s.Type == TypeApplyComponent {
			appliedBy[Component(*s)] = append(appliedBy[Component(*s)], s.Name)
		}
	}
	steps = slices.Clone(steps)
	for i := range steps {
		steps[i].SubSteps = slices.Clone(steps[i].SubSteps)
	}
	for s := range everyStep(steps) {
		at := slices.IndexFunc(components, func(c oam.Component) bool { return c.Name == Component(*s) })
		if s.Type != TypeApplyComponent || at < 0 {
			continue
		}
		c := components[at]
		s.DependsOn = slices.Clone(s.DependsOn)
		for _, d := range c.DependsOn {
			if by := appliedBy[d]; len(by) > 0 {
				s.DependsOn = append(s.DependsOn, by...)
			} else {
				s.DependsOn = append(s.DependsOn, d) // refused by checkOrder, which names it
			}
		}
		s.Inputs = append(slices.Clone(s.Inputs), c.Inputs...)
		s.Outputs = append(slices.Clone(s.Outputs), c.Outputs...)
	}
	return steps
}

func (p Plan) checkTypes(types []string) error {
	for s := range everyStep(p.Steps) {
		if s.Type != oam.TypeStepGroup && s.Type != oam.TypeSuspend && !slices.Contains(types, s.Type) {
			known := slices.Sorted(slices.Values(append(slices.Clone(types), oam.TypeStepGroup, oam.TypeSuspend)))
			return fmt.Errorf("workflow step %q: type %q is not known; known types: %s", s.Name, s.Type, strings.Join(known, ", "))
		}
		if d := suspendDuration(*s); d != "" {
			if _, err := oam.ParseStepDuration(d); err != nil {
				return fmt.Errorf("workflow step %q: properties.duration: %w", s.Name, err)
			}
		}
	}
	return nil
}

// checkOrder refuses a plan in which a step would wait forever.
func (p Plan) checkOrder(components []oam.Component) error {
	nodes := compile(p)
	byName := map[string]*node{}
	for _, n := range nodes {
		byName[n.Name] = n
	}
	after, names := map[string][]string{}, make([]string, 0, len(nodes))
	for _, n := range nodes {
		for _, need := range n.needs {
			if byName[need] != nil {
				continue
			}
			if slices.ContainsFunc(components, func(c oam.Component) bool { return c.Name == need }) {
				return fmt.Errorf("workflow step %q depends on component %q, which no step applies", n.Name, need)
			}
			return fmt.Errorf("workflow step %q depends on step %q, which does not exist", n.Name, need)
		}
		for _, in := range n.Inputs {
			if !strings.HasPrefix(in.From, "context.") && len(producers(nodes, in.From)) == 0 {
				return fmt.Errorf("workflow step %q: input from %q, which no step puts out", n.Name, in.From)
			}
		}
		names = append(names, n.Name)
		after[n.Name] = append(after[n.Name], n.waits()...)
		if n.group != nil {
			after[n.Name] = append(after[n.Name], n.group.waits()...)
			after[n.group.Name] = append(after[n.group.Name], n.Name)
		}
	}
	if cycle := oam.Cycle(names, after); cycle != nil {
		return fmt.Errorf("workflow steps wait for each other in a circle: %s", strings.Join(cycle, " → "))
	}
	return nil
}
