package imagepolicy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// FieldError is a property that is not as it has to be.
type FieldError struct {
	Field  string // with its path: imageRepository.policy.semver.range
	Reason string
	next   string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// Hint is what to write instead; it may be empty.
func (e *FieldError) Hint() string { return e.next }

func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// fields reads a block of properties and keeps the first error. It remembers what it was
// asked for, so that a misspelt field is found instead of forgotten.
type fields struct {
	at    string
	left  map[string]any
	asked []string
	err   error
}

// firstOf is the first error of several blocks; blocks may be nil.
func firstOf(blocks ...*fields) error {
	for _, b := range blocks {
		if b != nil && b.err != nil {
			return b.err
		}
	}
	return nil
}

func (f *fields) path(name string) string { return strings.TrimPrefix(f.at+"."+name, ".") }

func (f *fields) fail(name, reason, next string) {
	if f.err == nil {
		f.err = &FieldError{Field: f.path(name), Reason: reason, next: next}
	}
}

func (f *fields) check(ok bool, name, reason, next string) {
	if !ok {
		f.fail(name, reason, next)
	}
}

func (f *fields) value(name string) any {
	f.asked = append(f.asked, name)
	return f.left[name]
}

func (f *fields) has(name string) bool { return f.value(name) != nil }

func (f *fields) object(name string) *fields {
	switch v := f.value(name).(type) {
	case nil:
		return nil
	case map[string]any:
		return &fields{at: f.path(name), left: v}
	default:
		f.fail(name, fmt.Sprintf("it is %s, not an object", kindOf(v)), "")
		return nil
	}
}

func (f *fields) text(name string) string {
	switch v := f.value(name).(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		f.fail(name, fmt.Sprintf("it is %s, not a text", kindOf(v)), "put it in quotes")
		return ""
	}
}

func (f *fields) required(name string) string {
	v := f.text(name)
	f.check(v != "", name, "it is missing", "")
	return v
}

func (f *fields) flag(name string) bool {
	switch v := f.value(name).(type) {
	case nil:
		return false
	case bool:
		return v
	default:
		f.fail(name, fmt.Sprintf("it is %s, not true or false", kindOf(v)), "")
		return false
	}
}

// oneOf is one of the values; the first is the default.
func (f *fields) oneOf(name string, values ...string) string {
	v := f.text(name)
	if v == "" {
		return values[0]
	}
	f.check(slices.Contains(values, v), name, fmt.Sprintf("%q is not known", v), "write one of "+strings.Join(values, ", "))
	return v
}

func (f *fields) duration(name string, otherwise time.Duration) time.Duration {
	v := f.text(name)
	if v == "" {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil || !durationGrammar.MatchString(v) {
		f.fail(name, fmt.Sprintf("%q is not a duration", v), "write it as 30s, 5m or 1h30m")
	}
	return d
}

// unknown fails for a field that nobody asked for.
func (f *fields) unknown() *fields {
	if f == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(f.left)) {
		if !slices.Contains(f.asked, name) {
			known := slices.Compact(slices.Sorted(slices.Values(f.asked)))
			f.fail(name, "there is no such field", "the fields are "+strings.Join(known, ", "))
		}
	}
	return f
}

// kindOf names what stands in a document where something else should.
func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "true or false"
	default:
		return "a number"
	}
}
