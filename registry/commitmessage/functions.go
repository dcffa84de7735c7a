package commitmessage

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// allowed are the functions of sprig that a message may use: hermetic ones, and of these
// only such as make no more out of what they get than a little.
var allowed = []string{
	"abbrev", "abbrevboth", "add", "add1", "b64enc", "base", "camelcase", "cat", "ceil", "clean", "coalesce",
	"compact", "contains", "default", "dir", "div", "empty", "ext", "first", "float64", "floor", "has", "hasPrefix",
	"hasSuffix", "initial", "initials", "int", "int64", "join", "kebabcase", "last", "lower", "max", "min",
	"mod", "mul", "nospace", "plural", "quote", "regexFind", "regexMatch", "rest", "reverse", "round", "semver",
	"semverCompare", "sha1sum", "sha256sum", "snakecase", "sortAlpha", "splitList", "squote", "sub", "substr",
	"swapcase", "ternary", "title", "toString", "toStrings", "trim", "trimAll", "trimPrefix", "trimSuffix", "trunc",
	"untitle", "upper",
}

// functions is the fixed list. Those of text/template that write text are replaced by
// ones with a limit: a template may double a variable only so often.
func functions() template.FuncMap {
	hermetic := sprig.HermeticTxtFuncMap()
	out := template.FuncMap{
		"replace":  replace,
		"printf":   printf,
		"print":    bounded(fmt.Sprint),
		"println":  bounded(fmt.Sprintln),
		"html":     bounded(template.HTMLEscaper),
		"js":       bounded(template.JSEscaper),
		"urlquery": bounded(template.URLQueryEscaper),
	}
	for _, name := range allowed {
		if f, ok := hermetic[name]; ok {
			out[name] = bounded(f)
		}
	}
	return out
}

var errText = fmt.Errorf("a value is longer than %d bytes", maxText)

// bounded is f with an error for results that are too long, and for calls that f panics at.
func bounded(f any) any {
	fv := reflect.ValueOf(f)
	ft := fv.Type()
	in := make([]reflect.Type, ft.NumIn())
	for i := range in {
		in[i] = ft.In(i)
	}
	errType := reflect.TypeFor[error]()
	wrapped := reflect.FuncOf(in, []reflect.Type{ft.Out(0), errType}, ft.IsVariadic())
	return reflect.MakeFunc(wrapped, func(args []reflect.Value) (results []reflect.Value) {
		err := reflect.Zero(errType)
		var got []reflect.Value
		if ft.IsVariadic() {
			got = fv.CallSlice(args)
		} else {
			got = fv.Call(args)
		}
		if len(got) == 2 && !got[1].IsNil() {
			err = got[1]
		}
		if size(got[0]) > maxText {
			err = reflect.ValueOf(&errText).Elem()
		}
		return []reflect.Value{got[0], err}
	}).Interface()
}

// size is roughly how much text a value is.
func size(v reflect.Value) int {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Slice:
		total := v.Len()
		for i := range v.Len() {
			if total > maxText {
				break
			}
			total += size(v.Index(i))
		}
		return total
	}
	return 0
}

// replace has sprig's order of arguments. It looks before it builds.
func replace(old, with, text string) (string, error) {
	if grown := len(text) + strings.Count(text, old)*len(with); grown > maxText {
		return "", errText
	}
	return strings.ReplaceAll(text, old, with), nil
}

var wide = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*)`)

// printf refuses formats that ask for kilobytes of blanks.
func printf(format string, args ...any) (string, error) {
	if wide.MatchString(format) {
		return "", errors.New("a width in a format is too large")
	}
	if text := fmt.Sprintf(format, args...); len(text) <= maxText {
		return text, nil
	}
	return "", errText
}
