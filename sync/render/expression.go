package render

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// Condition decides the `if` of a step: a CUE expression over vars, which are status (by
// step name), inputs, context and parameter. One that is not true or false, or speaks of
// what is not there, is an error.
func (r *Renderer) Condition(ctx context.Context, expr string, vars map[string]any) (bool, error) {
	value, err := r.expression(ctx, expr, vars)
	if err != nil {
		return false, err
	}
	holds, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("it gives %s: want true or false", kindOf(value))
	}
	return holds, nil
}

// ValueFrom evaluates the valueFrom of an output: a CUE expression over the fields of a
// component's objects (output, outputs) or of a step ([StepResult].Value).
func (r *Renderer) ValueFrom(ctx context.Context, expr string, value map[string]any) (any, error) {
	return r.expression(ctx, expr, value)
}

func (r *Renderer) expression(ctx context.Context, expr string, scope map[string]any) (value any, err error) {
	defer func() {
		if p := recover(); p != nil { // CUE on hostile input; see Component
			value, err = nil, fmt.Errorf("the renderer panicked: %s", problem.OneLine(fmt.Sprint(p)))
		}
	}()
	if strings.TrimSpace(expr) == "" {
		return nil, errors.New("the expression is empty")
	}
	if r.elsewhere != nil {
		out, err := sendOut[any](ctx, r.elsewhere, Work{Expression: &ExpressionWork{expr, scope}}, nil)
		if err != nil {
			return nil, err
		}
		return *out, nil
	}
	err = r.engines.Do(ctx, func(e *template.Engine) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		value, err = e.Expression(expr, scope)
		return err
	})
	return value, err
}

func kindOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	default:
		return fmt.Sprint(v)
	}
}
