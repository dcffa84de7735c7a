package marker

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// text is the bytes of a file with the places where lines begin, counted as the YAML
// parser counts them.
type text struct {
	src   []byte
	lines []int // offset of each line
}

const byteOrderMark = "\ufeff"

func newText(src []byte) *text {
	t := &text{src: src}
	at := 0
	if bytes.HasPrefix(src, []byte(byteOrderMark)) {
		at = len(byteOrderMark) // the parser does not count it as a column
	}
	t.lines = append(t.lines, at)
	for at < len(src) {
		width := breakWidth(src[at:])
		if width == 0 {
			at++
			continue
		}
		at += width
		t.lines = append(t.lines, at)
	}
	return t
}

// breakWidth is the length of the line break at the beginning of b: CR LF, CR, LF, NEL,
// LS or PS, as in YAML 1.1.
func breakWidth(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte("\r\n")), bytes.HasPrefix(b, []byte("\u0085")):
		return 2
	case b[0] == '\n', b[0] == '\r':
		return 1
	case bytes.HasPrefix(b, []byte("\u2028")), bytes.HasPrefix(b, []byte("\u2029")):
		return 3
	}
	return 0
}

// offset is where a line and column (in characters) of the parser is in the file.
func (t *text) offset(line, column int) (int, bool) {
	if line < 1 || line > len(t.lines) {
		return 0, false
	}
	at := t.lines[line-1]
	for range column - 1 {
		if at >= len(t.src) {
			return 0, false
		}
		_, width := utf8.DecodeRune(t.src[at:])
		at += width
	}
	return at, at < len(t.src)
}

// rest is what is left of a line.
func (t *text) rest(at int) string {
	end := at
	for end < len(t.src) && breakWidth(t.src[end:]) == 0 {
		end++
	}
	return string(t.src[at:end])
}

// skipProperties passes by the anchor and the tag of a node on its line.
func (t *text) skipProperties(at int) int {
	rest := t.rest(at)
	left := rest
	for left != "" && (left[0] == '&' || left[0] == '!') {
		blank := strings.IndexAny(left, " \t")
		if blank < 0 {
			break
		}
		left = strings.TrimLeft(left[blank:], " \t")
	}
	return at + len(rest) - len(left)
}

// scalarEnd is where the scalar ends that begins at start, if it ends on the same line
// and is written with the characters of an image. It reads no escapes: what has them is
// no image.
func (t *text) scalarEnd(start int, n *yaml.Node) (int, bool) {
	written := n.Value
	switch {
	case n.Style&yaml.SingleQuotedStyle != 0:
		written = "'" + strings.ReplaceAll(n.Value, "'", "''") + "'"
	case n.Style&yaml.DoubleQuotedStyle != 0:
		written = `"` + n.Value + `"`
	case n.Value == "":
		return 0, false // a null that is not written
	}
	if !strings.HasPrefix(t.rest(start), written) {
		return 0, false
	}
	return start + len(written), true
}

// comment is the comment that the rest of a line is, without its #; empty when there is
// anything else.
func (t *text) comment(at int) string {
	rest := t.rest(at)
	trimmed := strings.TrimLeft(rest, " \t")
	if len(trimmed) == len(rest) || !strings.HasPrefix(trimmed, "#") {
		return ""
	}
	return strings.TrimSpace(trimmed[1:])
}
