package cli

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// table lays out text the way KubeVela's lists do, which its users' scripts cut: every
// cell padded to its column, columns joined by a tab, long cells wrapped.
type table struct {
	rows [][]string
	wrap int // widest cell; 0 never wraps
}

// listWidth is the widest cell of a list in KubeVela.
const listWidth = 60

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// writeTo leaves out blanks at the end of a line: nobody sees them, and a diff does.
func (t *table) writeTo(w io.Writer) error {
	var widths []int
	rows := make([][][]string, len(t.rows)) // row, column, line
	for i, cells := range t.rows {
		for j, cell := range cells {
			lines := wrapText(printable(cell), t.wrap)
			rows[i] = append(rows[i], lines)
			if j == len(widths) {
				widths = append(widths, 0)
			}
			for _, line := range lines {
				widths[j] = max(widths[j], displayWidth(line))
			}
		}
	}
	var b strings.Builder
	for _, columns := range rows {
		height := 1
		for _, lines := range columns {
			height = max(height, len(lines))
		}
		for y := range height {
			var line strings.Builder
			for j, lines := range columns {
				text := ""
				if y < len(lines) {
					text = lines[y]
				}
				if j > 0 {
					line.WriteByte('\t')
				}
				line.WriteString(text + strings.Repeat(" ", widths[j]-displayWidth(text)))
			}
			b.WriteString(strings.TrimRight(line.String(), " \t") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrapText breaks text into lines no wider than limit, between words where it can.
func wrapText(text string, limit int) []string {
	lines := strings.Split(text, "\n")
	if limit <= 0 {
		return lines
	}
	var out []string
	for _, line := range lines {
		for displayWidth(line) > limit {
			head := cutAt(line, limit)
			if i := strings.LastIndexByte(head, ' '); i > 0 && line[len(head)] != ' ' {
				head = head[:i]
			}
			out = append(out, strings.TrimRight(head, " "))
			line = strings.TrimLeft(line[len(head):], " ")
		}
		out = append(out, line)
	}
	return out
}

// cutAt is the longest beginning of text that is no wider than limit, and at least one
// character.
func cutAt(text string, limit int) string {
	used := 0
	for i, r := range text {
		used += runeWidth(r)
		if used > limit && i > 0 {
			return text[:i]
		}
	}
	return text
}

func displayWidth(text string) int {
	n := 0
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

// runeWidth is how many columns a terminal gives to a character.
func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// printable takes out what a terminal would act on: text from the cluster may come from
// anyone who can write a status.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		default:
			return r
		}
	}, text)
}
