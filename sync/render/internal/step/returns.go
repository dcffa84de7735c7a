package step

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// returns puts into the template what actions returned, and reports whether there was
// anything new.
func (r *run) returns(actions []action) (bool, error) {
	var data ast.Expr
	for _, a := range actions {
		if r.ended[a.path] {
			continue
		}
		value, ok, err := r.valueOf(a)
		if err != nil {
			return false, &problem.Error{Field: a.path, Err: err}
		}
		if !ok {
			continue
		}
		r.ended[a.path] = true
		if value == nil {
			continue
		}
		expr := a.place(value)
		if data != nil {
			expr = ast.NewBinExpr(token.AND, data, expr)
		}
		data = expr
	}
	if data == nil {
		return false, nil
	}
	r.template.Extend(data)
	return true, nil
}

// valueOf is what an action returned; ok is false while it has not.
func (r *run) valueOf(a action) (value map[string]any, ok bool, err error) {
	if compute, ok := computed[a.function]; ok {
		value, err := compute(r, a)
		if err != nil {
			return nil, false, complete(err)
		}
		return value, true, nil
	}
	returned, ok := r.in.Returned[a.path]
	if !ok {
		return nil, false, nil
	}
	value = maps.Clone(returned.Value)
	if value == nil {
		value = map[string]any{}
	}
	if returned.Err != "" {
		value["err"] = returned.Err
	}
	return value, true, nil
}

// wrongError is a mistake in the parameters of a computed action, not an absence.
type wrongError struct{ error }

// complete drops errors about parameters that are not there yet.
func complete(err error) error {
	if wrong, ok := errors.AsType[wrongError](err); ok {
		return wrong.error
	}
	return nil
}

// place is the syntax that puts what an action returned where the template looks for it.
func (a action) place(value map[string]any) ast.Expr {
	var leaf ast.Expr
	if a.inline {
		value = inlineResult(a.function, value)
		said, err := a.params()
		if err == nil {
			rest, _ := unsaid(value, said)
			value, _ = rest.(map[string]any)
		}
		leaf = template.Syntax(value)
	} else {
		leaf = template.Syntax(map[string]any{"$returns": value})
	}
	for _, s := range slices.Backward(a.selectors) {
		if s.LabelType() == cue.IndexLabel {
			list := &ast.ListLit{}
			for range s.Index() {
				list.Elts = append(list.Elts, ast.NewIdent("_"))
			}
			list.Elts = append(list.Elts, leaf, &ast.Ellipsis{})
			leaf = list
			continue
		}
		leaf = &ast.StructLit{Elts: []ast.Decl{&ast.Field{Label: ast.NewString(s.Unquoted()), Value: leaf}}}
	}
	return leaf
}

// computed are the functions that need nothing from outside. An error means that the
// parameters are not complete yet, unless it is a wrongError.
var computed = map[function]func(*run, action) (map[string]any, error){
	{"util", "string"}:           convertString,
	{"util", "patch-k8s-object"}: patchObject,
	{"util", "log"}:              log,
	{"time", "timestamp"}:        timestamp,
	{"time", "date"}:             date,
	{"builtin", "var"}:           variable,
}

func convertString(_ *run, a action) (map[string]any, error) {
	bt := a.param("bt")
	text, err := bt.Bytes()
	if err != nil {
		return nil, err
	}
	return map[string]any{"str": string(text)}, nil
}

func patchObject(r *run, a action) (map[string]any, error) {
	value, err := template.Export(a.param("value"))
	if err != nil {
		return nil, err
	}
	patch := a.param("patch")
	if err := patch.Validate(cue.Concrete(true)); err != nil {
		return nil, err
	}
	base, _ := value.(map[string]any)
	patched, err := r.template.Merge(base, patch)
	if err != nil {
		return nil, wrongError{err}
	}
	return map[string]any{"result": patched}, nil
}

func log(r *run, a action) (map[string]any, error) {
	params, err := a.params()
	if err != nil {
		return nil, err
	}
	switch data := params["data"].(type) {
	case nil:
	case string:
		r.result.Log = append(r.result.Log, data)
	default:
		line, err := json.Marshal(data)
		if err != nil {
			return nil, wrongError{err}
		}
		r.result.Log = append(r.result.Log, string(line))
	}
	return nil, nil
}

func timestamp(_ *run, a action) (map[string]any, error) {
	text, err := a.param("date").String()
	if err != nil {
		return nil, err
	}
	at, err := time.Parse(layout(a), text)
	if err != nil {
		return nil, wrongError{fmt.Errorf("date: %w", err)}
	}
	return map[string]any{"timestamp": at.Unix()}, nil
}

func date(_ *run, a action) (map[string]any, error) {
	seconds, err := a.param("timestamp").Int64()
	if err != nil {
		return nil, err
	}
	return map[string]any{"date": time.Unix(seconds, 0).UTC().Format(layout(a))}, nil
}

func layout(a action) string {
	if layout, _ := a.text("layout"); layout != "" {
		return layout
	}
	return time.RFC3339
}

// variable reads or keeps a value for other steps of the run.
func variable(r *run, a action) (map[string]any, error) {
	path, err := a.param("path").String()
	if err != nil {
		return nil, err
	}
	method, err := a.param("method").String()
	if err != nil {
		return nil, err
	}
	if method != "Put" {
		value, ok := r.result.Vars[path]
		if !ok {
			return nil, wrongError{fmt.Errorf("the variable %q has no value: no step has put it", path)}
		}
		return map[string]any{"value": value}, nil
	}
	value, err := template.Export(a.param("value"))
	if err != nil {
		return nil, err
	}
	r.result.Vars = maps.Clone(r.result.Vars)
	if r.result.Vars == nil {
		r.result.Vars = map[string]any{}
	}
	r.result.Vars[path] = value
	return nil, nil
}
