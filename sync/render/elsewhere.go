package render

import (
	"context"
	"errors"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Elsewhere is a place outside of this process where templates are evaluated: what other
// people wrote can be stopped there. Package pool is one.
type Elsewhere interface {
	// Do has a Renderer there [Renderer.Perform] the work and decodes what it returned
	// into result. Files come from tree, which may be nil.
	Do(ctx context.Context, w Work, tree fs.FS, result any) error
}

// Work is one call of a Renderer as data; one of its fields is set.
type Work struct {
	Component  *ComponentWork  `json:"component,omitempty"`
	Health     *HealthWork     `json:"health,omitempty"`
	Policy     *PolicyWork     `json:"policy,omitempty"`
	Step       *StepWork       `json:"step,omitempty"`
	Expression *ExpressionWork `json:"expression,omitempty"`
}

// ComponentWork is [Renderer.Component].
type ComponentWork struct {
	Component oam.Component
	Context   Context
}

// HealthWork is [Renderer.Health] with the live objects, in the order of the rendered
// ones; nil for one that is not there.
type HealthWork struct {
	Component oam.Component
	Context   Context
	Rendered  *Component
	Live      []map[string]any
}

// PolicyWork is [Renderer.Policy].
type PolicyWork struct {
	Policy  oam.Policy
	Context Context
}

// StepWork is [Renderer.Step].
type StepWork struct {
	Definition *Definition
	Input      StepInput
}

// ExpressionWork is an expression of [Renderer.Condition] or [Renderer.ValueFrom].
type ExpressionWork struct {
	Text  string
	Scope map[string]any
}

// App is the Application that the work is for, or "" when it does not say.
func (w Work) App() string {
	switch {
	case w.Component != nil:
		return w.Component.Context.home() + "/" + w.Component.Context.AppName
	case w.Health != nil:
		return w.Health.Context.home() + "/" + w.Health.Context.AppName
	case w.Policy != nil:
		return w.Policy.Context.home() + "/" + w.Policy.Context.AppName
	case w.Step != nil:
		return w.Step.Input.Context.Namespace + "/" + w.Step.Input.Context.AppName
	}
	return ""
}

// What names the part of the Application that the work is about, for errors.
func (w Work) What() *Error {
	switch {
	case w.Component != nil:
		return &Error{Component: w.Component.Component.Name}
	case w.Health != nil:
		return &Error{Component: w.Health.Component.Name}
	case w.Policy != nil:
		return &Error{Policy: w.Policy.Policy.Name}
	}
	return &Error{}
}

// Perform does work of another process in this one; what it returns can be sent as JSON.
func (r *Renderer) Perform(ctx context.Context, w Work, tree fs.FS) (any, error) {
	switch {
	case w.Component != nil:
		return r.Component(ctx, w.Component.Component, w.Component.Context, tree)
	case w.Health != nil:
		h := w.Health
		return r.Health(h.Component, h.Context, h.Rendered, h.find()), nil
	case w.Policy != nil:
		return r.Policy(ctx, w.Policy.Policy, w.Policy.Context)
	case w.Step != nil:
		return r.Step(ctx, w.Step.Definition, w.Step.Input)
	case w.Expression != nil:
		return r.expression(ctx, w.Expression.Text, w.Expression.Scope)
	}
	return nil, errors.New("work of a kind that this version does not know")
}

// find looks a live object up by the rendered one that it is the live form of.
func (h *HealthWork) find() Live {
	live := map[*unstructured.Unstructured]*unstructured.Unstructured{}
	for i, o := range h.Rendered.Objects {
		if i < len(h.Live) && h.Live[i] != nil {
			live[o.Unstructured] = &unstructured.Unstructured{Object: h.Live[i]}
		}
	}
	return func(o *unstructured.Unstructured) *unstructured.Unstructured { return live[o] }
}

func sendOut[T any](ctx context.Context, to Elsewhere, w Work, tree fs.FS) (*T, error) {
	out := new(T)
	if err := to.Do(ctx, w, tree, out); err != nil {
		return nil, err
	}
	return out, nil
}
