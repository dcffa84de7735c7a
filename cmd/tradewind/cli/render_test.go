package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tradewind-dev/tradewind/sync/render"
)

func TestRender(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("testdata/render.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "repo", "outside")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		args  string
		stdin string
	}{
		{"render", "-f my-app.yaml", ""},
		{"render-tree", "-f apps.yaml --tree repo", ""},
		{"render-name", "-f my-app.yaml -f apps.yaml --tree repo -o name", ""},
		{"render-json", "-f config.yaml -o json -n prod", ""},
		{"render-stdin", "-f - -o name", string(archive.Files[0].Data)},
		{"render-no-tree", "-f apps.yaml", ""},
		{"render-bad-trait", "-f bad-trait.yaml", ""},
		{"render-bad-property", "-f bad-property.yaml", ""},
		{"render-bad-document", "-f bad-document.yaml", ""},
		{"render-bad-workflow", "-f bad-workflow.yaml", ""},
		{"render-bad-path", "-f bad-path.yaml --tree repo", ""},
		{"render-outside", "-f outside.yaml --tree repo", ""},
		{"render-empty", "-f empty.yaml", ""},
		{"render-no-file", "", ""},
		{"render-missing-file", "-f none.yaml", ""},
		{"render-missing-tree", "-f apps.yaml --tree none", ""},
		{"render-bad-version", "-f my-app.yaml --kube-version new", ""},
		{"render-bad-output", "-f my-app.yaml -o table", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"render"}
			for i, arg := range strings.Fields(tt.args) {
				if before := strings.Fields(tt.args)[max(i-1, 0)]; (before == "-f" || before == "--tree") && arg != "-" && i > 0 {
					arg = filepath.Join(dir, arg)
				}
				args = append(args, arg)
			}
			p := newProcess()
			p.stdin = strings.NewReader(tt.stdin)
			code := run(t.Context(), args, p.env)
			got := strings.ReplaceAll(p.transcript(args, code), dir+string(filepath.Separator), "")
			got = installed.ReplaceAllString(got, "$1 …") // package render lists them
			golden(t, tt.name, got)
		})
	}
}

var installed = regexp.MustCompile(`(installed \w+ types:) .*`)

func TestRenderListsEveryType(t *testing.T) {
	t.Parallel()
	p := newProcess()
	if code := run(t.Context(), []string{"render", "--list-types"}, p.env); code != 0 || p.err.Len() > 0 {
		t.Fatalf("exit %d, stderr %s", code, &p.err)
	}
	if header, _, _ := strings.Cut(p.out.String(), "\n"); strings.Join(strings.Fields(header), " ") != "TYPE KIND DESCRIPTION" {
		t.Errorf("header %q", header)
	}
	definitions := render.Builtins()
	for _, kind := range []render.Kind{render.KindComponent, render.KindTrait} {
		for _, name := range definitions.Names(kind, "") {
			row := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` *\t` + string(kind) + ` *\t\S`)
			if !row.MatchString(p.out.String()) {
				t.Errorf("no row for %s %s:\n%s", kind, name, &p.out)
			}
		}
	}
}
