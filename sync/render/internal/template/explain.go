package template

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	cueerrors "cuelang.org/go/cue/errors"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// maxFaults bounds how many properties one message speaks of.
const maxFaults = 5

// explain turns CUE's errors about the parameter into what its author can act on: each
// property with what was given and what is wanted.
func (r *Result) explain(err error) *problem.Error {
	var faults []string
	for _, f := range r.faults(err) {
		if !slices.Contains(faults, f) {
			faults = append(faults, f)
		}
	}
	if len(faults) == 0 {
		return r.explainAt("properties", err)
	}
	if more := len(faults) - maxFaults; more > 0 {
		faults = append(faults[:maxFaults], fmt.Sprintf("and %d more", more))
	}
	field, rest, _ := strings.Cut(faults[0], ": ")
	faults[0] = rest
	return &problem.Error{Field: field, Err: errors.New(strings.Join(faults, "; "))}
}

// explainAt is for errors that properties are not to blame for.
func (r *Result) explainAt(field string, err error) *problem.Error {
	message := err.Error()
	if list := cueerrors.Errors(err); len(list) > 0 {
		format, args := list[0].Msg()
		message = fmt.Sprintf(format, args...)
		if path := list[0].Path(); len(path) > 0 {
			field = userPath(path)
		}
	}
	return &problem.Error{Field: field, Err: fmt.Errorf("definition %q: %s", r.source.Name, problem.OneLine(message))}
}

// faults describes every error about a property. CUE reports each branch of a
// disjunction on its own and then all together: what a branch does not allow or still
// wants counts only when no value is wrong.
func (r *Result) faults(err error) []string {
	var wrong, other, apart []string
	for _, e := range cueerrors.Errors(err) {
		path := e.Path()
		if len(path) == 0 || path[0] != "parameter" {
			continue
		}
		given, isGiven := lookup(r.input.Parameter, path[1:])
		format, args := e.Msg()
		at := userPath(path) + ": "
		switch {
		case strings.HasPrefix(format, "field not allowed") && r.wanted(path, "%s") != "":
			// One branch does not allow it, another does: a mistake only when nothing else is.
			apart = append(apart, at+"cannot be given together with the other properties")
		case strings.HasPrefix(format, "field not allowed"):
			other = append(other, at+"is not a property of "+strconv.Quote(r.source.Name))
		case !isGiven:
			other = append(other, at+"is required"+r.wanted(path, ": want %s"))
		case strings.Contains(format, "in empty disjunction") && len(path) == 1:
			// says only that some branch fails; the branches say which
		default:
			wanted := r.wanted(path, " given, %s wanted")
			fault := shown(path, given) + wanted
			if kind := describe(given); wanted == "" || fault == kind+" given, "+kind+" wanted" {
				fault = fmt.Sprintf(format, args...) // the kind is right, something in it is not
			}
			wrong = append(wrong, at+fault)
		}
	}
	switch {
	case len(wrong) > 0:
		return wrong
	case len(other) > 0:
		return other
	}
	return apart
}

// userPath is a path as people write it: properties.ports[0].port.
func userPath(path []string) string {
	if len(path) > 0 && path[0] == "parameter" {
		path = append([]string{"properties"}, path[1:]...)
	}
	var b strings.Builder
	for i, part := range path {
		_, notIndex := strconv.Atoi(part)
		switch {
		case notIndex == nil:
			b.WriteString("[" + part + "]")
		case strings.HasPrefix(part, `"`):
			b.WriteString("[" + part + "]")
		case i > 0:
			b.WriteString("." + part)
		default:
			b.WriteString(part)
		}
	}
	return b.String()
}

// lookup finds what was given at a path of CUE's.
func lookup(v any, path []string) (any, bool) {
	for _, part := range path {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[name(part)]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

func name(part string) string {
	if s, err := strconv.Unquote(part); err == nil {
		return s
	}
	return part
}

// wanted says in form what the definition allows at a path, or "" when that cannot be
// told.
func (r *Result) wanted(path []string, form string) string {
	c, err := r.engine.compile(r.source)
	if err != nil {
		return ""
	}
	schema := c.value.LookupPath(pathParameter)
	for _, part := range path[1:] {
		schema = step(schema, part)
	}
	if text := allowed(schema); text != "" {
		return fmt.Sprintf(form, text)
	}
	return ""
}

// step goes one element down a schema, whatever kind of field declares it. Of the
// branches of a disjunction the first that knows the element counts.
func step(schema cue.Value, part string) cue.Value {
	if op, branches := schema.Expr(); op == cue.OrOp {
		for _, branch := range branches {
			if v := step(branch, part); v.Exists() {
				return v
			}
		}
		return cue.Value{}
	}
	field := cue.Str(name(part))
	selectors := []cue.Selector{field, field.Optional(), field.Required(), cue.AnyString}
	if _, err := strconv.Atoi(part); err == nil {
		selectors = append([]cue.Selector{cue.AnyIndex}, selectors...)
	}
	for _, s := range selectors {
		if v := schema.LookupPath(cue.MakePath(s)); v.Exists() {
			return v
		}
	}
	return cue.Value{}
}

// allowed describes a schema: the values to choose from, or the kind with its bounds.
func allowed(schema cue.Value) string {
	if !schema.Exists() {
		return ""
	}
	op, args := cue.Dereference(schema).Expr()
	if op == cue.OrOp {
		var choices []string
		for _, arg := range args {
			if text := allowed(arg); !slices.Contains(choices, text) {
				choices = append(choices, text)
			}
		}
		if last := len(choices) - 1; last > 0 {
			return strings.Join(choices[:last], ", ") + " or " + choices[last]
		}
		return strings.Join(choices, "")
	}
	if words, ok := kinds[schema.IncompleteKind()]; ok && (op == cue.NoOp || op == cue.SelectorOp) && !schema.IsConcrete() {
		return words
	}
	switch schema.IncompleteKind() {
	case cue.StructKind, cue.ListKind:
		return kinds[schema.IncompleteKind()]
	}
	return problem.OneLine(fmt.Sprint(schema))
}

var kinds = map[cue.Kind]string{
	cue.StringKind: "string", cue.IntKind: "whole number", cue.NumberKind: "number", cue.FloatKind: "number",
	cue.BoolKind: "true or false", cue.ListKind: "list", cue.StructKind: "object", cue.NullKind: "null",
}

// secretive are the last parts of paths whose values are not repeated in messages.
var secretive = regexp.MustCompile(`(?i)^value$|password|secret|token|credential`)

// shown is a given value in a message.
func shown(path []string, given any) string {
	text := describe(given)
	if s, ok := given.(string); ok && len(s) <= 60 {
		text = strconv.Quote(s)
	}
	switch given.(type) {
	case float64, int64, bool:
		text = fmt.Sprint(given)
	}
	if secretive.MatchString(path[len(path)-1]) {
		return describe(given)
	}
	return text
}

// describe names the kind of a value.
func describe(given any) string {
	switch given.(type) {
	case nil:
		return "nothing"
	case string:
		return "string"
	case bool:
		return "true or false"
	case map[string]any:
		return "object"
	case []any:
		return "list"
	}
	return "number"
}

// isAbsent tells a field that is not there from one that is wrong.
func isAbsent(v cue.Value) bool {
	return strings.Contains(v.Err().Error(), "field not found") || strings.Contains(v.Err().Error(), "undefined field")
}
