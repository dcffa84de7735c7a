package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// repository is a clone with one commit for each text of its file.
func repository(t *testing.T, texts ...string) (dir string, git func(args ...string) string) {
	t.Helper()
	dir = t.TempDir()
	git = func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "-b", "main")
	git("config", "user.name", "a") // for the git that the command runs
	git("config", "user.email", "a@example.com")
	if err := os.Mkdir(filepath.Join(dir, "apps"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, "apps", "shop.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		git("add", "--all")
		git("commit", "--quiet", "-m", "a change")
	}
	return dir, git
}

func shopFile(image, other string) string {
	return "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: shop}\nspec:\n  components:\n" +
		"    - {name: web, type: webservice, properties: {image: '" + image + "'}} # keep\n---\n" +
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: " + other + "}\n"
}

func TestRollbackInAClone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		texts []string
		dirty bool
		args  []string
		want  string // image afterwards
	}{
		{"clone-rollback", []string{shopFile("web:1", "x"), shopFile("web:2", "x"), shopFile("web:4", "x")}, false, nil, "web:2"},
		{"clone-dry-run", []string{shopFile("web:2", "x"), shopFile("web:4", "x")}, false, []string{"--dry-run"}, "web:4"},
		{"clone-others-changed", []string{shopFile("web:2", "x"), shopFile("web:4", "y")}, false, nil, "web:4"},
		{"clone-never-so", []string{shopFile("web:3", "x"), shopFile("web:4", "x")}, false, nil, "web:4"},
		{"clone-dirty", []string{shopFile("web:2", "x"), shopFile("web:4", "x")}, true, nil, "web:4"},
		{"clone-elsewhere", []string{"a: b"}, false, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, git := repository(t, tt.texts...)
			file := filepath.Join(dir, "apps", "shop.yaml")
			if tt.dirty {
				if err := os.WriteFile(file, []byte(shopFile("web:4", "dirty")), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			commits := git("rev-list", "--count", "HEAD")
			app, revisions := shop()
			app.Labels = map[string]string{oam.LabelSource: "default.apps"}
			parent := seedApps()[1]
			parent.Spec.Components[0].Properties = map[string]any{"repoType": "git", "url": "https://git.example.com/acme/config.git", "path": "./apps"}
			l := &lab{shelf: shelf{apps: []*oam.Application{app, parent}}, revisions: revisions}
			args := append([]string{"rollback", "prod/shop", "--clone", dir}, tt.args...)
			p, code := at(t, l, nil, args...)
			// Commits and folders differ from run to run.
			said := strings.ReplaceAll(p.transcript(append([]string{"rollback", "prod/shop", "--clone", "."}, tt.args...), code), dir, ".")
			for n, commit := range strings.Fields(git("rev-list", "--reverse", "HEAD")) {
				said = strings.ReplaceAll(said, commit[:7], "commit"+string(rune('1'+n)))
			}
			golden(t, tt.name, said)
			if len(l.did) > 0 {
				t.Errorf("the cluster was changed: %v", l.did)
			}
			data, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(data), tt.want) {
				t.Errorf("%v, the file is\n%s", err, data)
			}
			made := git("rev-list", "--count", "HEAD") != commits
			if made != (tt.name == "clone-rollback") {
				t.Errorf("a commit was made: %t", made)
			}
			if made && (git("log", "-1", "--format=%s") != "Roll shop back to shop-v2" || git("status", "--porcelain") != "") {
				t.Errorf("commit %q, status %q", git("log", "-1", "--format=%s"), git("status", "--porcelain"))
			}
		})
	}
}

func TestChooseRevision(t *testing.T) {
	t.Parallel()
	app, revisions := shop()
	revisions[2].Application = nil
	_, err := chooseRevision(app, revisions, "")
	if err == nil || err.Error() != "rolling back prod/shop: revision shop-v2 cannot be read" {
		t.Errorf("error is %v", err)
	}
	chosen, err := chooseRevision(&oam.Application{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, []apply.Revision{revisions[0]}, "4")
	if err != nil || chosen.Name != "shop-v4" {
		t.Errorf("by number: %s, %v", chosen.Name, err)
	}
}
