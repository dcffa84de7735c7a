// Package corpus_test proves the built-in definitions on a real API server: for each there
// is an Application that sets every property it declares, and everything rendered from it
// is admitted, without an unknown field and without an element that is there twice.
package corpus_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cuelang.org/go/cue"
	"golang.org/x/tools/txtar"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

const folder = "../testdata"

// entry is a built-in definition and the Application that is its part of the corpus.
type entry struct {
	*render.Definition
	template cue.Value
	app      *oam.Application // nil when there is no file
	schema   bool             // its template makes nothing: only the properties can be tried
}

func (e *entry) id() string { return string(e.Kind) + "-" + e.Name }

// want says where the Application belongs.
func (e *entry) want() string {
	if e.schema {
		return filepath.Join("schemas", e.id()+".yaml")
	}
	return e.id() + ".txtar"
}

// corpus is an entry for every built-in definition of an Application's parts.
func corpus(t *testing.T) []*entry {
	t.Helper()
	var all []*entry
	for _, kind := range []render.Kind{render.KindComponent, render.KindTrait} {
		for _, name := range render.Builtins().Names(kind, "") {
			def, _ := render.Builtins().Definition(kind, "", name)
			e := &entry{Definition: def, template: compile(t, def)}
			e.schema = makesNothing(e.template)
			e.app = read(t, e)
			all = append(all, e)
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d built-in definitions", len(all))
	}
	return all
}

func read(t *testing.T, e *entry) *oam.Application {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, e.want()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if !e.schema {
		archive := txtar.Parse(data)
		for _, f := range archive.Files {
			if f.Name == "app.yaml" {
				data = f.Data
			}
		}
	}
	app, err := oam.Parse(data)
	if err != nil {
		t.Fatalf("%s: %v", e.want(), err)
	}
	return app
}

// occurrences are the properties wherever the Application uses the type.
func (e *entry) occurrences() []map[string]any {
	var all []map[string]any
	for _, c := range e.app.Spec.Components {
		if e.Kind == render.KindComponent && c.Type == e.Name {
			all = append(all, c.Properties)
		}
		for _, trait := range c.Traits {
			if e.Kind == render.KindTrait && trait.Type == e.Name {
				all = append(all, trait.Properties)
			}
		}
	}
	return all
}

// TestEveryPropertyIsSet: a definition without its Application, or a property that it
// never sets, is not proven.
func TestEveryPropertyIsSet(t *testing.T) {
	t.Parallel()
	for _, e := range corpus(t) {
		if e.app == nil {
			t.Errorf("%s %s: no testdata/%s sets its properties", e.Kind, e.Name, e.want())
			continue
		}
		given := e.occurrences()
		if len(given) == 0 {
			t.Errorf("testdata/%s does not use %s", e.want(), e.Name)
		}
		if missing := unset(e.template.LookupPath(cue.ParsePath("parameter")), given); len(missing) > 0 {
			t.Errorf("testdata/%s never sets %s", e.want(), strings.Join(missing, ", "))
		}
		if e.schema {
			e.tryProperties(t, given)
		}
	}
}

// tryProperties fits the properties into the schema of a template that makes nothing.
func (e *entry) tryProperties(t *testing.T, given []map[string]any) {
	t.Helper()
	path := cue.ParsePath("parameter")
	known := map[string]any{"name": "c", "namespace": "default"}
	for _, properties := range given {
		filled := e.template.FillPath(cue.ParsePath("context"), known).FillPath(path, properties)
		if err := filled.LookupPath(path).Validate(cue.Concrete(true)); err != nil {
			t.Errorf("testdata/%s: %v", e.want(), err)
		}
	}
}

// TestCorpus renders every Application and has the API server admit the objects.
func TestCorpus(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs the real cluster")
	}
	cluster := start(t)
	r := render.New(render.Config{})
	for _, e := range corpus(t) {
		if e.app == nil || e.schema {
			continue // TestEveryPropertyIsSet has said so, or there is nothing to admit
		}
		t.Run(e.id(), func(t *testing.T) {
			t.Parallel()
			objects := 0
			for _, c := range e.app.Spec.Components {
				rendered, err := r.Component(t.Context(), c, contextOf(e.app), nil)
				if err != nil {
					t.Error(err)
					continue
				}
				for _, o := range rendered.Objects {
					objects++
					if err := cluster.Admit(t.Context(), o.Unstructured); err != nil {
						t.Errorf("component %s: %v", c.Name, err)
					}
				}
			}
			if objects == 0 {
				t.Error("nothing was rendered")
			}
		})
	}
}

func contextOf(app *oam.Application) render.Context {
	return render.Context{
		AppName: app.Name, Namespace: "default", AppRevision: fmt.Sprintf("%s-v1", app.Name), AppRevisionNum: 1,
		Components: app.Spec.Components, ClusterVersion: render.Version{Major: 1, Minor: 37},
	}
}

// start starts the API server, which is required: there is no fake that validates.
func start(t *testing.T) *kube.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cluster, err := kube.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatalf("starting the cluster: %v\nrun: make cluster", err)
	}
	t.Cleanup(func() { _ = cluster.Stop(context.Background()) })
	return cluster
}
