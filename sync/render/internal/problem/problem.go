// Package problem is what is wrong with something that was to be rendered, as the parts
// of the renderer report it: where (component, trait, field, file and line), why, and
// what to do next. Nothing here is ever a credential.
package problem

import (
	"fmt"
	"strings"
)

// Error is a mistake in what was to be rendered: it names the component or the policy
// and, where known, trait, field, file and line.
type Error struct {
	Component string
	Policy    string
	Trait     string
	Field     string
	File      string
	Line      int
	Advice    string // what to do next, or empty
	Err       error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Component != "" {
		fmt.Fprintf(&b, "component %q: ", e.Component)
	}
	if e.Policy != "" {
		fmt.Fprintf(&b, "policy %q: ", e.Policy)
	}
	if e.Trait != "" {
		fmt.Fprintf(&b, "trait %q: ", e.Trait)
	}
	if e.File != "" {
		b.WriteString(Place(e.File, e.Line) + ": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	return b.String() + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next, or is empty.
func (e *Error) Hint() string { return e.Advice }

// Place is a file and, where it is known, a line: "apps/web.yaml:7".
func Place(file string, line int) string {
	if line > 0 {
		return fmt.Sprintf("%s:%d", file, line)
	}
	return file
}

// OneLine puts a message of another program in one line of bounded length.
func OneLine(message string) string {
	const most = 600 // characters; a status message has room for 1 KiB in all
	line := strings.Join(strings.Fields(message), " ")
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return line
}
