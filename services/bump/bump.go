// Package bump writes pushed images into Git. In goes the news of a tag, or the time to
// ask a registry, out comes at most one commit per branch in which nothing but marked
// scalars changed, and the look at the Applications that follows from it.
//
// It promises one writer per repository and branch: whoever holds the branch's key works
// for every policy of every Application that writes there. A push is never forced; when
// somebody else was first, everything is decided anew on what they pushed. Deciding twice
// gives the same, so there is no second commit: what is wanted is compared with what is in
// Git, not with what was done before.
//
// It refuses to believe an event: a tag counts when the registry has it. And it refuses to
// argue with people: a tag that somebody took out again is not written a second time.
package bump

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Queue is what a Bumper asks of the line that drives it.
type Queue interface {
	Trigger(ctx context.Context, t events.Trigger) error
	TriggerAt(ctx context.Context, t events.Trigger, at time.Time) error
	// Announced returns the tags announced of an image after a mark, and the next mark.
	Announced(ctx context.Context, imageKey string, after uint64) ([]Announcement, uint64, error)
	Report(ctx context.Context, o events.Outcome) error
}

// Publisher stores events durably, as the gateway does.
type Publisher interface {
	Publish(ctx context.Context, evs ...events.Event) (duplicate bool, err error)
}

// Announcement is a tag that an event said was pushed.
type Announcement struct {
	Tag, Event string
	Time       time.Time
}

// Cluster is where Applications and Secrets are.
type Cluster interface {
	Application(namespace, name string) (app *oam.Application, found bool, err error)
	SecretData(ctx context.Context, namespace, name string) (map[string][]byte, error)
	// WriteImages replaces what the status says of an Application's images.
	WriteImages(ctx context.Context, namespace, name string, images []oam.Image) error
}

// Registry is where images are.
type Registry interface {
	Head(ctx context.Context, image registry.Image, tag string, keys registry.Keychain) (digest string, err error)
	Tags(ctx context.Context, image registry.Image, keys registry.Keychain, known registry.Known) (registry.Listing, error)
	// Origin is what an image says of where it comes from.
	Origin(ctx context.Context, image registry.Image, tag string, keys registry.Keychain) (registry.Origin, error)
}

// Forge is what stands around the repositories.
type Forge interface {
	// Knows reports whether the forge of a repository can be asked.
	Knows(url string) bool
	Propose(ctx context.Context, r forge.Repo, p forge.Proposal) (url string, err error)
	Descends(ctx context.Context, r forge.Repo, ancestor, commit string) (bool, error)
}

// Repositories is where configuration is.
type Repositories interface {
	Fetch(ctx context.Context, src git.Source, ref git.Ref) (*git.Tree, error)
	Commit(ctx context.Context, src git.Source, on *git.Tree, e git.Edit) (*git.Tree, error)
}

// Job is one look at one branch.
type Job struct {
	events.Trigger
	// Check says whether this worker may still write.
	Check func(context.Context) error
}

// Config is what a Bumper is made of.
type Config struct {
	Cluster      Cluster
	Repositories Repositories
	Registry     Registry
	Forge        Forge
	Queue        Queue
	Publisher    Publisher
	// Author of the commits, and their committer. Default kubevelabot.
	Author git.Person
	// Window is for how long images are gathered: a branch that was quiet gets its commit
	// at once, while commits follow each other one is made when nothing more came for
	// twice this, then four times, at most 2 s. Default 100 ms.
	Window time.Duration

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Bumper looks at branches. It is safe for concurrent use; one branch is looked at by one
// job at a time.
type Bumper struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time

	index   *index
	secrets *secrets
	images  *images
	wakes   *wakes

	mu       sync.Mutex // guards branches and what is in them but for scanned
	branches map[events.Key]*branch
}

// branch is what a worker remembers of one. It may be lost at any time.
type branch struct {
	pushed  git.Commit // the last commit of ours
	at      time.Time  // when it was pushed
	inBurst int        // commits that followed each other
	scanned map[string]scanned
}

// New returns a Bumper that knows no Applications yet; see [Bumper.OnApplication].
func New(cfg Config) *Bumper {
	cfg.Window = cmp.Or(cfg.Window, 100*time.Millisecond)
	cfg.Author = cmp.Or(cfg.Author, git.Person{Name: "kubevelabot", Email: "kubevelabot@users.noreply.github.com"})
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Bumper{
		cfg: cfg, log: cfg.Logger.With("part", "bump"), metrics: newMetrics(cfg.Registerer), now: time.Now,
		index: newIndex(), secrets: newSecrets(cfg.Cluster), images: newImages(), wakes: newWakes(), branches: map[events.Key]*branch{},
	}
}

func (b *Bumper) branch(key events.Key) *branch {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.branches[key] == nil {
		b.branches[key] = &branch{scanned: map[string]scanned{}}
	}
	return b.branches[key]
}

// hintOf is what to do about an error, when the package it came from knows.
func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}
