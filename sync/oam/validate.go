package oam

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Validate checks what can be checked without definitions or a cluster. The error lists
// everything that is wrong.
func Validate(app *Application) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen := map[string]bool{}
	for i, c := range app.Spec.Components {
		switch {
		case c.Name == "":
			bad("spec.components[%d].name is missing", i)
		case seen[c.Name]:
			bad("spec.components[%d].name: %q is used twice", i, c.Name)
		}
		seen[c.Name] = true
		if c.Type == "" {
			bad("spec.components[%d].type is missing (component %q)", i, c.Name)
		}
		for j, t := range c.Traits {
			if t.Type == "" {
				bad("spec.components[%d].traits[%d].type is missing (component %q)", i, j, c.Name)
			}
		}
	}
	for _, c := range app.Spec.Components {
		for _, d := range c.DependsOn {
			if !seen[d] {
				bad("component %q depends on %q, which is not a component of this Application", c.Name, d)
			}
		}
	}
	if cycle := dependencyCycle(app.Spec.Components); cycle != "" {
		bad("components depend on each other in a circle: %s", cycle)
	}
	errs = append(errs, validateWorkflow(app.Spec.Workflow, seen)...)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("Application %s is not valid: %s", app.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func validateWorkflow(w *Workflow, components map[string]bool) []error {
	if w == nil {
		return nil
	}
	var errs []error
	if w.Ref != "" && len(w.Steps) > 0 {
		errs = append(errs, errors.New("spec.workflow has both ref and steps: keep one"))
	}
	names := map[string]bool{}
	var visit func(path string, steps []Step, nested bool)
	visit = func(path string, steps []Step, nested bool) {
		for i, s := range steps {
			at := fmt.Sprintf("%s[%d]", path, i)
			if s.Type == "" {
				errs = append(errs, fmt.Errorf("%s.type is missing (step %q)", at, s.Name))
			}
			if s.Name != "" && names[s.Name] {
				errs = append(errs, fmt.Errorf("%s.name: %q is used twice", at, s.Name))
			}
			names[s.Name] = true
			if s.Timeout != "" {
				if _, err := ParseDuration(s.Timeout); err != nil {
					errs = append(errs, fmt.Errorf("%s.timeout: %w", at, err))
				}
			}
			if name, ok := s.Properties["component"].(string); s.Type == "apply-component" && (!ok || !components[name]) {
				errs = append(errs, fmt.Errorf("%s.properties.component: %q is not a component of this Application", at, name))
			}
			if nested && len(s.SubSteps) > 0 {
				errs = append(errs, fmt.Errorf("%s: sub-steps cannot have sub-steps", at))
			}
			visit(at+".subSteps", s.SubSteps, true)
		}
	}
	visit("spec.workflow.steps", w.Steps, false)
	return errs
}

// dependencyCycle names a circle as "a → b → a", or returns "".
func dependencyCycle(components []Component) string {
	after := map[string][]string{}
	for _, c := range components {
		after[c.Name] = c.DependsOn
	}
	done := map[string]bool{}
	var path []string
	var visit func(name string) string
	visit = func(name string) string {
		if i := slices.Index(path, name); i >= 0 {
			return strings.Join(append(path[i:], name), " → ")
		}
		if done[name] {
			return ""
		}
		path = append(path, name)
		for _, d := range after[name] {
			if cycle := visit(d); cycle != "" {
				return cycle
			}
		}
		path = path[:len(path)-1]
		done[name] = true
		return ""
	}
	for _, c := range components {
		if cycle := visit(c.Name); cycle != "" {
			return cycle
		}
	}
	return ""
}

// SpecHash identifies what a revision records. Metadata is no part of it, so a changed
// label makes no new revision.
func SpecHash(spec Spec) string {
	raw, err := json.Marshal(spec) // map keys are sorted
	if err != nil {
		panic("oam: a spec that was decoded does not encode: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}
