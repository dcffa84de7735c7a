package render_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// results are the files of an archive that -update writes.
var results = []string{"out/objects.yaml", "out/hints", "out/health", "out/error"}

var update = flag.Bool("update", false, "rewrite the expectations")

// TestGolden renders app.yaml of every archive, with the files below tree/ as its Git
// tree and those below definitions/ as what the cluster defines, and compares with out/objects.yaml or out/error. Objects below live/ stand for
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
	if catalog := catalogOf(t, in); catalog != nil {
		r = render.New(render.Config{Definitions: catalog})
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
		for _, name := range results {
			if out[name] != "" {
				archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(out[name])})
			}
		}
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, name := range results {
		if diff := cmp.Diff(string(in[name]), out[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// catalogOf are the definitions of an archive, nil when it has none. Files without a
// namespace are in vela-system.
func catalogOf(t *testing.T, in map[string][]byte) *render.Catalog {
	t.Helper()
	var catalog *render.Catalog
	for name, data := range in {
		if !strings.HasPrefix(name, "definitions/") {
			continue
		}
		u := &unstructured.Unstructured{}
		var err error
		if strings.HasSuffix(name, ".cue") {
			u.Object, err = render.DefinitionObject(name, data)
		} else {
			err = yaml.Unmarshal(data, &u.Object)
		}
		if err != nil {
			t.Fatal(err)
		}
		if u.GetNamespace() == "" {
			u.SetNamespace(render.SystemNamespace)
		}
		if catalog == nil {
			catalog = render.NewCatalog()
		}
		if about, changed := catalog.Put(u); !changed {
			t.Errorf("%s defines %v", name, about)
		}
	}
	return catalog
}

// outputs renders an archive. It is rendered twice: the same inputs must give the same
// bytes.
func outputs(t *testing.T, r *render.Renderer, in map[string][]byte) map[string]string {
	t.Helper()
	first := render1(t, r, in)
	if diff := cmp.Diff(first, render1(t, r, in)); diff != "" {
		t.Errorf("a second time something else (-first +second):\n%s", diff)
	}
	return first
}

func render1(t *testing.T, r *render.Renderer, in map[string][]byte) map[string]string {
	t.Helper()
	app, err := oam.Parse(in["app.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{}
	for name, data := range in {
		if at, ok := strings.CutPrefix(name, "tree/"); ok {
			tree[at] = &fstest.MapFile{Data: data}
		}
	}
	rc := render.Context{
		AppName: app.Name, Namespace: "default", AppRevision: app.Name + "-v1", AppRevisionNum: 1,
		AppLabels: app.Labels, AppAnnotations: app.Annotations, Components: app.Spec.Components,
		ClusterVersion: render.Version{Major: 1, Minor: 37},
	}
	var objects, health, errs, hints strings.Builder
	for _, c := range app.Spec.Components {
		rendered, err := r.Component(t.Context(), c, rc, tree)
		if err != nil {
			fmt.Fprintln(&errs, err)
			if e, ok := errors.AsType[*render.Error](err); !ok {
				t.Errorf("error %v has the type %T", err, err)
			} else if e.Hint() != "" {
				fmt.Fprintln(&errs, "hint:", e.Hint())
			}
			continue
		}
		for _, o := range rendered.Objects {
			data, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&objects, "---\n%s", data)
		}
		for _, hint := range rendered.Hints {
			fmt.Fprintf(&hints, "%s: %s\n", c.Name, hint)
		}
		if live := in["live/objects.yaml"]; live != nil {
			writeHealth(&health, r.Health(c, rc, rendered, liveObjects(t, live)))
		}
	}
	return map[string]string{
		"out/objects.yaml": objects.String(), "out/hints": hints.String(), "out/health": health.String(), "out/error": errs.String(),
	}
}

// liveObjects finds objects by kind and name in YAML.
func liveObjects(t *testing.T, data []byte) render.Live {
	t.Helper()
	var all []*unstructured.Unstructured
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		u := &unstructured.Unstructured{}
		raw, err := yaml.YAMLToJSON([]byte(doc))
		if err == nil {
			err = utiljson.Unmarshal(raw, &u.Object)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return func(want *unstructured.Unstructured) *unstructured.Unstructured {
		i := slices.IndexFunc(all, func(u *unstructured.Unstructured) bool {
			return u.GetKind() == want.GetKind() && u.GetName() == want.GetName()
		})
		if i < 0 {
			return nil
		}
		return all[i]
	}
}

func writeHealth(w io.Writer, s oam.Service) {
	details := func(from map[string]string) string {
		var b strings.Builder
		for _, key := range slices.Sorted(maps.Keys(from)) {
			fmt.Fprintf(&b, " %s=%q", key, from[key])
		}
		return b.String()
	}
	fmt.Fprintf(w, "%s healthy=%v %q%s\n", s.Name, s.Healthy, s.Message, details(s.Details))
	for _, trait := range s.Traits {
		fmt.Fprintf(w, "  %s healthy=%v %q%s\n", trait.Type, trait.Healthy, trait.Message, details(trait.Details))
	}
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
