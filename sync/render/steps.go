package render

import (
	"context"
	"fmt"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
	"github.com/tradewind-dev/tradewind/sync/render/internal/step"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// What steps are evaluated with, and what comes of it. All of it can be sent as JSON.
type (
	// StepInput is a step with its inputs in place, and what its calls have returned.
	StepInput = step.Input
	// StepContext is what the template of a step sees of the Application around it.
	StepContext = step.Context
	// Returned is the end of a call: values, or an error.
	Returned = step.Returned
	// Call is something that a step wants done outside.
	Call = step.Call
	// StepResult is how far a step is.
	StepResult = step.Result
)

// StepDefinition resolves a step type as an Application in a namespace sees it; an unknown
// one is an error with the nearest known name.
func (r *Renderer) StepDefinition(namespace, name string) (*Definition, error) {
	return r.usable(KindWorkflowStep, namespace, name)
}

// Step evaluates a step's definition with everything that its calls have returned so far.
// The caller makes the calls of the result and evaluates again with what they returned
// added, until there are none; what a step looked at is looked at again after a wait, so
// each round begins without returned values. An error means that the step can never run
// like this: wrong properties, or a mistake in the definition.
func (r *Renderer) Step(ctx context.Context, def *Definition, in StepInput) (out *StepResult, err error) {
	if r.elsewhere != nil {
		return sendOut[StepResult](ctx, r.elsewhere, Work{Step: &StepWork{def, in}}, nil)
	}
	defer func() {
		if p := recover(); p != nil { // see Component
			out, err = nil, fmt.Errorf("the renderer panicked: %s", problem.OneLine(fmt.Sprint(p)))
		}
		if err != nil {
			out, err = nil, fmt.Errorf("step %q: %w", in.Step.Name, err)
		}
	}()
	err = r.engines.Do(ctx, func(e *template.Engine) error {
		out, err = step.Run(ctx, e, template.Template{Name: def.Name, Text: def.Template}, in)
		return err
	})
	return out, err
}

// StepHints are advice about a step that runs: an old spelling, properties that its
// definition does not read.
func (r *Renderer) StepHints(def *Definition, in StepInput) []string {
	var hints []string
	if def.Hint != "" {
		hints = append(hints, def.Hint)
	}
	_ = r.engines.Do(context.Background(), func(e *template.Engine) error { // only the context could make it fail
		known := e.Properties(template.Template{Name: def.Name, Text: def.Template, Packages: step.Packages})
		hints = append(hints, unread(def, in.Step.Properties, known)...)
		return nil
	})
	return hints
}
