package template

import (
	"strings"

	"cuelang.org/go/cue"
)

// longestDetail is the length from which on the name of a detail is too long to be shown.
const longestDetail = 32

// unknownDetail stands for a detail that is not known (yet), in CUE's own sign for it.
const unknownDetail = "_|_"

// Details evaluates a rule and returns its fields as text. Those marked @local() or
// @private(), or named with a $, only help others; a rule that does not compile has none.
func (e *Engine) Details(t Template, in Input) map[string]string {
	v, err := e.evaluate(t, in)
	if err != nil {
		return nil
	}
	fields, err := v.Fields()
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for fields.Next() {
		name := fields.Selector().Unquoted()
		if name == "context" || name == "parameter" || strings.HasPrefix(name, "$") || len(name) >= longestDetail || isPrivate(fields.Value()) {
			continue
		}
		out[name] = detail(fields.Value())
	}
	return out
}

func isPrivate(v cue.Value) bool {
	for _, a := range v.Attributes(cue.FieldAttr) {
		if a.Name() == "local" || a.Name() == "private" {
			return true
		}
	}
	return false
}

// detail writes text as it is and everything else as JSON.
func detail(v cue.Value) string {
	if text, err := v.String(); err == nil {
		return text
	}
	raw, err := v.MarshalJSON()
	if err != nil {
		return unknownDetail
	}
	return string(raw)
}
