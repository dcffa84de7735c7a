package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

const (
	swapTimeout  = 2 * time.Second
	swapBackoff  = 5 * time.Millisecond
	swapSlowest  = 500 * time.Millisecond
	staleReads   = 12 // in a row, about 4 s, before a record is believed to be gone
	forgetFreeIn = 24 * time.Hour
)

// Claim is the right to work on a key.
type Claim struct {
	s     *Session
	key   events.Key
	token uint64
	state State
	done  chan struct{}
}

// Token is the fencing token: it grows with every claim on any key.
func (c *Claim) Token() uint64 { return c.token }

// State is what is known of the key, this run counted.
func (c *Claim) State() State { return c.state }

// Claim takes the key of t for this session and counts the attempt, before any work is
// done on it. [ErrBusy] says that the key has a worker.
func (s *Session) Claim(ctx context.Context, t events.Trigger) (*Claim, error) {
	c := &Claim{s: s, key: t.Key, done: make(chan struct{})}
	if !s.l.hold(c) {
		return nil, ErrBusy
	}
	if err := c.take(ctx, t); err != nil {
		s.l.drop(c)
		return nil, err
	}
	return c, nil
}

func (c *Claim) take(ctx context.Context, t events.Trigger) error {
	s := c.s
	seq, prior, err := s.l.read(ctx, c.key)
	if err != nil {
		return err
	}
	c.state = prior.State
	switch {
	case prior.Session == "" || prior.Session == s.id:
		// Nobody's, or our own from an answer that got lost before any run began.
	case s.l.dead(prior.Session):
		c.state.Crashes++
	default:
		return ErrBusy
	}
	if s.ctx.Err() != nil {
		return ErrLost
	}
	c.state.Attempt++
	c.state.Trigger = t
	rec := claimRecord{V: version, Key: c.key, Session: s.id, Nonce: rand.Text(), State: c.state}
	// Until the session ends, not until the caller loses patience: a claim that may have
	// landed and is not known of would keep others out.
	c.token, err = s.l.swap(s.ctx, rec, seq)
	if errors.Is(err, ErrLost) {
		return ErrBusy // another was faster
	}
	return err
}

// Check reports whether the claim is still ours, by the token; [ErrLost] if not.
func (c *Claim) Check(ctx context.Context) error {
	for try := 0; ; try++ {
		if c.s.ctx.Err() != nil {
			return ErrLost
		}
		seq, _, err := c.s.l.read(ctx, c.key)
		switch {
		case err != nil:
			return fmt.Errorf("checking the claim on %s: %w", c.key, err)
		case seq == c.token:
			return nil
		case seq > c.token || try == staleReads:
			return ErrLost
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// Release gives the key up and leaves st for the next claim. It tries until ctx ends.
// [ErrLost] says that somebody had taken the key over.
func (c *Claim) Release(ctx context.Context, st State) error {
	_, err := c.s.l.swap(ctx, claimRecord{V: version, Key: c.key, Nonce: rand.Text(), State: st}, c.token)
	if err != nil && !errors.Is(err, ErrLost) {
		c.Leave()
		return err
	}
	c.s.l.drop(c)
	return err
}

// Leave ends the claim for this process without releasing it: whoever finds the session
// dead hands the key back.
func (c *Claim) Leave() {
	c.s.dirty.Store(true)
	c.s.l.drop(c)
}

// read returns the key's record and its sequence, zero without one. It is the answer of
// a server that may be behind.
func (l *Leases) read(ctx context.Context, key events.Key) (uint64, claimRecord, error) {
	msg, err := l.claims.GetLastMsgForSubject(ctx, layout.Claim(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, claimRecord{}, nil
	}
	if err != nil {
		return 0, claimRecord{}, fmt.Errorf("reading the claim on %s: %w", key, err)
	}
	rec, err := decodeClaim(msg.Data)
	if errors.Is(err, errNewer) {
		return 0, claimRecord{}, fmt.Errorf("%w: its claim was written by a newer version", ErrBusy)
	}
	if err != nil {
		l.log.Error("claim unreadable, starting over", "key", string(key), "err", err)
		rec = claimRecord{}
	}
	return msg.Sequence, rec, nil
}

// swap replaces the record at sequence expect. An answer that does not come, or says no,
// is settled by reading: our nonce there means it landed.
func (l *Leases) swap(ctx context.Context, rec claimRecord, expect uint64) (uint64, error) {
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(expect)}
	if rec.Session == "" && rec.State == (State{}) {
		opts = append(opts, jetstream.WithMsgTTL(forgetFreeIn))
	}
	stale := 0
	for try := 0; ; try++ {
		seq, err := l.put(ctx, rec, opts)
		if err == nil {
			return seq, nil
		}
		seq, have, readErr := l.read(ctx, rec.Key)
		switch {
		case readErr != nil: // neither landed nor refused, as far as we know
		case seq > expect && have.Nonce == rec.Nonce:
			return seq, nil
		case seq > expect:
			return 0, ErrLost
		case seq < expect:
			if stale++; stale > staleReads || rec.Session != "" {
				return 0, ErrLost // the record is gone; a claim is better tried anew
			}
		}
		if pauseErr := pause(ctx, try); pauseErr != nil {
			return 0, fmt.Errorf("writing the claim on %s: %w", rec.Key, err)
		}
	}
}

func (l *Leases) put(ctx context.Context, rec claimRecord, opts []jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, swapTimeout)
	defer cancel()
	ack, err := l.js.Publish(ctx, layout.Claim(rec.Key), encode(rec), opts...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// pause waits a little, longer with every try.
func pause(ctx context.Context, try int) error {
	timer := time.NewTimer(min(swapBackoff<<min(try, 10), swapSlowest))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
