package marker

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Edit writes into every marked scalar of a file what resolve says. A file that it cannot
// read, or not change without touching more, is an error and stays as it is.
func Edit(file string, src []byte, resolve Resolver) (Result, error) {
	out := Result{Out: src}
	if !bytes.Contains(src, []byte(Key)) {
		return out, nil
	}
	docs, err := parse(src)
	if err != nil {
		return out, notYAML(file, err)
	}
	var splices []splice
	for _, m := range find(src, docs) {
		text, choice, err := wanted(m.Ref, resolve)
		switch {
		case err != nil:
			out.Problems = append(out.Problems, Problem{Line: m.Line, Ref: m.Ref, Err: err})
		case text != "" && text != m.Value:
			splices = append(splices, splice{m, text})
			out.Changes = append(out.Changes, Change{
				File: file, Line: m.Line, Object: m.Object, Ref: m.Ref, Old: m.Value, New: text, Choice: choice,
			})
		}
	}
	if len(splices) == 0 {
		return out, nil
	}
	edited := apply(src, splices)
	if err := verify(src, docs, edited, splices); err != nil {
		return Result{Out: src, Problems: out.Problems}, &FileError{
			File: file, Err: err, next: "write the marked scalars on lines of their own, each used once",
		}
	}
	out.Out = edited
	return out, nil
}

// wanted is the text that belongs into a marker's scalar; empty for a marker that is not
// ours.
func wanted(ref Ref, resolve Resolver) (string, Choice, error) {
	choice, ok, err := resolve(ref)
	if err != nil || !ok {
		return "", Choice{}, err
	}
	text, err := choice.text(ref.Field)
	return text, choice, err
}

// splice puts a text in the place of a scalar.
type splice struct {
	marked
	text string
}

// written is the text in the quotes that the scalar has, or that it needs.
func (s splice) written() string {
	switch {
	case s.node.Style&yaml.SingleQuotedStyle != 0:
		return "'" + s.text + "'"
	case s.node.Style&yaml.DoubleQuotedStyle != 0, !readsAsText(s.text):
		return `"` + s.text + `"`
	}
	return s.text
}

func apply(src []byte, splices []splice) []byte {
	var out bytes.Buffer
	at := 0
	for _, s := range splices {
		out.Write(src[at:s.start])
		out.WriteString(s.written())
		at = s.end
	}
	out.Write(src[at:])
	return out.Bytes()
}

// yaml11 is what parsers of YAML 1.1, kubectl's among them, take for something else than
// text although YAML 1.2 does not: the other booleans and numbers of base 60.
var yaml11 = regexp.MustCompile(`^(?i:y|yes|n|no|on|off|true|false|null|~)$|^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$|^[-+]?0o?[0-7_]+$|^[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$`)

// readsAsText reports whether a plain scalar of this text is a text to every reader.
func readsAsText(text string) bool {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil || len(n.Content) != 1 {
		return false
	}
	scalar := n.Content[0]
	return scalar.Kind == yaml.ScalarNode && scalar.Tag == "!!str" && scalar.Value == text && !yaml11.MatchString(text)
}

var (
	errBytes = errors.New("more than the marked scalars would change")
	errNodes = errors.New("something else would be read differently")
)

// verify compares a file before and after: its bytes around the scalars, and everything
// that it says.
func verify(src []byte, before []document, edited []byte, splices []splice) error {
	rest := edited
	at := 0
	for _, s := range splices {
		kept := src[at:s.start]
		if !bytes.HasPrefix(rest, kept) {
			return errBytes
		}
		rest, at = bytes.TrimPrefix(rest[len(kept):], []byte(s.written())), s.end
	}
	if !bytes.Equal(rest, src[at:]) {
		return errBytes
	}
	after, err := parse(edited)
	if err != nil {
		return fmt.Errorf("it would not be YAML any more: %w", err)
	}
	if len(after) != len(before) {
		return errNodes
	}
	texts := make(map[*yaml.Node]string, len(splices))
	for _, s := range splices {
		texts[s.node] = s.text
	}
	for i := range before {
		if !same(before[i].root, after[i].root, texts) {
			return errNodes
		}
	}
	return nil
}

// same reports whether two nodes say the same, but for the scalars in texts: those have
// to say what is there, as text.
func same(a, b *yaml.Node, texts map[*yaml.Node]string) bool {
	if a.Kind != b.Kind || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) || a.Line != b.Line {
		return false
	}
	if text, changed := texts[a]; changed {
		return b.Value == text && (b.Tag == "!!str" || strings.TrimPrefix(b.Tag, "!") == strings.TrimPrefix(a.Tag, "!"))
	}
	if a.Tag != b.Tag || a.Value != b.Value || a.Style != b.Style {
		return false
	}
	if a.HeadComment != b.HeadComment || a.LineComment != b.LineComment || a.FootComment != b.FootComment {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i], texts) {
			return false
		}
	}
	return true
}
