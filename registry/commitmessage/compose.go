// Package commitmessage writes the message of a commit that changes images: a first line
// that CI filters of users know, and what the template of a component adds. In go the
// changes, out come the exact bytes.
//
// It promises the same bytes for the same changes, and an end: a message has at most
// 16 KiB, a template runs at most 10 000 rounds. It refuses functions that read a clock,
// the environment or the network, and those that can build without bound.
package commitmessage

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"
)

// FirstLine begins every message of ours. Users' CI configurations look for it; it never
// changes.
const FirstLine = "Update image automatically."

// The limits of a template.
const (
	maxTemplate = 4096
	maxMessage  = 16 << 10
	maxText     = maxMessage // of one value inside a template
	maxRounds   = 10_000
)

// TemplateError is a template that cannot be used; there is no commit then.
type TemplateError struct{ Err error }

func (e *TemplateError) Error() string { return "writing the commit message: " + e.Err.Error() }
func (e *TemplateError) Unwrap() error { return e.Err }

// Hint is what a template may use.
func (e *TemplateError) Hint() string {
	return "commitMessage is a Go template over .Updated.Images, .Updated.Objects, .Updated.Files, .Changed.Changes, .Changed.Objects, .Changed.FileChanges, .AutomationObject and .Values"
}

// Parse checks a template without running it.
func Parse(tmpl string) error {
	_, err := prepare(tmpl, &meter{})
	return err
}

// Compose writes the message. An empty template leaves the first line alone, without a
// line end.
func Compose(tmpl string, data Data) (string, error) {
	if tmpl == "" {
		return FirstLine, nil
	}
	m := &meter{}
	t, err := prepare(tmpl, m)
	if err != nil {
		return "", err
	}
	out := &limited{}
	if err := t.Execute(out, newView(data)); err != nil {
		return "", &TemplateError{plain(err)}
	}
	text := out.String()
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return "", &TemplateError{errors.New("the message is not text")}
	}
	return FirstLine + "\n" + text, nil
}

// plain leaves out where in the machinery of templates an error came up.
func plain(err error) error {
	if e, ok := errors.AsType[template.ExecError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "template: "))
}

// meter counts the rounds of all loops of one run.
type meter struct{ rounds int }

var errRounds = fmt.Errorf("it goes through more than %d rounds", maxRounds)

func (m *meter) tick() (string, error) {
	if m.rounds++; m.rounds > maxRounds {
		return "", errRounds
	}
	return "", nil
}

// tickName cannot be written in a template by accident; written on purpose it counts.
const tickName = "tradewindTick"

func prepare(tmpl string, m *meter) (*template.Template, error) {
	if len(tmpl) > maxTemplate {
		return nil, &TemplateError{fmt.Errorf("the template is longer than %d bytes", maxTemplate)}
	}
	funcs := functions()
	funcs[tickName] = m.tick
	t, err := template.New("commitMessage").Option("missingkey=error").Funcs(funcs).Parse(tmpl)
	if err != nil {
		return nil, &TemplateError{plain(err)}
	}
	tick, err := template.New("tick").Funcs(funcs).Parse("{{" + tickName + "}}")
	if err != nil {
		return nil, &TemplateError{err}
	}
	if len(t.Templates()) > 1 {
		return nil, &TemplateError{errors.New("templates inside the template are not supported")}
	}
	if t.Tree == nil { // nothing but blanks and comments
		return template.New("empty").Parse("")
	}
	if err := bound(t.Root, tick.Root.Nodes[0]); err != nil {
		return nil, &TemplateError{err}
	}
	return t, nil
}

// bound puts a tick into the body of every loop: a template can then neither run for long
// nor count to a billion in silence.
func bound(n parse.Node, tick parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := bound(child, tick); err != nil {
				return err
			}
		}
	case *parse.RangeNode:
		if err := errors.Join(bound(n.List, tick), bound(n.ElseList, tick)); err != nil {
			return err
		}
		n.List.Nodes = append([]parse.Node{tick}, n.List.Nodes...)
	case *parse.IfNode:
		return errors.Join(bound(n.List, tick), bound(n.ElseList, tick))
	case *parse.WithNode:
		return errors.Join(bound(n.List, tick), bound(n.ElseList, tick))
	case *parse.TemplateNode:
		return errors.New("templates inside the template are not supported")
	}
	return nil
}

// limited is a buffer with an end.
type limited struct{ bytes.Buffer }

var errLong = fmt.Errorf("the message is longer than %d bytes", maxMessage)

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxMessage {
		return 0, errLong
	}
	return l.Buffer.Write(p)
}
