package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A worker proves that it lives by renewing one message; it stops its own work before
// anyone else may think it dead.
const (
	renewEvery = 700 * time.Millisecond
	stopAfter  = 2500 * time.Millisecond
	deadAfter  = 3500 * time.Millisecond
	sweepEvery = 5 * time.Second
)

// errSessionLost ends every run of a worker that could not renew.
var errSessionLost = errors.New("this worker could not prove to the queue that it is alive")

// session is this process among the workers. With an embedded queue there is only one,
// and nothing is renewed.
type session struct {
	q      *Queue
	id     string
	alone  bool
	seq    uint64
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu   sync.Mutex
	seen map[string]sighted // other sessions, as last seen
}

type sighted struct {
	seq uint64
	at  time.Time
}

type sessionRecord struct {
	Dead bool `json:"dead,omitempty"`
}

func newSession(ctx context.Context, q *Queue) (*session, error) {
	s := &session{q: q, id: nuid.Next(), alone: q.server != nil, seen: map[string]sighted{}, done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if s.alone {
		close(s.done)
		return s, nil
	}
	if err := s.renew(ctx); err != nil {
		return nil, err
	}
	go s.keep()
	return s, nil
}

func (s *session) renew(ctx context.Context) error {
	body, err := json.Marshal(sessionRecord{})
	if err != nil {
		return err
	}
	ack, err := s.q.js.Publish(ctx, sessionPrefix+s.id, body, jetstream.WithExpectLastSequencePerSubject(s.seq))
	if err == nil {
		s.seq = ack.Sequence
	}
	return err
}

func (s *session) keep() {
	defer close(s.done)
	renew, sweep := time.NewTicker(renewEvery), time.NewTicker(sweepEvery)
	defer renew.Stop()
	defer sweep.Stop()
	last := time.Now()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-sweep.C:
			if err := s.q.sweep(s.ctx); err != nil {
				s.q.log.Warn("sweeping", "err", err)
			}
		case <-renew.C:
			ctx, cancel := context.WithTimeout(s.ctx, renewEvery)
			err := s.renew(ctx)
			cancel()
			if err == nil {
				last = time.Now()
			} else if time.Since(last) > stopAfter {
				s.cancel(errSessionLost)
				return
			}
		}
	}
}

// dead says whether a session's holder is gone for good. It is only true after a
// tombstone: a worker that was merely asleep finds it and cannot come back.
func (s *session) dead(ctx context.Context, id string) (bool, error) {
	if id == s.id {
		return false, nil
	}
	if s.alone {
		return true, nil
	}
	stream, err := s.q.js.Stream(ctx, sessionsStream)
	if err != nil {
		return false, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, sessionPrefix+id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	var record sessionRecord
	if json.Unmarshal(msg.Data, &record) == nil && record.Dead {
		return true, nil
	}
	s.mu.Lock()
	before, known := s.seen[id]
	if !known || before.seq != msg.Sequence {
		before = sighted{seq: msg.Sequence, at: time.Now()}
		s.seen[id] = before
	}
	s.mu.Unlock()
	if time.Since(before.at) < deadAfter {
		return false, nil
	}
	body, err := json.Marshal(sessionRecord{Dead: true})
	if err != nil {
		return false, err
	}
	_, err = s.q.js.Publish(ctx, sessionPrefix+id, body, jetstream.WithExpectLastSequencePerSubject(msg.Sequence))
	return err == nil, ignoreRace(err)
}

func (s *session) close() {
	s.cancel(errors.New("closed"))
	<-s.done
	if s.alone {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if body, err := json.Marshal(sessionRecord{Dead: true}); err == nil {
		_, _ = s.q.js.Publish(ctx, sessionPrefix+s.id, body) // others find out by themselves otherwise
	}
}

// sweep asks for a look at every key whose claim belongs to a dead session.
func (q *Queue) sweep(ctx context.Context) error {
	stream, err := q.js.Stream(ctx, claimsStream)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(claimPrefix+">"))
	if err != nil {
		return fmt.Errorf("listing claims: %w", err)
	}
	for subject := range info.State.Subjects {
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		var claim claimRecord
		if err := json.Unmarshal(msg.Data, &claim); err != nil || claim.Session == "" || claim.Key.Validate() != nil {
			continue
		}
		dead, err := q.session.dead(ctx, claim.Session)
		if err != nil {
			return err
		}
		if dead {
			if err := q.Trigger(ctx, claim.Trigger); err != nil {
				return err
			}
		}
	}
	return nil
}

// ignoreRace drops the error of a compare-and-set that somebody else won.
func ignoreRace(err error) error {
	if isRace(err) {
		return nil
	}
	return err
}

func isRace(err error) bool {
	apiErr, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (apiErr.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || apiErr.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
