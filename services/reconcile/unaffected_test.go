package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

const (
	manyApps  = 500
	bases     = 25
	randomly  = 6 // commits
	editsEach = 4 // at most
)

// TestAffected edits a repository of many applications at random and compares whom the
// router sends to look again with whose output really changed.
func TestAffected(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	t.Logf("seed %d", seed)
	g := &garden{random: rand.New(rand.NewPCG(seed, 0)), files: gittest.Files{}} //nolint:gosec // no secret
	g.plant()
	e := newExactness(t)
	e.commit(t, g.files)
	e.renderAll(t)
	for n := range randomly {
		edits := gittest.Files{}
		var said []string
		for range 1 + g.random.IntN(editsEach) {
			said = append(said, g.edit(edits))
		}
		e.commit(t, edits)
		affected := e.decide(t.Context(), e.keys(), []string{e.key})
		if diff := cmp.Diff(e.renderAll(t), affected); diff != "" {
			t.Fatalf("commit %d, %s: whose output changed (-) and who looks again (+):\n%s", n, strings.Join(said, ", "), diff)
		}
	}
}

// TestAsItWas: who asks is answered without a look exactly while nothing that was read has
// changed, whether a webhook told of it or not.
func TestAsItWas(t *testing.T) {
	t.Parallel()
	e := newExactness(t)
	e.commit(t, gittest.Files{appDir(0) + "/map.yaml": settings("own", "a"), "README.md": "a\n"})
	key := e.keys()[0]
	ask := func(after string, want bool) {
		t.Helper()
		e.requests.note(key, time.Now())
		if got := e.asItWas(t.Context(), key); got != want {
			t.Errorf("after %s: as it was is %v", after, got)
		}
	}
	ask("nothing is known of it", false)
	tree, err := e.tree(t.Context(), "default", e.sources[0], time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	reads := git.Trace(tree)
	if _, err := e.renderer.Component(t.Context(), e.component(0), render.Context{AppName: "a", Namespace: "default"}, reads.FS()); err != nil {
		t.Fatal(err)
	}
	e.settled.set(key, &settledApp{sources: []settledSource{{"default", e.sources[0], reads.Set()}}})
	ask("it settled", true)
	e.repo.Commit(t, "main", gittest.Files{"README.md": "b\n"})
	ask("a commit to what it does not read", true)
	e.repo.Commit(t, "main", gittest.Files{appDir(0) + "/map.yaml": settings("own", "b")})
	ask("a commit to what it reads, of which nobody told", false)
}

// exactness renders every application after every commit, which nobody else would do.
type exactness struct {
	*Reconciler
	repo     *gittest.Repo
	key      string
	sighting *sightings
	sources  []*render.Source
	outputs  map[events.Key]string
}

// sightings is a queue that heard of every commit.
type sightings struct {
	Queue
	n atomic.Uint64
}

func (s *sightings) Sighting(context.Context, string) (uint64, error) { return s.n.Load(), nil }

func newExactness(t *testing.T) *exactness {
	t.Helper()
	server := gittest.NewServer(t)
	hosts := []string{server.Host()}
	e := &exactness{repo: server.NewRepo(t, "apps.git"), sighting: &sightings{}, outputs: map[events.Key]string{}}
	e.Reconciler = &Reconciler{
		mirrors: git.NewMirrors(git.Config{AllowedHosts: hosts, InsecureHosts: hosts, Timeout: time.Minute}), queue: e.sighting,
		renderer: render.New(render.Config{}), heads: newHeads(), settled: newSettled(), now: time.Now, sole: true,
		requests: newRequests(), metrics: newMetrics(nil), log: slog.New(slog.DiscardHandler),
	}
	var err error
	if e.key, err = events.RepoKey(e.repo.URL); err != nil {
		t.Fatal(err)
	}
	for i := range manyApps {
		src, err := render.SourceOf(e.component(i))
		if err != nil {
			t.Fatal(err)
		}
		e.sources = append(e.sources, src)
	}
	return e
}

func (e *exactness) component(i int) oam.Component {
	return oam.Component{Name: "c", Type: "kustomize", Properties: map[string]any{
		"url": e.repo.URL, "path": appDir(i), "git": map[string]any{"branch": "main"},
	}}
}

func (e *exactness) keys() (keys []events.Key) {
	for i := range manyApps {
		keys = append(keys, events.AppKey("default", fmt.Sprintf("app-%03d", i)))
	}
	return keys
}

func (e *exactness) commit(t *testing.T, files gittest.Files) {
	t.Helper()
	e.repo.Commit(t, "main", files)
	e.sighting.n.Add(1)
}

// renderAll returns whose output is another than last time. Like a worker it keeps what
// was read for that output.
func (e *exactness) renderAll(t *testing.T) []events.Key {
	t.Helper()
	tree, err := e.tree(t.Context(), "default", e.sources[0], time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	changed := []events.Key{}
	for i, key := range e.keys() {
		reads := git.Trace(tree)
		out, err := e.renderer.Component(t.Context(), e.component(i), render.Context{AppName: "a", Namespace: "default"}, reads.FS())
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		text, err := json.Marshal(out.Objects)
		if err != nil {
			t.Fatal(err)
		}
		if e.outputs[key] == string(text) {
			continue
		}
		e.outputs[key] = string(text)
		changed = append(changed, key)
		e.settled.set(key, &settledApp{sources: []settledSource{{"default", e.sources[i], reads.Set()}}})
	}
	return changed
}

func appDir(i int) string { return fmt.Sprintf("apps/app-%03d", i) }

// garden is the files of all applications, and what may happen to them.
type garden struct {
	random *rand.Rand
	files  gittest.Files
	count  int
}

// value is never the same twice.
func (g *garden) value() string {
	g.count++
	return fmt.Sprintf("v%d", g.count)
}

func settings(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %s}\n", name, value)
}

func (g *garden) base(n int) (file, text string) {
	return fmt.Sprintf("bases/b%d/map.yaml", n), settings("base", g.value())
}

func (g *garden) part(n int) (file, text string) {
	return fmt.Sprintf("parts/p%d/patch.yaml", n), fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\ndata: {part: %s}\n", g.value())
}

// own is the file of an application that only it reads.
func (g *garden) own(i int) (file, text string) {
	dir := appDir(i)
	switch i % 5 {
	case 0:
		return dir + "/map.yaml", settings("own", g.value())
	case 1:
		return dir + "/deep/er/map.yaml", settings("own", g.value())
	case 2:
		return dir + "/settings.env", "LEVEL=" + g.value() + "\n"
	default:
		return dir + "/own.yaml", settings("own", g.value())
	}
}

// plant lays out plain folders, nested ones, generators, overlays on shared bases and
// overlays with shared parts.
func (g *garden) plant() {
	put := func(file, text string) { g.files[file] = text }
	put("README.md", "apps\n")
	for n := range bases {
		put(g.base(n))
		put(fmt.Sprintf("bases/b%d/kustomization.yaml", n), "resources: [map.yaml]\n")
		put(g.part(n))
		put(fmt.Sprintf("parts/p%d/kustomization.yaml", n), "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{path: patch.yaml}]\n")
	}
	for i := range manyApps {
		put(g.own(i))
		dir := appDir(i)
		switch i % 5 {
		case 1:
			put(dir+"/map.yaml", settings("beside", g.value()))
		case 2:
			put(dir+"/kustomization.yaml", "configMapGenerator: [{name: own, envs: [settings.env]}]\n")
		case 3:
			put(dir+"/kustomization.yaml", fmt.Sprintf("resources: [../../bases/b%d, own.yaml]\nnamePrefix: a-\n", i%bases))
		case 4:
			put(dir+"/kustomization.yaml", fmt.Sprintf("resources: [../../bases/b%d, own.yaml]\ncomponents: [../../parts/p%d]\n", i%bases, i/5%bases))
		}
	}
}

// edit makes one change and says what it was. Each that an application reads changes what
// comes out of it.
func (g *garden) edit(into gittest.Files) string {
	i, n := g.random.IntN(manyApps), g.random.IntN(bases)
	var file, text string
	switch g.random.IntN(8) {
	case 0:
		file, text = g.base(n)
	case 1:
		file, text = g.part(n)
	case 2:
		file, text = "README.md", g.value()+"\n"
	case 3:
		file, text = "docs/"+g.value()+".yaml", "not: read\n"
	case 4: // beside what a kustomization names
		file, text = fmt.Sprintf("%s/%s.yaml", appDir(i/5*5+3), g.value()), "not: read\n"
	case 5: // one more manifest in a plain folder
		file, text = appDir(i/5*5)+"/more.yaml", settings("more", g.value())
	case 6: // and it goes again
		for _, name := range slices.Sorted(maps.Keys(g.files)) {
			if strings.HasSuffix(name, "/more.yaml") && g.files[name] != "" && into[name] == "" {
				file = name
			}
		}
		if file == "" {
			file, text = g.own(i)
		}
	default:
		file, text = g.own(i)
	}
	into[file], g.files[file] = text, text
	if text == "" {
		return "deleted " + file
	}
	return "wrote " + file
}
