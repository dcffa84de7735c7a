package render_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

var update = flag.Bool("update", false, "rewrite the expectations")

// TestGolden renders app.yaml of every archive, with the files below tree/ as its Git
// tree, and compares with out/objects.yaml or out/error. Objects below live/ stand for
// the cluster, and out/health is what is read off them.
func TestGolden(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	r := render.New(render.Config{})
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			checkArchive(t, r, file)
		})
	}
}

func checkArchive(t *testing.T, r *render.Renderer, file string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string][]byte{}
	for _, f := range archive.Files {
		in[f.Name] = f.Data
	}
	out := outputs(t, r, in)
	if *update {
		kept := archive.Files[:0]
		for _, f := range archive.Files {
			if !strings.HasPrefix(f.Name, "out/") {
				kept = append(kept, f)
			}
		}
		archive.Files = kept
		for _, name := range []string{"out/objects.yaml", "out/health", "out/error"} {
			if out[name] != "" {
				archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(out[name])})
			}
		}
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, name := range []string{"out/objects.yaml", "out/health", "out/error"} {
		if diff := cmp.Diff(string(in[name]), out[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func outputs(t *testing.T, r *render.Renderer, in map[string][]byte) map[string]string {
	t.Helper()
	app, err := oam.Parse(in["app.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{}
	var live []*unstructured.Unstructured
	for name, data := range in {
		if below, ok := strings.CutPrefix(name, "tree/"); ok {
			tree[below] = &fstest.MapFile{Data: data}
		}
		if strings.HasPrefix(name, "live/") {
			objects, err := render.DecodeObjects(name, data)
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, objects...)
		}
	}
	rc := render.Context{
		AppName: app.Name, Namespace: "default", AppRevision: app.Name + "-v1", AppRevisionNum: 1,
		AppLabels: app.Labels, AppAnnotations: app.Annotations, Components: app.Spec.Components,
		ClusterVersion: render.Version{Major: 1, Minor: 37},
	}
	out := map[string]string{}
	for _, c := range app.Spec.Components {
		rendered, err := r.Component(t.Context(), c, rc, tree)
		if err != nil {
			out["out/error"] += err.Error() + "\n"
			if e, ok := errors.AsType[*render.Error](err); ok && e.Hint() != "" {
				out["out/error"] += "hint: " + e.Hint() + "\n"
			}
			continue
		}
		for _, o := range rendered.Objects {
			data, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			out["out/objects.yaml"] += "---\n" + string(data)
		}
		if len(live) > 0 {
			s := r.Health(c, rc, rendered, func(want *unstructured.Unstructured) *unstructured.Unstructured {
				for _, l := range live {
					if l.GetKind() == want.GetKind() && l.GetName() == want.GetName() {
						return l
					}
				}
				return nil
			})
			out["out/health"] += fmt.Sprintf("%s healthy=%v %q\n", s.Name, s.Healthy, s.Message)
			for _, trait := range s.Traits {
				out["out/health"] += fmt.Sprintf("  %s healthy=%v %q\n", trait.Type, trait.Healthy, trait.Message)
			}
		}
	}
	return out
}

// TestConcurrent renders the same component from many goroutines; the engines are shared.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{})
	app := seedApp(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				out, err := r.Component(t.Context(), app.Spec.Components[0], render.Context{AppName: "my-app", Namespace: "default"}, nil)
				if err != nil || len(out.Objects) != 3 {
					t.Errorf("Component() = %v, %v; want 3 objects", out, err)
				}
			}
		})
	}
	wg.Wait()
}

func seedApp(tb testing.TB) *oam.Application {
	tb.Helper()
	data, err := os.ReadFile("../../integration/seed/apps/my-app.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	app, err := oam.Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	return app
}

func BenchmarkWebservice(b *testing.B) {
	r := render.New(render.Config{})
	app := seedApp(b)
	defer cpu(b)()
	for b.Loop() {
		if _, err := r.Component(b.Context(), app.Spec.Components[0], render.Context{AppName: "my-app", Namespace: "default"}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzDecodeObjects(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: List\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("--- \n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := render.DecodeObjects("f.yaml", data)
		if err != nil {
			return
		}
		for _, o := range objects {
			if o.GetKind() == "" || o.GetAPIVersion() == "" || o.GetName() == "" {
				t.Errorf("object without identity: %v", o.Object)
			}
		}
	})
}

var _ fs.FS = fstest.MapFS{}
