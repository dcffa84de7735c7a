package step

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// action is a struct of a template that unifies with a function of a provider.
type action struct {
	selectors []cue.Selector
	path      string
	value     cue.Value
	function
	inline bool // the old form, whose parameters and results are its own fields
}

// function names what an action does.
type function struct{ provider, name string }

var (
	pathDo       = cue.ParsePath("#do")
	pathProvider = cue.ParsePath("#provider")
	pathParams   = cue.ParsePath("$params")
)

// actions lists the actions of the template in the order of its text.
func (r *run) actions() []action {
	var found []action
	r.walk(r.template.Value(), nil, &found)
	return found
}

func (r *run) walk(v cue.Value, at []cue.Selector, found *[]action) {
	for _, f := range r.fields(v) {
		path := append(slices.Clone(at), f.selector)
		if len(path) == 1 && (f.selector.String() == "parameter" || f.selector.String() == "context") {
			continue
		}
		if !holdsFields(f.value) {
			continue
		}
		if a, ok := actionOf(f.value, path); ok {
			*found = append(*found, a)
		} else {
			r.walk(f.value, path, found)
		}
	}
}

// holdsFields says whether there may be actions in a value. CUE knows no kind of a struct
// with a condition that cannot be told yet, but it knows the fields that are there.
func holdsFields(v cue.Value) bool {
	switch v.IncompleteKind() {
	case cue.StructKind, cue.ListKind, cue.BottomKind:
		return true
	}
	return false
}

type field struct {
	selector cue.Selector
	value    cue.Value
}

// fields are the regular fields of a struct or the elements of a list. CUE orders fields
// as it sees fit; a person expects what stands first to be done first.
func (r *run) fields(v cue.Value) []field {
	var list []field
	if elements, err := v.List(); err == nil {
		for i := 0; elements.Next(); i++ {
			list = append(list, field{cue.Index(i), elements.Value()})
		}
		return list
	}
	iter, err := v.Fields()
	if err != nil {
		return nil // it is of another kind, or not known yet
	}
	for iter.Next() {
		list = append(list, field{iter.Selector(), iter.Value()})
	}
	slices.SortStableFunc(list, func(a, b field) int { return cmp.Compare(r.offset(a.value), r.offset(b.value)) })
	return list
}

// offset is where a field stands in the template.
func (r *run) offset(v cue.Value) int {
	if pos := v.Pos(); pos.Filename() == r.name {
		return pos.Offset()
	}
	return 0
}

func actionOf(v cue.Value, path []cue.Selector) (action, bool) {
	do, err := v.LookupPath(pathDo).String()
	if err != nil || do == "steps" {
		return action{}, false
	}
	provider, _ := v.LookupPath(pathProvider).String()
	a := action{selectors: path, path: cue.MakePath(path...).String(), value: v, function: function{provider, do}}
	hasParams := v.LookupPath(pathParams).Exists()
	switch {
	case provider == "" || provider == "op":
		a.inline = !hasParams
		if f, ok := legacyFunctions[do]; ok {
			a.function = f
		}
	case !hasParams:
		fields, err := v.Fields()
		a.inline = err == nil && fields.Next()
	}
	return a, true
}

// param is one parameter of an action.
func (a action) param(name string) cue.Value {
	if !a.inline {
		return a.value.LookupPath(cue.MakePath(cue.Str("$params"), cue.Str(name)))
	}
	return a.value.LookupPath(cue.MakePath(cue.Str(name)))
}

// text is a parameter that need not be given.
func (a action) text(name string) (string, error) {
	v := a.param(name)
	if !v.Exists() {
		return "", absentOr(v.Err())
	}
	return v.String()
}

// params are the parameters of an action, or an error while they are not complete.
func (a action) params() (map[string]any, error) {
	if !a.inline {
		v := a.value.LookupPath(pathParams)
		if !v.Exists() {
			return nil, absentOr(v.Err())
		}
		value, err := template.Export(v)
		params, _ := value.(map[string]any)
		return params, err
	}
	out := map[string]any{}
	known := inlineParams[a.function]
	fields, err := a.value.Fields()
	if err != nil {
		return nil, err
	}
	for fields.Next() {
		name := fields.Selector().Unquoted()
		if known != nil && !slices.Contains(known, name) {
			continue
		}
		if out[name], err = template.Export(fields.Value()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// absentOr is nil for a field that is not there, and the error of one that is wrong.
func absentOr(err error) error {
	if err == nil || strings.Contains(err.Error(), "field not found") || strings.Contains(err.Error(), "undefined field") ||
		strings.Contains(err.Error(), "cannot reference optional field") {
		return nil
	}
	return err
}

// errPending says that an action waits for a call that has not been made.
var errPending = errors.New("waits for what another action returns")
