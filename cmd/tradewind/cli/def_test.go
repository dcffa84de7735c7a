package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/apply"
)

// cabinet is a cluster that holds these definitions and writes down what is applied.
type cabinet struct {
	objects []unstructured.Unstructured
	applied *strings.Builder
	err     error
}

func (c cabinet) ListDefinitions(_ context.Context, kind, namespace string) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, o := range c.objects {
		if o.GetKind() == kind && (namespace == "" || o.GetNamespace() == namespace) {
			out = append(out, *o.DeepCopy())
		}
	}
	return out, c.err
}

func (c cabinet) ApplyDefinition(_ context.Context, object *unstructured.Unstructured, force bool) (apply.Action, error) {
	if c.err != nil {
		return "", c.err
	}
	raw, err := yaml.Marshal(object.Object)
	if err != nil {
		return "", err
	}
	c.applied.WriteString("---\n" + string(raw))
	if force {
		return apply.Configured, nil
	}
	return apply.Created, nil
}

// TestDef runs every def command on the files of testdata/def.txtar.
func TestDef(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("testdata/def.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var held []unstructured.Unstructured
	for _, f := range archive.Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(f.Name, "cluster/") {
			var o unstructured.Unstructured
			if err := yaml.Unmarshal(f.Data, &o.Object); err != nil {
				t.Fatal(err)
			}
			held = append(held, o)
		}
	}
	down := errors.New("listing: the cluster is away")
	tests := []struct {
		name, args, stdin string
		err               error
	}{
		{name: "def-vet", args: "vet greeter.cue stamp.yaml"},
		{name: "def-vet-folder", args: "vet folder"},
		{name: "def-vet-broken", args: "vet greeter.cue bad/syntax.cue bad/reference.cue bad/header.cue bad/terraform.yaml"},
		{name: "def-vet-none", args: "vet"},
		{name: "def-vet-missing", args: "vet nowhere.cue"},
		{name: "def-vet-other", args: "vet folder/application.yaml"},
		{name: "def-render", args: "render greeter.cue"},
		{name: "def-render-stdin", args: "render -", stdin: string(archive.Files[0].Data)},
		{name: "def-apply", args: "apply folder greeter.cue"},
		{name: "def-apply-namespace", args: "apply -n team-a --force-conflicts stamp.yaml"},
		{name: "def-apply-broken", args: "apply greeter.cue bad/syntax.cue"},
		{name: "def-apply-down", args: "apply greeter.cue", err: down},
		{name: "def-list", args: "list -n vela-system"},
		{name: "def-list-type", args: "list --type policy -n vela-system"},
		{name: "def-list-bad-type", args: "list --type gizmo"},
		{name: "def-list-down", args: "list", err: down},
		{name: "def-get", args: "get hello"},
		{name: "def-get-yaml", args: "get hello -o yaml"},
		{name: "def-get-missing", args: "get nothing"},
		{name: "def-get-several", args: "get twice"},
		{name: "def-get-chosen", args: "get twice --type trait"},
		{name: "def-get-bad-output", args: "get hello -o table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProcess()
			p.stdin = strings.NewReader(tt.stdin)
			var applied strings.Builder
			root := newRootCmd(p.env)
			for _, cmd := range root.Commands() {
				if cmd.Name() == "def" {
					root.RemoveCommand(cmd)
				}
			}
			root.AddCommand(defCmd(p.env, func(clusterFlags) (definitions, error) {
				return cabinet{objects: held, applied: &applied, err: tt.err}, nil
			}))
			args := strings.Fields(tt.args)
			for i, arg := range args[min(1, len(args)):] {
				if _, err := os.Stat(filepath.Join(dir, arg)); err == nil || strings.HasSuffix(arg, ".cue") {
					args[i+1] = filepath.Join(dir, arg)
				}
			}
			root.SetArgs(append([]string{"def"}, args...))
			code := p.exit(root.ExecuteContext(t.Context()))
			got := p.transcript(append([]string{"def"}, args...), code)
			if applied.Len() > 0 {
				got += "[applied]\n" + applied.String()
			}
			golden(t, tt.name, strings.ReplaceAll(got, dir+string(filepath.Separator), ""))
		})
	}
}

// TestDefListBuiltins: the types that come with the program are listed among the
// cluster's, and alone without one.
func TestDefListBuiltins(t *testing.T) {
	t.Parallel()
	p := newProcess()
	if code := run(t.Context(), []string{"def", "list", "--offline", "--type", "trait"}, p.env); code != 0 {
		t.Fatalf("exit %d: %s", code, &p.err)
	}
	out := p.out.String()
	if !regexp.MustCompile(`(?m)^scaler +\ttrait *\t\(built-in\) *\tHow many replicas`).MatchString(out) || strings.Contains(out, "webservice") {
		t.Errorf("listed\n%s", out)
	}
}
