package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
	"github.com/tradewind-dev/tradewind/events/queue/internal/lease"
)

const (
	busyFirst   = 200 * time.Millisecond // a key that another process works on is tried again
	busySlowest = 2 * time.Second
	troubled    = 500 * time.Millisecond // given back because the servers did not answer
)

// receive decides what becomes of an entry that was delivered; it has a slot.
func (w *worker) receive(ctx context.Context, lane layout.Lane, msg jetstream.Msg) {
	defer w.slots.give(lane)
	meta, err := msg.Metadata()
	if err != nil {
		w.q.log.Error("work without metadata", "err", err)
		return
	}
	e, err := decodeEntry(msg.Subject(), msg.Data())
	if err != nil {
		w.q.parkUnreadable(w.final, msg, meta, err)
		return
	}
	if early := time.Until(e.At.Add(-time.Duration(w.q.skew.Load()))); !e.At.IsZero() && early > 0 {
		_ = msg.NakWithDelay(early)
		return
	}
	if done := w.q.leases.Holder(e.Trigger.Key); done != nil {
		w.held.Add(1)
		go w.hold(ctx, msg, done)
		return
	}
	s := w.currentSession()
	if s == nil {
		_ = msg.NakWithDelay(troubled)
		return
	}
	running := w.q.metrics.inFlight.WithLabelValues(string(lane))
	running.Inc()
	defer running.Dec()
	w.begin(s, msg, meta, e)
}

// hold keeps an entry, without a slot, until the run of its key in this process has
// ended, and gives it back then: it is delivered again within a millisecond.
func (w *worker) hold(ctx context.Context, msg jetstream.Msg, done <-chan struct{}) {
	defer w.held.Done()
	alive := time.NewTicker(layout.WorkWait / 3)
	defer alive.Stop()
	for {
		select {
		case <-alive.C:
			_ = msg.InProgress() // else it is delivered to another, who holds it as well
			continue
		case <-done:
		case <-ctx.Done():
		}
		_ = msg.Nak()
		return
	}
}

// begin takes the key, removes the entry and runs. From the removal on, a new trigger
// makes a new entry, so that a trigger during the run is always followed by another.
func (w *worker) begin(s *lease.Session, msg jetstream.Msg, meta *jetstream.MsgMetadata, e entry) {
	claim, err := s.Claim(w.final, e.Trigger)
	if err != nil {
		w.giveBack(msg, meta, e.Trigger.Key, err)
		return
	}
	// Not even the loss of the session ends this without an answer: a deletion that is
	// still under way could hit the entry that a new trigger trusts in.
	ours, err := w.q.removeEntry(w.final, meta.Sequence.Stream)
	if err != nil {
		claim.Leave()
		return
	}
	if !ours || s.Lost().Err() != nil {
		w.withdraw(claim, e.Trigger, ours)
		return
	}
	_ = msg.Ack() // the entry is gone; this only ends the server's wait for an answer
	w.execute(s, claim, e, meta.Timestamp)
}

// withdraw gives up a claim under which nothing was run. If the entry was ours to remove,
// the wish it stood for is written again.
func (w *worker) withdraw(claim *lease.Claim, t events.Trigger, again bool) {
	st := claim.State()
	st.Attempt--
	if again && !w.arrange(t.Key, func(ctx context.Context) error { return w.q.enqueue(ctx, []events.Trigger{t}) }) {
		claim.Leave()
		return
	}
	w.release(claim, st)
}

func (w *worker) giveBack(msg jetstream.Msg, meta *jetstream.MsgMetadata, key events.Key, err error) {
	delay := troubled
	if errors.Is(err, lease.ErrBusy) {
		delay = min(busyFirst<<min(meta.NumDelivered-1, 8), busySlowest)
	} else {
		w.q.log.With(about(key)).Warn("look postponed", "err", err)
	}
	_ = msg.NakWithDelay(delay) // else it is delivered again after the wait
}

// removeEntry deletes a work entry, for certain. It reports false when somebody else had
// removed it: then a run that began after the entry was written has covered it, or a
// timer has put a newer entry in its place.
func (q *Queue) removeEntry(ctx context.Context, seq uint64) (bool, error) {
	unsure := false
	for try := 0; ; try++ {
		err := q.streams.Work.DeleteMsg(ctx, seq)
		if err == nil {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, fmt.Errorf("removing a work entry: %w", ctx.Err())
		}
		refused := errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful)
		unsure = unsure || !refused
		if refused {
			// The server has one code for all reasons; whether it is there says more.
			_, err = q.streams.Work.GetMsg(ctx, seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return unsure, nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(inFlightWait<<min(try, 8), troubled)):
		}
	}
}
