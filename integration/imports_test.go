package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

const module = "github.com/tradewind-dev/tradewind"

// rule says which folders of ours the packages of a folder may import; a folder ending
// in /... stands for all below it, too.
type rule struct {
	folder string
	allow  []string
	why    string
}

// rules follow the flow of the data: nothing on the left is called from the right.
var rules = []rule{
	{"events", nil, "the vocabulary imports nothing of ours"},
	{"events/queue/...", []string{"events", "events/queue/..."}, "the queue knows events and nobody who uses them"},
	{"sync/oam", nil, "the Application is data"},
	{"sync/guard", nil, "the guard stands before every outside connection and knows nobody"},
	{"sync/files", nil, "files in memory know nobody"},
	{"sync/bucket", []string{"sync/guard", "sync/files"}, "the parts of sync do not know one another"},
	{"sync/sops", nil, "decryption is a program and a file system"},
	{"sync/git/gittest", []string{"sync/git/..."}, "a test server stays with its package"},
	{"sync/git/...", []string{"sync/oam", "sync/guard", "sync/git/..."}, "the parts of sync do not know one another"},
	{"sync/render/...", []string{"sync/oam", "sync/render/..."}, "the parts of sync do not know one another"},
	{"sync/apply/...", []string{"sync/oam", "sync/apply/..."}, "the parts of sync do not know one another"},
	{"sync/helm/...", []string{"sync/oam", "sync/helm/..."}, "the parts of sync do not know one another"},
	{"sync/workflow/...", []string{"sync/oam", "sync/workflow/..."}, "the parts of sync do not know one another"},
	{"sync/policy", []string{"sync/oam"}, "policies are data"},
	{"sync/outbound", []string{"sync/guard"}, "a door to the outside, for whoever has checked what goes through"},
	{"registry", []string{"sync/guard", "sync/files"}, "images are data and a client"},
	{"sync/forge", []string{"sync/guard"}, "a forge is asked, it decides nothing"},
	{"registry/commitmessage", []string{"registry", "registry/marker"}, "a message tells what the markers changed"},
	{"registry/...", []string{"registry"}, "policies and markers do not know one another"},
	{"handlers/...", []string{"events", "handlers/..."}, "a handler verifies, publishes and answers; it decides nothing"},
	{"services/...", []string{"events", "sync/...", "registry/..."}, "a service never calls a handler, the queue or another service"},
	{"deployments", nil, "manifests are files"},
	{"cmd/tradewind", []string{"cmd/tradewind/cli"}, "main is one line"},
	{"cmd/tradewind/cli", []string{"..."}, "the only wiring"},
	{"integration/...", []string{"deployments", "events", "integration/..."}, "stories see the program from outside"},
}

// doors says, for outside modules, which folders may import them. The standard library
// and modules that are not listed are free.
var doors = []struct {
	module string
	folder []string
}{
	{"github.com/nats-io/", []string{"events/queue"}},
	{"github.com/go-git/", []string{"sync/git"}},
	{"github.com/ProtonMail/go-crypto", []string{"sync/git"}},
	{"cuelang.org/go", []string{"sync/render"}},
	{"sigs.k8s.io/kustomize/", []string{"sync/render", "deployments"}},
	{"k8s.io/client-go", []string{"sync/apply", "integration/world/kube"}},
	{"k8s.io/apiextensions-apiserver", []string{"sync/apply", "deployments"}},
	{"github.com/Masterminds/sprig/", []string{"registry/commitmessage"}},
	{"helm.sh/helm/", []string{"sync/helm", "integration/world/kube"}},
	{"github.com/google/go-containerregistry", []string{"registry", "sync/helm", "integration/world"}},
	{"github.com/minio/minio-go/", []string{"sync/bucket"}},
	{"github.com/google/go-github/", []string{"sync/forge"}},
	{"github.com/xanzy/go-gitlab", []string{"sync/forge"}},
	{"github.com/go-chi/", []string{"handlers"}},
	{"github.com/spf13/cobra", []string{"cmd/tradewind/cli"}},
	{"github.com/rogpeppe/go-internal", []string{"integration", "sync/render", "sync/git", "cmd/tradewind/cli"}},
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
}

func (p pkg) folder() string { return folderOf(p.ImportPath) }

func folderOf(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

// packages lists every package of the module, those with only tests too.
func packages(t *testing.T) []pkg {
	t.Helper()
	root, err := proc.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e",
		"-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list knows only %d packages", len(all))
	}
	return all
}

// covers is true when pattern, a folder or folder/..., stands for folder.
func covers(pattern, folder string) bool {
	base, tree := strings.CutSuffix(pattern, "...")
	base = strings.TrimSuffix(base, "/")
	return folder == base || tree && (base == "" || strings.HasPrefix(folder, base+"/"))
}

func TestRulesOurImports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		at := slices.IndexFunc(rules, func(r rule) bool { return covers(r.folder, p.folder()) })
		if at < 0 {
			t.Errorf("%s: no rule says what it may import; add one, or put the code elsewhere", p.folder())
			continue
		}
		// Tests in a package of their own may use more of what it is made for.
		for _, path := range slices.Concat(p.Imports, p.TestImports) {
			if path != module && !strings.HasPrefix(path, module+"/") || path == p.ImportPath {
				continue
			}
			if !slices.ContainsFunc(rules[at].allow, func(pattern string) bool { return covers(pattern, folderOf(path)) }) {
				t.Errorf("%s imports %s: %s", p.folder(), folderOf(path), rules[at].why)
			}
		}
	}
}

func TestRulesDoors(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for _, d := range doors {
				inside := slices.ContainsFunc(d.folder, func(f string) bool { return covers(f+"/...", p.folder()) })
				if strings.HasPrefix(path, d.module) && !inside {
					t.Errorf("%s imports %s: only %s may", p.folder(), path, strings.Join(d.folder, " and "))
				}
			}
		}
	}
}

func TestRulesPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		files := p.GoFiles
		if len(files) == 0 {
			files = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		}
		var commented []string
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Error(err)
				continue
			}
			if f.Doc != nil {
				commented = append(commented, name)
			}
		}
		if len(commented) != 1 {
			t.Errorf("%s: want one file with a package comment, got %v", p.folder(), commented)
		}
	}
}

func TestRulesNoPackageSync(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.folder() == "sync" || p.folder() == "" {
			t.Errorf("%q has Go files %v: they belong into a package below", p.folder(), p.GoFiles)
		}
	}
}
