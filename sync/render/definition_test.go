package render_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cuelang.org/go/cue/format"

	"github.com/tradewind-dev/tradewind/sync/render"
)

// TestEveryTypeHasACase: a type that no archive in testdata renders is not proven.
func TestEveryTypeHasACase(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, _, _ := strings.Cut(string(data), "\n-- out/")
		all.WriteString(before)
	}
	for _, kind := range []render.Kind{render.KindComponent, render.KindTrait} {
		for _, name := range render.Builtins().Names(kind, "") {
			if !regexp.MustCompile(`type: ` + regexp.QuoteMeta(name) + `[,}\s]`).MatchString(all.String()) {
				t.Errorf("%s %s: no archive in testdata has it", kind, name)
			}
		}
	}
}

// TestBuiltins: they are parsed when they are needed, and known by the names of their files
// until then.
func TestBuiltins(t *testing.T) {
	t.Parallel()
	for _, kind := range []render.Kind{render.KindComponent, render.KindTrait, render.KindWorkflowStep} {
		names := render.Builtins().Names(kind, "")
		if len(names) == 0 {
			t.Errorf("no %s comes with Tradewind", kind)
		}
		for _, name := range names {
			if def, ok := render.Builtins().Definition(kind, "", name); !ok || def.Kind != kind || def.Name != name {
				t.Errorf("the file of %s %s defines %+v", kind, name, def)
			}
		}
	}
}

func TestDefinitionsAreFormatted(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("definitions/*/*.cue")
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		formatted, err := format.Source(data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if string(formatted) != string(data) {
			t.Errorf("%s: not formatted as cue fmt does", file)
		}
		def, err := render.ParseDefinition(file, data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if def.Description == "" || def.Name != strings.TrimSuffix(filepath.Base(file), ".cue") || strings.TrimPrefix(string(def.Kind), "workflow-")+"s" != filepath.Base(filepath.Dir(file)) {
			t.Errorf("%s: defines %s %q, described as %q", file, def.Kind, def.Name, def.Description)
		}
	}
}

func TestParseDefinitionMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"no template", `a: type: "trait"`, "definition f.cue: want a header field and template"},
		{"no header", `template: {}`, "definition f.cue: want a header field and template"},
		{"two headers", `a: type: "trait", b: type: "trait", template: {}`, `definition f.cue has two headers, "a" and "b": want one`},
		{"an unknown type", `a: type: "gizmo", template: {}`, `definition f.cue: header a: type "gizmo": want component, trait, policy or workflow-step`},
		{"an unknown attribute", `a: {type: "trait", attributes: colour: "red"}, template: {}`, "definition f.cue: header a: attributes.colour is not known"},
		{"a template that is none", `a: type: "trait", template: 7`, "definition f.cue: template is not a struct"},
	}
	for _, tt := range tests {
		if _, err := render.ParseDefinition("f.cue", []byte(tt.text)); err == nil || err.Error() != tt.want {
			t.Errorf("%s: error %v, want %s", tt.name, err, tt.want)
		}
	}
}

// layered resolves user's definitions before the built-in ones.
type layered struct {
	own map[string]*render.Definition
	render.Definitions
}

func (l layered) Definition(kind render.Kind, namespace, name string) (*render.Definition, bool) {
	if def, ok := l.own[name]; ok && def.Kind == kind {
		return def, true
	}
	return l.Definitions.Definition(kind, namespace, name)
}
