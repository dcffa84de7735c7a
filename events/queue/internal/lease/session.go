package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

const (
	// tombstoneTTL outlives every worker that could still believe in the session.
	tombstoneTTL = 10 * time.Minute
	renewTimeout = time.Second
)

// Session is a worker's licence to hold claims.
type Session struct {
	l      *Leases
	id     string
	seq    uint64 // of the newest own record; owned by keep after Open
	ctx    context.Context
	cancel context.CancelCauseFunc
	kept   chan struct{} // closed when keep has ended
	dirty  atomic.Bool   // a claim was left behind
}

// Open begins a session and keeps it until Close, or until it is lost.
func (l *Leases) Open(ctx context.Context) (*Session, error) {
	s := &Session{l: l, id: l.life + "-" + rand.Text(), kept: make(chan struct{})}
	ack, err := l.js.Publish(ctx, layout.Session(s.id), encode(sessionRecord{V: version, ID: s.id}),
		jetstream.WithExpectLastSequencePerSubject(0))
	if err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	s.seq = ack.Sequence
	s.ctx, s.cancel = context.WithCancelCause(l.ctx)
	go s.keep(time.Now())
	// Keys of workers that died while nobody watched are found now.
	l.wantSweep(0)
	l.start.Do(func() { l.wg.Go(l.watch) })
	select {
	case l.kick <- struct{}{}:
	default: // a look is due already
	}
	return s, nil
}

// Lost is done when the session has ended; its cause is [ErrLost] unless it was closed.
func (s *Session) Lost() context.Context { return s.ctx }

// keep renews the session. What counts as renewed is the moment before a renewal was
// sent, so that others always wait longer than we go on.
func (s *Session) keep(renewed time.Time) {
	defer close(s.kept)
	stop := time.AfterFunc(s.l.cfg.Stop-time.Since(renewed), func() { s.cancel(ErrLost) })
	defer stop.Stop()
	tick := time.NewTicker(s.l.cfg.Renew)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		sent := time.Now()
		switch err := s.renew(); {
		case err == nil:
			stop.Reset(s.l.cfg.Stop - time.Since(sent))
		case errors.Is(err, ErrLost):
			s.cancel(ErrLost)
			return
		}
	}
}

func (s *Session) renew() error {
	ctx, cancel := context.WithTimeout(s.ctx, renewTimeout)
	defer cancel()
	ack, err := s.l.js.Publish(ctx, layout.Session(s.id), encode(sessionRecord{V: version, ID: s.id}),
		jetstream.WithExpectLastSequencePerSubject(s.seq))
	if err == nil {
		s.seq = ack.Sequence
		return nil
	}
	if !wrongSequence(err) {
		return err
	}
	// Either an earlier renewal landed without telling, or we were buried.
	msg, err := s.l.alive.GetLastMsgForSubject(ctx, layout.Session(s.id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return ErrLost // the servers forgot all sessions
	}
	if err != nil {
		return err
	}
	rec, err := decodeSession(msg.Data)
	if err != nil || rec.Dead || rec.ID != s.id {
		return ErrLost
	}
	if msg.Sequence > s.seq {
		s.seq = msg.Sequence
	}
	return errors.New("a renewal is to be repeated")
}

// Close ends the session for everybody, so that nobody waits for its death. Call it when
// no claim is left.
func (s *Session) Close(ctx context.Context) error {
	s.cancel(context.Canceled)
	<-s.kept
	s.l.mu.Lock()
	clean := !s.dirty.Load()
	for _, c := range s.l.held {
		clean = clean && c.s != s
	}
	s.l.mu.Unlock()
	_, err := s.l.js.Publish(ctx, layout.Session(s.id),
		encode(sessionRecord{V: version, ID: s.id, Dead: true, Clean: clean}),
		jetstream.WithExpectLastSequencePerSubject(s.seq), jetstream.WithMsgTTL(tombstoneTTL))
	if err != nil && !wrongSequence(err) {
		return fmt.Errorf("closing a session: %w", err)
	}
	return nil
}
