package queue

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

const (
	pullHeartbeat = 10 * time.Second
	pullRetry     = 200 * time.Millisecond
)

// pull asks for one message at a time, whenever a slot for lane is free, and starts do
// with a slot taken, until ctx ends. It asks only then, so that nothing is held here that
// another worker could do.
func (q *Queue) pull(ctx context.Context, st jetstream.Stream, name string, s *slots, lane layout.Lane, do func(jetstream.Msg)) {
	var c jetstream.Consumer
	quiet := false // one line per disturbance
	for s.free(ctx, lane) {
		var err error
		if c == nil {
			c, err = st.Consumer(ctx, name)
		}
		var msg jetstream.Msg
		if err == nil {
			msg, err = q.next(ctx, c)
		}
		switch {
		case err != nil && ctx.Err() == nil:
			if !quiet {
				q.log.Warn("queue not readable", "consumer", name, "err", err)
			}
			quiet, c = true, nil
			select {
			case <-ctx.Done():
			case <-q.back.next().Done():
			case <-time.After(pullRetry):
			}
		case msg == nil:
		case ctx.Err() != nil || !s.take(lane):
			_ = msg.Nak() // delivered again at once, to whoever asks; or after the wait
		default:
			quiet = false
			go do(msg)
		}
	}
}

// next waits for one message; nil when none came for a while, or when the connection
// came back and the question has to be asked again.
func (q *Queue) next(ctx context.Context, c jetstream.Consumer) (jetstream.Msg, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.back.next(), cancel)()
	batch, err := c.Fetch(1, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(pullHeartbeat))
	if err != nil {
		return nil, err
	}
	msg, ok := <-batch.Messages()
	if ok || ctx.Err() != nil {
		return msg, nil
	}
	return nil, batch.Error()
}

// slots limits what runs at once. Routine work may take all but one of them.
type slots struct {
	mu      sync.Mutex
	total   int
	busy    int
	routine int
	freed   *broadcast
	running sync.WaitGroup
}

func newSlots(n int) *slots { return &slots{total: n, freed: newBroadcast()} }

func (s *slots) room(lane layout.Lane) bool {
	if lane == layout.Later && s.routine >= max(1, s.total-1) {
		return false
	}
	return s.busy < s.total
}

// free waits until a slot for lane seems free; false when ctx has ended.
func (s *slots) free(ctx context.Context, lane layout.Lane) bool {
	for {
		freed := s.freed.next()
		s.mu.Lock()
		room := s.room(lane)
		s.mu.Unlock()
		if room || ctx.Err() != nil {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-freed.Done():
		}
	}
}

func (s *slots) take(lane layout.Lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room(lane) {
		return false
	}
	s.busy++
	if lane == layout.Later {
		s.routine++
	}
	s.running.Add(1)
	return true
}

func (s *slots) give(lane layout.Lane) {
	s.mu.Lock()
	s.busy--
	if lane == layout.Later {
		s.routine--
	}
	s.mu.Unlock()
	s.freed.send()
	s.running.Done()
}

// wait returns when everything that was started has ended.
func (s *slots) wait() { s.running.Wait() }
