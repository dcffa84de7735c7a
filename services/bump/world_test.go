package bump

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// tags is a registry: the tags of each image by its key.
type tags struct {
	mu    sync.Mutex
	known map[string][]string
	err   error
	heads int
	lists int

	built   map[string]string // commit of a tag
	source  string            // where they all are
	origins int               // asked for
}

func (r *tags) push(image string, list ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[image] = append(r.known[image], list...)
}

func (r *tags) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *tags) asked() (heads, lists int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	heads, lists = r.heads, r.lists
	r.heads, r.lists = 0, 0
	return heads, lists
}

func (r *tags) Head(_ context.Context, image registry.Image, tag string, _ registry.Keychain) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heads++
	if r.err != nil {
		return "", r.err
	}
	if !slices.Contains(r.known[image.Key()], tag) {
		return "", &registry.Error{Kind: registry.NotFound, Op: "looking up", Image: image, Tag: tag}
	}
	return "sha256:" + strings.Repeat("0", 64-len(tag)%8) + strings.Repeat("a", len(tag)%8), nil
}

func (r *tags) Tags(_ context.Context, image registry.Image, _ registry.Keychain, _ registry.Known) (registry.Listing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	return registry.Listing{Tags: slices.Clone(r.known[image.Key()])}, r.err
}

func (r *tags) Origin(_ context.Context, image registry.Image, tag string, _ registry.Keychain) (registry.Origin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.origins++
	return registry.Origin{Commit: r.built[tag], Source: r.source}, nil
}

// hub is a forge with one repository, whose pull requests are only asked for.
type hub struct {
	mu       sync.Mutex
	proposed []forge.Proposal
	err      error
	history  []string // oldest first
}

func (h *hub) Knows(string) bool { return true }

func (h *hub) Propose(_ context.Context, r forge.Repo, p forge.Proposal) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return "", h.err
	}
	if r.Token != "secret" {
		return "", fmt.Errorf("token %q", r.Token)
	}
	h.proposed = append(h.proposed, p)
	return "https://forge.example/pulls/1", nil
}

func (h *hub) Descends(_ context.Context, _ forge.Repo, ancestor, commit string) (bool, error) {
	a, c := slices.Index(h.history, ancestor), slices.Index(h.history, commit)
	return a >= 0 && a <= c, nil
}

// cluster holds Applications as a watch would.
type cluster struct {
	mu      sync.Mutex
	apps    map[string]*oam.Application
	secrets map[string]map[string][]byte
}

func (c *cluster) Application(namespace, name string) (*oam.Application, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	app, ok := c.apps[namespace+"/"+name]
	if !ok {
		return nil, false, nil
	}
	return app.DeepCopy(), true, nil
}

func (c *cluster) SecretData(_ context.Context, namespace, name string) (map[string][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, ok := c.secrets[namespace+"/"+name]
	if !ok {
		return nil, fmt.Errorf("it does not exist")
	}
	return maps.Clone(data), nil
}

func (c *cluster) WriteImages(_ context.Context, namespace, name string, images []oam.Image) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apps[namespace+"/"+name].Status.Images = images
	return nil
}

// line is the queue and its intake.
type line struct {
	mu        sync.Mutex
	announced map[string][]Announcement
	published []events.Event
	outcomes  []events.Outcome
	timer     time.Time
}

func (l *line) Trigger(context.Context, events.Trigger) error { return nil }

func (l *line) TriggerAt(_ context.Context, _ events.Trigger, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = at
	return nil
}

func (l *line) Announced(_ context.Context, image string, after uint64) ([]Announcement, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.announced[image]
	return slices.Clone(all[min(int(after), len(all)):]), uint64(len(all)), nil
}

func (l *line) Report(_ context.Context, o events.Outcome) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes = append(l.outcomes, o)
	return nil
}

func (l *line) Publish(_ context.Context, evs ...events.Event) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published = append(l.published, evs...)
	return false, nil
}

// reasons are those of the outcomes since the last call.
func (l *line) reasons() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, o := range l.outcomes {
		out = append(out, o.Reason)
	}
	l.outcomes = nil
	return out
}

