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
	"fmt"
	"log/slog"
	"strings"
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

// peer is a session as seen from here.
type peer struct {
	seq   uint64    // of its newest record; 0 when it has none
	since time.Time // when that was first seen
	dead  bool
}

// dead reports whether the session id is known never to write again.
func (l *Leases) dead(id string) bool {
	if l.cfg.Sole && !strings.HasPrefix(id, l.life+"-") {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peers[id]
	if p == nil {
		p = &peer{since: time.Now()}
		l.peers[id] = p
	}
	return p.dead
}

// watch looks at all sessions again and again, buries those that do not change, and hands
// back the keys of the dead.
func (l *Leases) watch() {
	tick := time.NewTicker(l.cfg.Renew)
	defer tick.Stop()
	quiet := false // one line per disturbance
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		case <-l.kick:
		}
		err := l.look(l.ctx)
		if err != nil && l.ctx.Err() == nil && !quiet {
			l.log.Warn("sessions unreadable", "err", err)
		}
		quiet = err != nil
	}
}

const (
	lookTimeout  = 5 * time.Second
	sweepTimeout = time.Minute
)

func (l *Leases) look(ctx context.Context) error {
	if err := l.reap(ctx); err != nil {
		return err
	}
	if !l.sweepDue(time.Now()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	left, err := l.handBack(ctx)
	if err != nil {
		l.wantSweep(0)
	} else if left > 0 {
		// Handing back trusts in an entry that is there already, and a request of the
		// dead one to remove it may still be under way. So again, until they are claimed.
		l.wantSweep(l.cfg.Dead)
	}
	return err
}

func (l *Leases) sweepDue(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sweep.IsZero() || now.Before(l.sweep) {
		return false
	}
	l.sweep = time.Time{}
	return true
}

func (l *Leases) wantSweep(in time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := time.Now().Add(in); l.sweep.IsZero() || at.Before(l.sweep) {
		l.sweep = at
	}
}

func (l *Leases) reap(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	all, err := l.sessions(ctx)
	if err != nil {
		return err
	}
	for _, suspect := range l.compare(all, time.Now()) {
		if err := l.bury(ctx, suspect.id, suspect.seq); err != nil {
			return err
		}
	}
	return nil
}

// sessions reads the newest record of every session.
func (l *Leases) sessions(ctx context.Context) ([]found, error) {
	var all []found
	for next := uint64(1); ; {
		msg, err := l.alive.GetMsg(ctx, next, jetstream.WithGetMsgSubject(layout.AllSessions))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading sessions: %w", err)
		}
		next = msg.Sequence + 1
		rec, err := decodeSession(msg.Data)
		if err != nil {
			continue // nothing refers to a session without an id
		}
		all = append(all, found{sessionRecord: rec, seq: msg.Sequence})
	}
}

type found struct {
	sessionRecord
	seq uint64
}

type suspect struct {
	id  string
	seq uint64
}

const forgetDead = time.Hour

// compare updates the view and returns the sessions that have not changed for too long.
func (l *Leases) compare(all []found, now time.Time) []suspect {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{}
	for _, f := range all {
		seen[f.ID] = true
		p := l.peers[f.ID]
		if p == nil {
			p = &peer{}
			l.peers[f.ID] = p
		}
		if p.seq != f.seq {
			p.seq, p.since = f.seq, now
		}
		if f.Dead && !p.dead {
			p.dead = true
			if !f.Clean {
				l.sweep = now
			}
		}
	}
	var suspects []suspect
	for id, p := range l.peers {
		if !seen[id] && p.seq != 0 {
			p.seq, p.since = 0, now
		}
		switch age := now.Sub(p.since); {
		case p.dead && age > forgetDead:
			delete(l.peers, id)
		case !p.dead && age >= l.cfg.Dead:
			suspects = append(suspects, suspect{id, p.seq})
		}
	}
	return suspects
}

// bury makes a silent session dead for everybody, itself included: its next renewal is
// refused. If it has renewed meanwhile, this is refused instead.
func (l *Leases) bury(ctx context.Context, id string, seq uint64) error {
	_, err := l.js.Publish(ctx, layout.Session(id), encode(sessionRecord{V: version, ID: id, Dead: true}),
		jetstream.WithExpectLastSequencePerSubject(seq), jetstream.WithMsgTTL(tombstoneTTL))
	if wrongSequence(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("declaring a session dead: %w", err)
	}
	l.log.Warn("worker died", "reason", "its session was silent for "+l.cfg.Dead.String())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers[id] = &peer{since: time.Now(), dead: true}
	l.sweep = time.Now()
	return nil
}

// handBack reports the key of every claim whose session is dead, and counts them. The
// claim itself stays: the next one on the key overwrites it and counts the crash.
func (l *Leases) handBack(ctx context.Context) (left int, err error) {
	err = layout.Scan(ctx, l.claims, layout.AllClaims, func(_ string, _ uint64, _ time.Time, data []byte) error {
		rec, err := decodeClaim(data)
		if err != nil || rec.Session == "" || !l.dead(rec.Session) {
			return nil //nolint:nilerr // an unreadable claim is met, and reported, by the next one on its key
		}
		left++
		if err := l.orphan(ctx, rec.State); err != nil {
			return fmt.Errorf("handing back key %s: %w", rec.Key, err)
		}
		return nil
	})
	return left, err
}
