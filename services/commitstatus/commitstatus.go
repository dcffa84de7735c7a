// Package commitstatus says beside a commit what became of it: pending while an
// Application is brought to it, success when it is healthy there, failure with the reason
// when it cannot be. In goes how Applications stand, out come commit statuses at the forge
// of their repository, and of the repository that an image says it was built from.
//
// It promises one status per commit and Application, said again only when it changes. It
// refuses to be in anybody's way: what a token may not do is reported once and then left
// alone, and nothing waits for a forge.
package commitstatus

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// Cluster is where Applications and tokens are.
type Cluster interface {
	Application(namespace, name string) (app *oam.Application, found bool, err error)
	SecretData(ctx context.Context, namespace, name string) (map[string][]byte, error)
}

// Forge is where statuses are set.
type Forge interface {
	Knows(url string) bool
	SetStatus(ctx context.Context, r forge.Repo, s forge.Status) error
}

// Reports takes what people should know.
type Reports interface {
	Report(ctx context.Context, o events.Outcome) error
}

// Config is what a Teller is made of.
type Config struct {
	Cluster Cluster
	Forge   Forge
	Reports Reports
	Logger  *slog.Logger
}

// Teller sets commit statuses. It is safe for concurrent use.
type Teller struct {
	cfg    Config
	log    *slog.Logger
	now    func() time.Time
	signal chan struct{}

	mu     sync.Mutex // guards what follows
	stands map[string]standing
	due    map[place]saying
	said   map[place]forge.Status
	denied map[string]time.Time // Secret and repository, and when
}

// standing is how an Application was last.
type standing struct {
	sources []oam.Source
	state   forge.State
	text    string
}

// place is where something is said: an Application has one word for each repository.
type place struct{ app, repo string }

// saying is what is to be said, with whose token.
type saying struct {
	forge.Status
	secret string // namespace/name
	tries  int
	after  time.Time
}

// New returns a Teller that has said nothing.
func New(cfg Config) *Teller {
	return &Teller{
		cfg: cfg, log: cfg.Logger.With("part", "commitstatus"), now: time.Now, signal: make(chan struct{}, 1),
		stands: map[string]standing{}, due: map[place]saying{}, said: map[place]forge.Status{}, denied: map[string]time.Time{},
	}
}

// Tell notes how an Application stands with the commits of its sources. It does not
// block.
func (t *Teller) Tell(app *oam.Application, sources []oam.Source, state forge.State, text string) {
	name := app.Namespace + "/" + app.Name
	now := standing{slices.Clone(sources), state, text}
	t.mu.Lock()
	t.stands[name] = now
	t.mu.Unlock()
	// Images are written by somebody else, maybe a moment ago.
	if fresh, found, _ := t.cfg.Cluster.Application(app.Namespace, app.Name); found {
		t.queue(app, now, fresh.Status.Images)
	}
}

// OnApplication says of the source of an image that was written just now what was said of
// the Application, and forgets Applications that are gone.
func (t *Teller) OnApplication(before, after *oam.Application) {
	switch {
	case after == nil:
		t.forget(before.Namespace + "/" + before.Name)
	case before != nil && !slices.EqualFunc(before.Status.Images, after.Status.Images, sameOrigin):
		t.mu.Lock()
		now, ok := t.stands[after.Namespace+"/"+after.Name]
		t.mu.Unlock()
		if ok {
			t.queue(after, now, after.Status.Images)
		}
	}
}

func sameOrigin(a, b oam.Image) bool { return a.Revision == b.Revision && a.Source == b.Source }

func (t *Teller) forget(app string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.stands, app)
	for at := range t.said {
		if at.app == app {
			delete(t.said, at)
		}
	}
}

// queue finds out where something is to be said.
func (t *Teller) queue(app *oam.Application, now standing, images []oam.Image) {
	name := app.Namespace + "/" + app.Name
	for _, c := range app.Spec.Components {
		src, err := render.SourceOf(c)
		if err != nil || src == nil || !t.cfg.Forge.Knows(src.URL) {
			continue
		}
		secret := cmp.Or(tokenSecret(c), src.SecretName)
		if secret == "" {
			continue
		}
		secret = app.Namespace + "/" + secret
		say := func(repo, commit string) {
			if len(commit) >= fullCommit {
				t.add(place{name, repo}, saying{secret: secret, Status: forge.Status{
					Commit: commit, Context: "tradewind/" + name, State: now.state, Text: now.text,
				}})
			}
		}
		for _, s := range now.sources {
			if s.Component == c.Name && s.URL == src.URL {
				say(s.URL, s.Commit)
			}
		}
		for _, i := range images {
			if i.Component == c.Name && i.Current == i.Committed && sameHost(i.Source, src.URL) {
				say(i.Source, i.Revision)
			}
		}
	}
}

// fullCommit is the length of a commit that is not abbreviated.
const fullCommit = 40

// tokenSecret is imageRepository.tokenSecretRef.
func tokenSecret(c oam.Component) string {
	images, _ := c.Properties["imageRepository"].(map[string]any)
	name, _ := images["tokenSecretRef"].(string)
	return name
}

// sameHost keeps a token where it belongs: anybody who can push an image can name a source.
func sameHost(a, b string) bool {
	hostOf := func(url string) string {
		key, err := events.RepoKey(url)
		if err != nil {
			return ""
		}
		host, _, _ := strings.Cut(key, "/")
		return host
	}
	return hostOf(a) != "" && hostOf(a) == hostOf(b)
}