// world is a Bumper between a real Git server and the fakes above.
type world struct {
	*Bumper
	tb    testing.TB
	repo  *gittest.Repo
	tags  *tags
	apps  *cluster
	queue *line
	forge *hub
	key   events.Key
}

const shop = "r.example/acme/shop"

func newWorld(tb testing.TB, files gittest.Files) *world {
	tb.Helper()
	server := gittest.NewServer(tb)
	repo := server.NewRepo(tb, "config.git")
	repo.Git(tb, nil, "config", "http.receivepack", "true")
	repo.Commit(tb, "main", files)
	w := &world{
		tb: tb, repo: repo, tags: &tags{known: map[string][]string{}},
		apps: &cluster{apps: map[string]*oam.Application{}, secrets: map[string]map[string][]byte{}}, queue: &line{announced: map[string][]Announcement{}}, forge: &hub{},
	}
	repoKey, err := events.RepoKey(repo.URL)
	if err != nil {
		tb.Fatal(err)
	}
	w.key = events.BranchKey(repoKey, "main")
	mirrors := git.NewMirrors(git.Config{
		InsecureHosts: []string{server.Host()}, AllowedHosts: []string{server.Host()}, AllowedRanges: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	tb.Cleanup(mirrors.Close)
	w.Bumper = New(Config{
		Cluster: w.apps, Repositories: mirrors, Registry: w.tags, Forge: w.forge, Queue: w.queue, Publisher: w.queue,
		Window: time.Millisecond, Registerer: prometheus.NewRegistry(),
	})
	return w
}

// app makes an Application whose component follows the image by semantic versions; change
// changes its imageRepository.
func (w *world) app(name, image, path string, change func(map[string]any)) {
	w.tb.Helper()
	secret := ""
	if w.apps.secrets["default/bot"] != nil {
		secret = "bot"
	}
	automation := map[string]any{
		"image": image, "policy": map[string]any{"semver": map[string]any{"range": ">=1.0.0"}},
		"commitMessage": "Image: {{range .Updated.Images}}{{println .}}{{end}}",
	}
	if change != nil {
		change(automation)
	}
	app := &oam.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Generation: 1},
		Spec: oam.Spec{Components: []oam.Component{{Name: name, Type: "kustomize", Properties: map[string]any{
			"repoType": "git", "url": w.repo.URL, "secretRef": secret, "path": path, "git": map[string]any{"branch": "main"}, "imageRepository": automation,
		}}}},
	}
	w.apps.mu.Lock()
	if old := w.apps.apps["default/"+name]; old != nil {
		app.Status, app.Generation = old.Status, old.Generation+1
	}
	w.apps.apps["default/"+name] = app
	w.apps.mu.Unlock()
	w.OnApplication(nil, app)
}

// announce pushes tags to the registry and tells of them.
func (w *world) announce(image string, list ...string) {
	w.tags.push(image, list...)
	w.hear(image, list...)
}

// hear tells of tags, pushed or not.
func (w *world) hear(image string, list ...string) {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	for _, tag := range list {
		w.queue.announced[image] = append(w.queue.announced[image], Announcement{Tag: tag, Time: time.Now()})
	}
}

func (w *world) look(cause events.Cause) error {
	w.tb.Helper()
	return w.Run(w.tb.Context(), Job{
		Trigger: events.Trigger{Key: w.key, Cause: cause, Time: time.Now()}, Check: func(context.Context) error { return nil },
	})
}

// must looks and wants no error.
func (w *world) must(cause events.Cause) {
	w.tb.Helper()
	if err := w.look(cause); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) file(path string) string { return w.repo.Git(w.tb, nil, "show", "main:"+path) }
func (w *world) commits() string         { return w.repo.Git(w.tb, nil, "rev-list", "--count", "main") }

func (w *world) image(app string) oam.Image {
	w.tb.Helper()
	found, _, _ := w.apps.Application("default", app)
	if len(found.Status.Images) != 1 {
		w.tb.Fatalf("%s has %d images in its status", app, len(found.Status.Images))
	}
	return found.Status.Images[0]
}

func marked(app, image, tag string) string {
	return fmt.Sprintf("# keep\nimage:   %s:%s  # {\"$imagepolicy\": \"default:%s\"}\nother: [1,\n  2]\n", image, tag, app)
}
