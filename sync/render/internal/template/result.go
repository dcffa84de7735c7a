package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// Named is one of a definition's outputs.
type Named struct {
	Key    string
	Object map[string]any
}

// Result is an evaluated template, to be read before its engine is given back.
type Result struct {
	engine *Engine
	source Template
	input  Input
	value  cue.Value
}

var (
	pathParameter    = cue.ParsePath("parameter")
	pathErrs         = cue.ParsePath("errs")
	pathHTTP         = cue.ParsePath("processing.http")
	pathOutput       = cue.ParsePath("output")
	pathOutputs      = cue.ParsePath("outputs")
	pathPatch        = cue.ParsePath("patch")
	pathPatchOutputs = cue.ParsePath("patchOutputs")
)

// Evaluate fills parameter and context into a template. Properties that do not fit, and
// what the template itself has to say about them (errs), are errors.
func (e *Engine) Evaluate(t Template, in Input) (*Result, error) {
	v, err := e.evaluate(t, in)
	if err != nil {
		return nil, err
	}
	r := &Result{engine: e, source: t, input: in, value: v}
	// Not yet concrete is no mistake here: a property that nothing uses may stay open.
	if err := v.LookupPath(pathParameter).Validate(); err != nil {
		return nil, r.explain(err)
	}
	if v.LookupPath(pathHTTP).Exists() {
		return nil, &problem.Error{
			Field: "processing.http", Advice: "fetch it in a workflow step and hand it over as an input, or put it into the properties",
			Err: fmt.Errorf("definition %q: rendering makes no requests: processing.http is not supported", t.Name),
		}
	}
	var messages []string
	if errs := v.LookupPath(pathErrs); errs.Exists() && errs.Decode(&messages) == nil && len(messages) > 0 {
		return nil, &problem.Error{Err: errors.New(problem.OneLine(strings.Join(messages, "; ")))}
	}
	return r, nil
}

// Value evaluates a status rule and returns one of its fields. Any error reads as "not
// known": the parts of a live object's status are absent until a controller wrote them.
func (e *Engine) Value(t Template, in Input, field string) (any, bool) {
	v, err := e.evaluate(t, in)
	if err != nil {
		return nil, false
	}
	value, err := export(v.LookupPath(cue.ParsePath(field)))
	return value, err == nil
}

// Complete reports the properties that are missing, used or not.
func (r *Result) Complete() error {
	parameter := r.value.LookupPath(pathParameter)
	if parameter.IncompleteKind() == cue.TopKind { // none given and none declared
		return nil
	}
	if err := parameter.Validate(cue.Concrete(true)); err != nil {
		return r.explain(err)
	}
	return nil
}

// Output is the main object, nil when the template has none.
func (r *Result) Output() (map[string]any, error) {
	v := r.value.LookupPath(pathOutput)
	if !present(v) {
		return nil, nil
	}
	return r.object(v, "output")
}

// Outputs are the other objects, sorted by key: the order of a comprehension is the
// template's, and nothing of ours may depend on it.
func (r *Result) Outputs() ([]Named, error) {
	var out []Named
	err := r.each(pathOutputs, func(key string, v cue.Value) error {
		object, err := r.object(v, "outputs."+key)
		out = append(out, Named{key, object})
		return err
	})
	slices.SortFunc(out, func(a, b Named) int { return strings.Compare(a.Key, b.Key) })
	return out, err
}

// Patch returns base as the template's patch changes it; base itself when it has none.
func (r *Result) Patch(base map[string]any) (map[string]any, error) {
	v := r.value.LookupPath(pathPatch)
	if !present(v) {
		return base, nil
	}
	if base == nil {
		return nil, &problem.Error{Field: "patch", Err: errors.New("there is no workload to patch")}
	}
	return r.patched("patch", base, v, nil)
}

// PatchOutputs changes the objects made before that the template patches by their key;
// keys that nothing made are ignored.
func (r *Result) PatchOutputs(made map[string]any) error {
	inherited := tagsOf(r.value.LookupPath(pathPatchOutputs))
	return r.each(pathPatchOutputs, func(key string, v cue.Value) error {
		base, ok := made[key].(map[string]any)
		if !ok {
			return nil
		}
		patched, err := r.patched("patchOutputs."+key, base, v, inherited)
		made[key] = patched
		return err
	})
}

func (r *Result) patched(field string, base map[string]any, patch cue.Value, inherited tags) (map[string]any, error) {
	out, err := r.engine.apply(base, patch, inherited)
	if err == nil {
		return out, nil
	}
	if missing := r.Complete(); missing != nil {
		return nil, missing
	}
	return nil, &problem.Error{Field: field, Err: errors.New(problem.OneLine(err.Error()))}
}

// present is false for a field that is not there, not for one that is wrong.
func present(v cue.Value) bool { return v.Exists() || v.Err() != nil && !isAbsent(v) }

func (r *Result) each(path cue.Path, f func(string, cue.Value) error) error {
	v := r.value.LookupPath(path)
	if !present(v) {
		return nil
	}
	fields, err := v.Fields()
	if err != nil {
		return r.incomplete(path.String(), err)
	}
	for fields.Next() {
		if err := f(fields.Selector().Unquoted(), fields.Value()); err != nil {
			return err
		}
	}
	return nil
}

// object exports what must be a complete object.
func (r *Result) object(v cue.Value, field string) (map[string]any, error) {
	value, err := export(v)
	if err != nil {
		return nil, r.incomplete(field, err)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, &problem.Error{Field: field, Err: fmt.Errorf("%s given, an object wanted", describe(value))}
	}
	return object, nil
}

// incomplete says why a result is not complete: most often because a property is
// missing, and then that is what a person wants to read.
func (r *Result) incomplete(field string, err error) error {
	if missing := r.Complete(); missing != nil {
		return missing
	}
	return r.explainAt(field, err)
}

// Properties are the names that a template's parameter declares, nil when it takes any
// or when the choice between forms decides.
func (e *Engine) Properties(t Template) []string {
	c, err := e.compile(t)
	if err != nil {
		return nil
	}
	return c.properties
}

func declared(parameter cue.Value) []string {
	op, _ := parameter.Expr()
	takesAny := parameter.LookupPath(cue.MakePath(cue.AnyString)).Exists()
	if op == cue.OrOp || takesAny || parameter.IncompleteKind() != cue.StructKind {
		return nil
	}
	fields, err := parameter.Fields(cue.Optional(true))
	if err != nil {
		return nil
	}
	var names []string
	for fields.Next() {
		names = append(names, fields.Selector().Unquoted())
	}
	return names
}
