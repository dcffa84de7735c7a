package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// The forms of output that -o chooses from.
const (
	outTable = "table"
	outWide  = "wide"
	outJSON  = "json"
	outYAML  = "yaml"
	outName  = "name"
)

// checkOutput refuses a form that the command does not have; the first is the default.
func checkOutput(given string, known ...string) error {
	if slices.Contains(known, given) {
		return nil
	}
	last := len(known) - 1
	return usageErrorf("-o %q: want %s or %s", given, strings.Join(known[:last], ", "), known[last])
}

// writeDocument writes one JSON or YAML document.
func writeDocument(w io.Writer, form string, doc any) error {
	var out []byte
	var err error
	if form == outYAML {
		out, err = yaml.Marshal(doc)
	} else {
		out, err = json.MarshalIndent(doc, "", "  ")
		out = append(out, '\n')
	}
	if err != nil {
		return fmt.Errorf("encoding the output: %w", err)
	}
	_, err = w.Write(out)
	return err
}

// objectList is a list of objects as kubectl writes it.
type objectList[T any] struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      []T    `json:"items"`
}

func listOf[T any](items []T) objectList[T] {
	return objectList[T]{APIVersion: "v1", Kind: "List", Items: append([]T{}, items...)}
}

// bare is an Application as a person wants to read it: without the server's book-keeping
// of field owners.
func bare(app *oam.Application) *oam.Application {
	out := *app
	out.APIVersion, out.Kind = oam.APIVersion, oam.Kind
	out.ManagedFields = nil
	return &out
}

// painter colours words, on terminals only.
type painter bool

// newPainter obeys --color, then NO_COLOR and TERM, then what stdout is.
func newPainter(mode string, e *env) (painter, error) {
	switch mode {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		f, isFile := e.stdout.(*os.File)
		return painter(e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb" && isFile && term.IsTerminal(int(f.Fd()))), nil
	default:
		return false, usageErrorf("--color %q: want auto, always or never", mode)
	}
}

func (p painter) paint(code, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p painter) green(text string) string  { return p.paint("32", text) }
func (p painter) red(text string) string    { return p.paint("31", text) }
func (p painter) yellow(text string) string { return p.paint("33", text) }
