package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
	"github.com/tradewind-dev/tradewind/events/queue/internal/lease"
)

const (
	busyFirst    = 200 * time.Millisecond // a key that another process works on is tried again
	busySlowest  = 2 * time.Second
	troubled     = 500 * time.Millisecond // given back because the servers did not answer
	sessionRetry = 500 * time.Millisecond
	abandonAfter = 5 * time.Second // a cancelled run that does not end is left behind
)

// ErrLost is what [Job.Check] finds, and why a run's context ends, when another worker has
// the key or may have it.
var ErrLost = lease.ErrLost

var errShutdown = errors.New("the worker is shutting down")

// Job is one run of one key.
type Job struct {
	events.Trigger
	// Attempt counts the runs begun since the last one that ended well: 1 is the first.
	Attempt int
	// Token is the fencing token: of two runs of a key, the later has the higher one.
	Token uint64

	claim *lease.Claim
}

// Check reports whether the key is still ours. Call it before each batch of writes; after
// an error, write nothing more.
func (j Job) Check(ctx context.Context) error {
	if j.claim == nil {
		return errors.New("the job did not come from a queue")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("checking the claim on %s: %w", j.Key, context.Cause(ctx))
	}
	return j.claim.Check(ctx)
}

// Work runs keys that want a look, at most slots at a time and one per key anywhere,
// until ctx ends. The context of run is cancelled when the key is lost to another worker,
// when the run takes longer than [Config.RunTimeout], and [Config.Grace] after ctx ended;
// it is not cancelled by ctx itself. What run's error means is said in package events.
func (q *Queue) Work(ctx context.Context, slots int, run func(ctx context.Context, job Job) error) error {
	if slots < 1 {
		return fmt.Errorf("working with %d slots: want at least 1", slots)
	}
	ctx, end, err := q.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return q.newWorker(ctx, slots, run).work(ctx)
}

// worker is one call of Work.
type worker struct {
	q     *Queue
	run   func(context.Context, Job) error
	slots *slots

	hard       context.Context // ends runs: the grace is over
	cancelRuns context.CancelCauseFunc
	final      context.Context // ends settling: the process goes
	abandon    context.CancelFunc

	mu      sync.Mutex // guards session
	session *lease.Session
	held    sync.WaitGroup // entries that wait for a run of this process
}

func (q *Queue) newWorker(ctx context.Context, slots int, run func(context.Context, Job) error) *worker {
	w := &worker{q: q, run: run, slots: newSlots(slots)}
	base := context.WithoutCancel(ctx)
	w.hard, w.cancelRuns = context.WithCancelCause(base)
	w.final, w.abandon = context.WithCancel(base)
	return w
}

func (w *worker) work(ctx context.Context) error {
	defer w.abandon()
	keepCtx, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var keeper, pulls sync.WaitGroup
	keeper.Go(func() { w.keepSession(keepCtx) })
	for _, lane := range layout.Lanes() {
		pulls.Go(func() {
			w.q.pull(ctx, w.q.streams.Work, string(lane), w.slots, lane, func(msg jetstream.Msg) { w.receive(ctx, lane, msg) })
		})
	}
	pulls.Wait()
	err := w.drain()
	stopKeeping()
	keeper.Wait()
	return err
}

// drain lets runs end by themselves, then cancels them, then leaves them behind; the
// sweep of another worker finds their keys.
func (w *worker) drain() error {
	ended := make(chan struct{})
	go func() { w.slots.wait(); w.held.Wait(); close(ended) }()
	grace := time.NewTimer(w.q.cfg.Grace)
	defer grace.Stop()
	select {
	case <-ended:
		return nil
	case <-grace.C:
	}
	w.cancelRuns(errShutdown)
	abandon := time.NewTimer(abandonAfter)
	defer abandon.Stop()
	select {
	case <-ended:
		return nil
	case <-abandon.C:
		return errors.New("ending work: a run does not end although it was cancelled; its key will be taken over")
	}
}

// keepSession holds a session at all times and ends the last one when ctx ends.
func (w *worker) keepSession(ctx context.Context) {
	quiet := false // one line per disturbance
	for ctx.Err() == nil {
		s, err := w.q.leases.Open(ctx)
		if err != nil {
			if !quiet && ctx.Err() == nil {
				w.q.log.Warn("worker has no session", "err", err)
			}
			quiet = true
			select {
			case <-ctx.Done():
			case <-time.After(sessionRetry):
			}
			continue
		}
		quiet = false
		w.setSession(s)
		select {
		case <-s.Lost().Done():
			w.setSession(nil)
			w.q.log.Warn("worker lost its session", "reason", "it could not be renewed; its runs are stopped")
		case <-ctx.Done():
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
			defer cancel()
			if err := s.Close(closing); err != nil {
				w.q.log.Warn("worker session not closed", "err", err)
			}
		}
	}
}

func (w *worker) setSession(s *lease.Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session = s
}

func (w *worker) currentSession() *lease.Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session
}

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
		w.q.log.Warn("look postponed", "key", string(key), "err", err)
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
