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
