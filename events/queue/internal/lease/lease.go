// Package lease says who works on a key. A worker holds a session, which it renews, and
// claims keys under it; a claim's sequence in its stream is the fencing token. In go the
// streams, out come sessions, claims and, through a callback, the keys whose worker died.
// It promises that of two live sessions at most one holds a key, and that a session once
// declared dead never comes back. It compares no clocks of different hosts: death is the
// absence of change, timed by the one who watches.
package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

// Errors that callers tell apart.
var (
	// ErrBusy says that a session that may live works on the key.
	ErrBusy = errors.New("somebody works on it")
	// ErrLost says that the session or the claim is no longer ours; stop writing.
	ErrLost = errors.New("the claim is no longer ours")
)

// Config times the sessions: Renew < Stop < Dead.
type Config struct {
	Renew time.Duration // how often a session shows that it lives
	Stop  time.Duration // after which, without showing it, it stops its own runs
	Dead  time.Duration // after which others take its keys
	// Sole says that this process alone can use the streams, so that every session of
	// another process is known to be dead.
	Sole bool
}

// Leases is one process's view of who works on what.
type Leases struct {
	cfg    Config
	js     jetstream.JetStream
	claims jetstream.Stream
	alive  jetstream.Stream
	log    *slog.Logger
	orphan func(context.Context, State) error
	life   string // prefix of the ids of this process's sessions

	ctx    context.Context // ends the watch; set once
	cancel context.CancelFunc
	wg     sync.WaitGroup
	kick   chan struct{}
	start  sync.Once

	mu    sync.Mutex // guards the maps; never held during a request
	held  map[events.Key]*Claim
	peers map[string]*peer
	sweep time.Time // when keys of the dead are next to be handed back; zero is never
}

// New prepares leases on the streams st. The callback orphan is told of each key whose
// worker died, possibly more than once.
func New(js jetstream.JetStream, st *layout.Streams, cfg Config, log *slog.Logger, orphan func(context.Context, State) error) *Leases {
	ctx, cancel := context.WithCancel(context.Background())
	return &Leases{
		cfg: cfg, js: js, claims: st.Claims, alive: st.Sessions, log: log, orphan: orphan,
		life: rand.Text()[:8], ctx: ctx, cancel: cancel, kick: make(chan struct{}, 1),
		held: map[events.Key]*Claim{}, peers: map[string]*peer{},
	}
}

// Close ends the watch over other sessions.
func (l *Leases) Close() {
	l.cancel()
	l.wg.Wait()
}

// Holder returns a channel that is closed when this process's claim on key ends; nil when
// this process holds none.
func (l *Leases) Holder(key events.Key) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.held[key]; c != nil {
		return c.done
	}
	return nil
}

func (l *Leases) hold(c *Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[c.key] != nil {
		return false
	}
	l.held[c.key] = c
	return true
}

func (l *Leases) drop(c *Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[c.key] == c {
		delete(l.held, c.key)
		close(c.done)
	}
}
