// Package poll is the safety net behind the webhooks: it looks at the refs that
// Applications read and publishes the same events as a webhook when one moved without
// anybody saying so. In goes the list of watched sources, out come events.
//
// It promises one listing per repository and credential however many Applications share
// it, at the shortest interval that any of them asks for, never less often than the
// ceiling; bounded and jittered load on every host; and that a change is published until
// the queue has it. It refuses to decide what is deployed: an event is a hint, and one
// too many costs a look, never a wrong result.
package poll

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/git"
)

// Watch is one ref of one repository that somebody wants to be told about.
type Watch struct {
	Repo     string // canonical key, events.RepoKey of the URL
	Source   git.Source
	Ref      git.Ref
	Interval time.Duration // zero means the default
}

// Sources is who watches what.
type Sources interface {
	// Watches lists everything watched now; duplicates are welcome.
	Watches(ctx context.Context) []Watch
	// Changed returns a channel that is closed when the list changes after the call.
	Changed() <-chan struct{}
}

// Lister asks a repository for its refs.
type Lister interface {
	List(ctx context.Context, src git.Source) (git.Refs, error)
}

// Publisher stores an event durably. An error means that it may not be stored.
type Publisher interface {
	Publish(ctx context.Context, evs ...events.Event) (duplicate bool, err error)
}

// Known tells what others found out. A wrong answer costs a look too many, except that
// a commit both heard of and fetched is not published again.
type Known interface {
	// Fetched is the commit a worker last fetched for a source; empty when unknown.
	Fetched(src git.Source, ref git.Ref) git.Commit
	// Heard is what was last announced of a ref: the commit, and whether a webhook did
	// it ([Own] tells events of pollers).
	Heard(ctx context.Context, repo, ref string) (commit string, webhook bool)
}

// Config is what a Poller needs. Zero numbers mean the defaults.
type Config struct {
	Sources   Sources
	Lister    Lister
	Publisher Publisher
	Known     Known // nil when nothing is known

	// Interval is used where a Watch has none. Default 5 m.
	Interval time.Duration
	// MinInterval and MaxInterval bound what Watches ask for. Default 1 s and 10 m.
	MinInterval, MaxInterval time.Duration
	// AtOnce and AtOncePerHost bound listings in flight. Default 8 and 4.
	AtOnce, AtOncePerHost int
	// Seed makes the jitter repeatable; zero takes a random one.
	Seed uint64

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	c.MinInterval = cmp.Or(c.MinInterval, time.Second)
	c.MaxInterval = cmp.Or(c.MaxInterval, 10*time.Minute)
	c.Interval = cmp.Or(c.Interval, 5*time.Minute)
	c.AtOnce = cmp.Or(c.AtOnce, 8)
	c.AtOncePerHost = cmp.Or(c.AtOncePerHost, 4)
	c.Seed = cmp.Or(c.Seed, rand.Uint64())
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Poller looks at sources. Make one with New.
type Poller struct {
	cfg    Config
	log    *slog.Logger
	jitter *rand.Rand // used by Run's goroutine only
	missed *prometheus.CounterVec

	mu     sync.Mutex // guards what follows
	groups map[string]*group
	refs   map[refKey]*ref
	recent map[string]time.Time // ids published lately
}

// group is one repository as one credential sees it: the unit that is listed.
type group struct {
	repo     string
	source   git.Source
	interval time.Duration
	wanted   []git.Ref // sorted by name

	next     time.Time
	running  bool
	failures int
	pause    time.Duration // how long the server asked to be left alone
	unsent   bool          // the queue refused an event
	problem  string        // the error that was logged
}

// refKey is a ref as it is asked for, "HEAD" and version ranges included.
type refKey struct{ repo, ref string }

// ref is what was last seen of one.
type ref struct {
	seen    bool
	head    git.Head // zero while the ref does not exist
	hooked  bool     // a webhook announced it at some time
	checked time.Time
	err     error
}

// sender is the metric label: a poll cannot tell which product should have posted.
const sender = "git"

// New returns a Poller that does nothing before Run.
func New(cfg Config) *Poller {
	cfg = cfg.withDefaults()
	p := &Poller{
		cfg:    cfg,
		log:    cfg.Logger.With("part", "poll"),
		jitter: rand.New(rand.NewPCG(cfg.Seed, 0)), //nolint:gosec // spreads load, guards nothing
		missed: promauto.With(cfg.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "tradewind_webhook_missed_total",
			Help: "Changes found by polling that a webhook should have announced.",
		}, []string{"sender"}),
		groups: map[string]*group{},
		refs:   map[refKey]*ref{},
		recent: map[string]time.Time{},
	}
	p.missed.WithLabelValues(sender)
	return p
}

// State is what is known of one watched ref.
type State struct {
	Repo   string
	Ref    string // as asked for
	Head   string // full name it stands for; empty while it does not exist
	Commit git.Commit
	// Checked is when the server last answered; zero before the first time.
	Checked time.Time
	// Err is why the last look failed, nil when it did not.
	Err error
}

// States lists every watched ref, sorted by repository and ref.
func (p *Poller) States() []State {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]State, 0, len(p.refs))
	for k, r := range p.refs {
		out = append(out, State{k.repo, k.ref, r.head.Ref, r.head.Commit, r.checked, r.err})
	}
	slices.SortFunc(out, func(a, b State) int { return cmp.Or(cmp.Compare(a.Repo, b.Repo), cmp.Compare(a.Ref, b.Ref)) })
	return out
}
