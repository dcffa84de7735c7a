package oam

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The step types that the workflow itself gives a meaning to; all others only have one
// for who executes them.
const (
	TypeApplyComponent = "apply-component"
	TypeStepGroup      = "step-group"
	TypeSuspend        = "suspend"
)

// Validate checks what can be checked without definitions or a cluster. The error is one
// line that lists everything that is wrong.
func Validate(app *Application) error {
	v := &validator{components: map[string]int{}, steps: map[string]string{}}
	if app.Name == "" {
		v.bad("metadata.name is missing")
	}
	if app.Spec.Components == nil {
		v.bad("spec.components is missing")
	}
	for i, c := range app.Spec.Components {
		v.component(i, c)
	}
	for _, c := range app.Spec.Components {
		for _, d := range c.DependsOn {
			if _, ok := v.components[d]; !ok {
				v.bad("component %q depends on %q, which is not a component of this Application", c.Name, d)
			}
		}
	}
	if cycle := dependencyCycle(app.Spec.Components); cycle != "" {
		v.bad("components depend on each other in a circle: %s", cycle)
	}
	for i, p := range app.Spec.Policies {
		if p.Type == "" {
			v.bad("spec.policies[%d].type is missing (policy %q)", i, p.Name)
		}
	}
	if w := app.Spec.Workflow; w != nil {
		v.workflow(w)
	}
	if len(v.errs) > 0 {
		return fmt.Errorf("Application %s is not valid: %s", app.Name, strings.Join(v.errs, "; "))
	}
	return nil
}

type validator struct {
	errs       []string
	components map[string]int    // index of the first with that name
	steps      map[string]string // path of the first with that name
}

func (v *validator) bad(format string, args ...any) {
	v.errs = append(v.errs, fmt.Sprintf(format, args...))
}

func (v *validator) component(i int, c Component) {
	at := fmt.Sprintf("spec.components[%d]", i)
	if first, ok := v.components[c.Name]; c.Name == "" {
		v.bad("%s.name is missing", at)
	} else if ok {
		v.bad("%s.name: %q is the name of spec.components[%d] already", at, c.Name, first)
	} else {
		v.components[c.Name] = i
	}
	if c.Type == "" {
		v.bad("%s.type is missing (component %q)", at, c.Name)
	}
	for j, t := range c.Traits {
		if t.Type == "" {
			v.bad("%s.traits[%d].type is missing (component %q)", at, j, c.Name)
		}
	}
	v.passing(at, c.Inputs, c.Outputs)
}

func (v *validator) passing(at string, inputs []Input, outputs []Output) {
	for i, in := range inputs {
		if in.From == "" {
			v.bad("%s.inputs[%d].from is missing", at, i)
		}
	}
	for i, out := range outputs {
		if out.Name == "" || out.ValueFrom == "" {
			v.bad("%s.outputs[%d]: want name and valueFrom", at, i)
		}
	}
}

func (v *validator) workflow(w *Workflow) {
	if w.Ref != "" && len(w.Steps) > 0 {
		v.bad("spec.workflow has both ref and steps: keep one")
	}
	if w.Mode != nil {
		v.mode("spec.workflow.mode.steps", w.Mode.Steps)
		v.mode("spec.workflow.mode.subSteps", w.Mode.SubSteps)
	}
	// A default name may meet one that was written.
	for i, s := range namedSteps("step", w.Steps) {
		at := fmt.Sprintf("spec.workflow.steps[%d]", i)
		v.step(at, s)
		if len(s.SubSteps) > 0 && s.Type != TypeStepGroup {
			v.bad("%s.subSteps: only a step of type %s has sub-steps", at, TypeStepGroup)
		}
		for j, sub := range s.SubSteps {
			subAt := fmt.Sprintf("%s.subSteps[%d]", at, j)
			v.step(subAt, sub)
			if sub.Type == TypeStepGroup || len(sub.SubSteps) > 0 {
				v.bad("%s: a group cannot hold another", subAt)
			}
		}
	}
}

func (v *validator) mode(at, mode string) {
	if mode != "" && mode != StepByStep && mode != DAG {
		v.bad("%s: %q: want %s or %s", at, mode, StepByStep, DAG)
	}
}

func (v *validator) step(at string, s Step) {
	if s.Type == "" {
		v.bad("%s.type is missing (step %q)", at, s.Name)
	}
	if first, ok := v.steps[s.Name]; ok {
		v.bad("%s.name: %q is the name of %s already", at, s.Name, first)
	} else {
		v.steps[s.Name] = at
	}
	v.mode(at+".mode", s.Mode)
	if s.Timeout != "" {
		if _, err := ParseStepDuration(s.Timeout); err != nil {
			v.bad("%s.timeout: %v", at, err)
		}
	}
	if s.Type == TypeApplyComponent {
		if err := v.applied(s); err != nil {
			v.bad("%s.properties.component: %v", at, err)
		}
	}
	v.passing(at, s.Inputs, s.Outputs)
}

func (v *validator) applied(s Step) error {
	name, ok := s.Properties["component"].(string)
	if !ok || name == "" {
		return errors.New("want the name of a component")
	}
	if _, ok := v.components[name]; !ok {
		return fmt.Errorf("%q is not a component of this Application", name)
	}
	return nil
}

// dependencyCycle names a circle as "a → b → a", or returns "".
func dependencyCycle(components []Component) string {
	names := make([]string, 0, len(components))
	after := map[string][]string{}
	for _, c := range components {
		names = append(names, c.Name)
		after[c.Name] = append(after[c.Name], c.DependsOn...)
	}
	return strings.Join(Cycle(names, after), " → ")
}

// Cycle finds a circle among names, where each comes after those that after lists, and
// returns it with its first name at both ends; nil when there is none.
func Cycle(names []string, after map[string][]string) []string {
	done := map[string]bool{}
	var path []string
	var visit func(name string) []string
	visit = func(name string) []string {
		if i := slices.Index(path, name); i >= 0 {
			return append(slices.Clone(path[i:]), name)
		}
		if done[name] {
			return nil
		}
		path = append(path, name)
		for _, d := range after[name] {
			if cycle := visit(d); cycle != nil {
				return cycle
			}
		}
		path = path[:len(path)-1]
		done[name] = true
		return nil
	}
	for _, name := range names {
		if cycle := visit(name); cycle != nil {
			return cycle
		}
	}
	return nil
}
