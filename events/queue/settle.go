package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
	"github.com/tradewind-dev/tradewind/events/queue/internal/lease"
)

const (
	// maxCrashes is how many runs in a row may end with their process before the key is
	// parked. A run that returns an error does not count, however often it does.
	maxCrashes  = 5
	settleRetry = 200 * time.Millisecond
)

// execute runs a claimed key and settles it.
func (w *worker) execute(s *lease.Session, claim *lease.Claim, e entry, stored time.Time) {
	q := w.q
	st := claim.State()
	if !e.Retry && starts(e.Trigger.Cause) {
		st.Failures = 0
	}
	began := time.Now()
	q.metrics.waited(work, q.serverTime(began).Sub(latest(stored, e.At)))
	if st.Attempt > 1 {
		q.metrics.redelivered(work)
	}
	if st.Crashes >= maxCrashes {
		w.settle(claim, st, events.Drop(fmt.Errorf("%w: %d runs in a row ended with their process", errCrashed, st.Crashes)), began)
		return
	}
	st.Crashes = 0 // it is counted by the next claim, if this run does not settle
	if st.Parked != 0 && q.forget(w.final, q.streams.Parked, st.Parked) {
		st.Parked = 0
	}
	ctx, cancel := context.WithTimeout(w.hard, q.cfg.RunTimeout)
	defer cancel()
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	defer context.AfterFunc(s.Lost(), func() { lost(lease.ErrLost) })()

	job := Job{Trigger: e.Trigger, Attempt: st.Attempt, Token: claim.Token(), claim: claim}
	err := q.guard(about(e.Trigger.Key), func() error { return w.run(ctx, job) })
	if err != nil && (s.Lost().Err() != nil || errors.Is(context.Cause(ctx), errShutdown)) {
		err = &interrupted{err}
	}
	w.settle(claim, st, err, began)
}

// starts reports whether cause is news, which makes earlier failures history: the table
// of delays begins anew.
func starts(c events.Cause) bool {
	switch c {
	case events.CauseWebhook, events.CauseImage, events.CauseManual, events.CauseReplay:
		return true
	default:
		return false
	}
}

// interrupted is the error of a run that we stopped; it says nothing about the key.
type interrupted struct{ error }

func (e *interrupted) Unwrap() error { return e.error }

// settle makes of run's error what becomes of the key, and gives the key up last: until
// then a crash leaves it to the sweep. Servers that do not answer are asked again until
// they do.
func (w *worker) settle(claim *lease.Claim, st lease.State, err error, began time.Time) {
	q, t := w.q, claim.State().Trigger
	verdict, delay := events.Judge(err)
	next := lease.State{Parked: st.Parked}
	var arrange func(context.Context) error // what must be stored before the key is free
	stopped, isStopped := errors.AsType[*interrupted](err)
	switch {
	case isStopped:
		next = st
		next.Attempt--
		arrange = func(ctx context.Context) error { return q.enqueue(ctx, []events.Trigger{t}) }
		q.log.With(about(t.Key)).Info("run stopped, to be repeated", "attempt", st.Attempt, "err", stopped.error)
	case verdict == events.Dropped:
		arrange = func(ctx context.Context) (err2 error) {
			next.Parked, err2 = q.park(ctx, t, st, err)
			return err2
		}
		q.log.With(about(t.Key)).Error("run dropped, key parked", "attempt", st.Attempt, "took", time.Since(began).String(), "err", err)
	case verdict == events.Retry:
		next = st
		if delay == 0 {
			next.Failures++
			delay = q.delay(next.Failures)
		}
		arrange = func(ctx context.Context) (err error) {
			next.Retry, err = q.retryAt(ctx, t, delay)
			return err
		}
		q.log.With(about(t.Key)).Warn("run failed, to be repeated", "attempt", st.Attempt,
			"took", time.Since(began).String(), "retry_in", delay.String(), "err", err)
	}
	if !isStopped {
		q.metrics.handled(work, verdict)
	}
	if !w.arrange(t.Key, arrange) {
		claim.Leave() // the process goes
		return
	}
	next.Trigger = events.Trigger{}
	w.release(claim, next)
	if next.Retry == 0 && st.Retry != 0 {
		q.forget(w.final, q.streams.Work, st.Retry) // a try that success, or parking, made void
	}
}

// arrange calls fn until it succeeds.
func (w *worker) arrange(key events.Key, fn func(context.Context) error) bool {
	for quiet := false; fn != nil; quiet = true {
		err := fn(w.final)
		if err == nil {
			return true
		}
		if !quiet {
			w.q.log.With(about(key)).Error("run not settled yet", "err", err)
		}
		select {
		case <-w.final.Done():
			return false
		case <-time.After(settleRetry):
		}
	}
	return true
}

func (w *worker) release(claim *lease.Claim, st lease.State) {
	st.Trigger = events.Trigger{}
	if err := claim.Release(w.final, st); err != nil {
		w.q.log.With(about(claim.State().Trigger.Key)).Warn("claim not released", "err", err)
	}
}

// retryAt asks for another run of t's key after d.
func (q *Queue) retryAt(ctx context.Context, t events.Trigger, d time.Duration) (uint64, error) {
	e := entry{V: version, At: q.serverTime(time.Now().Add(d)), Retry: true, Trigger: t}
	return q.schedule(ctx, layout.Retry(t.Key), layout.Later, e)
}

// delay is the wait after the n-th failure in a row, varied so that keys that failed
// together do not come back together.
func (q *Queue) delay(n int) time.Duration {
	d := q.cfg.Delays[min(max(n, 1), len(q.cfg.Delays))-1]
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
