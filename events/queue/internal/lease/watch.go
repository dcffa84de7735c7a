package lease

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

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
