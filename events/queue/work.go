package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
)

// Job is one look at a key, held under a claim.
type Job struct {
	events.Trigger
	// Attempt counts the looks since the last that succeeded, from 1.
	Attempt int
	// Token grows with every claim of the key: a fencing token.
	Token uint64

	q *Queue
}

// ErrClaimLost says that another worker may be looking at the key: stop writing.
var ErrClaimLost = errors.New("the claim on this key is lost")

// Check says whether the job still holds its key. It is called before each batch of
// writes.
func (j Job) Check(ctx context.Context) error {
	if err := j.q.session.ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrClaimLost, context.Cause(j.q.session.ctx))
	}
	_, seq, err := j.q.claimOf(ctx, j.Key)
	if err != nil {
		return err
	}
	if seq != j.Token {
		return ErrClaimLost
	}
	return nil
}

// claimRecord is who looks at a key, or, without a session, what the last look left.
type claimRecord struct {
	events.Trigger
	Session  string `json:"session,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
	Crashes  int    `json:"crashes,omitempty"` // looks in a row whose worker died
}

const maxCrashes = 5

// delays is the pause before the next look after a failed one.
var delays = [...]time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// delayFor spreads the pause over half of it to both sides.
func delayFor(attempt int) time.Duration {
	d := delays[min(max(attempt, 1), len(delays))-1]
	return d/2 + rand.N(d)
}

// Trigger asks for a look at a key. When one is waiting already, that one will do.
func (q *Queue) Trigger(ctx context.Context, t events.Trigger) error {
	if err := t.Key.Validate(); err != nil {
		return err
	}
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	for {
		_, err := q.js.Publish(ctx, workPrefix+token(string(t.Key)), body, jetstream.WithExpectLastSequencePerSubject(0))
		apiErr, _ := errors.AsType[*jetstream.APIError](err)
		switch {
		case err == nil, isRace(err):
			return nil
		case apiErr != nil && apiErr.ErrorCode == errInFlight: // somebody's trigger of this key is being stored
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(3 * time.Millisecond):
			}
		default:
			return fmt.Errorf("asking for a look at %s: %w", t.Key, err)
		}
	}
}

// errInFlight is the server's code for a subject that is being written right now.
const errInFlight jetstream.ErrorCode = 10164

// TriggerAt asks for a look at a later time. A key has one timer; the last one set
// counts.
func (q *Queue) TriggerAt(ctx context.Context, t events.Trigger, at time.Time) error {
	if err := t.Key.Validate(); err != nil {
		return err
	}
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	name := token(string(t.Key))
	_, err = q.js.Publish(ctx, timerPrefix+name, body, jetstream.WithScheduleAt(at), jetstream.WithScheduleTarget(workPrefix+name))
	if err != nil {
		return fmt.Errorf("setting a timer for %s: %w", t.Key, err)
	}
	return nil
}

// Work runs looks, at most slots at a time, until ctx ends; then it takes no more and
// waits for the running ones, for Config.Grace at most.
func (q *Queue) Work(ctx context.Context, slots int, run func(context.Context, Job) error) error {
	// Runs outlive ctx by the grace and end with the session.
	runs, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(q.cfg.Grace, func() { cancel(errors.New("shutting down")) })
	})
	defer stop()
	defer context.AfterFunc(q.session.ctx, func() { cancel(context.Cause(q.session.ctx)) })()
	return q.pull(ctx, workStream, workConsumer, slots, func(msg jetstream.Msg) {
		if err := q.workOne(runs, msg, run); err != nil {
			q.log.Warn("work not started, will be tried again", "err", err)
		}
	})
}

func (q *Queue) workOne(ctx context.Context, msg jetstream.Msg, run func(context.Context, Job) error) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	var t events.Trigger
	if err := json.Unmarshal(msg.Data(), &t); err != nil || t.Key.Validate() != nil {
		// Nothing of ours writes such a message.
		_ = msg.Term()
		return fmt.Errorf("dropping work entry %d, which names no key: %w", meta.Sequence.Stream, errors.Join(err, t.Key.Validate()))
	}
	job, claim, err := q.claim(ctx, t)
	if errors.Is(err, errBusy) {
		// Whoever runs now started before this entry was stored.
		return msg.NakWithDelay(min(100*time.Millisecond<<min(meta.NumDelivered, 5), 2*time.Second))
	}
	if err != nil {
		return err
	}
	q.metrics.waited(t.Time)
	// The entry goes before the run starts: from here on a trigger makes a new one. It is
	// deleted rather than acknowledged because an acknowledgement can be lost.
	if err := q.removeEntry(ctx, meta.Sequence.Stream); err != nil {
		return errors.Join(err, q.release(ctx, job, claim))
	}
	_ = msg.Ack()
	if claim.Crashes > maxCrashes {
		return q.settle(ctx, job, claim, events.Drop(fmt.Errorf("the worker died %d times in a row on this", claim.Crashes)))
	}
	return q.settle(ctx, job, claim, q.guard(ctx, job, run))
}

func (q *Queue) removeEntry(ctx context.Context, seq uint64) error {
	stream, err := q.js.Stream(ctx, workStream)
	if err != nil {
		return err
	}
	err = stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The server has one error for "not there" and for failures: look.
	if _, getErr := stream.GetMsg(ctx, seq); errors.Is(getErr, jetstream.ErrMsgNotFound) {
		return nil
	}
	return fmt.Errorf("removing a work entry: %w", err)
}

// guard turns a panic of the handler into an error.
func (q *Queue) guard(ctx context.Context, job Job, run func(context.Context, Job) error) (err error) {
	q.metrics.inFlight.Inc()
	defer q.metrics.inFlight.Dec()
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("handler panicked", "key", string(job.Key), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("the handler panicked: %v", p)
		}
	}()
	return run(ctx, job)
}

var errBusy = errors.New("the key is being looked at")

func (q *Queue) claimOf(ctx context.Context, key events.Key) (claimRecord, uint64, error) {
	var claim claimRecord
	stream, err := q.js.Stream(ctx, claimsStream)
	if err != nil {
		return claim, 0, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, claimPrefix+token(string(key)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return claim, 0, nil
	}
	if err != nil {
		return claim, 0, fmt.Errorf("reading the claim on %s: %w", key, err)
	}
	return claim, msg.Sequence, json.Unmarshal(msg.Data, &claim)
}

// claim takes the key, or returns errBusy.
func (q *Queue) claim(ctx context.Context, t events.Trigger) (Job, claimRecord, error) {
	before, seq, err := q.claimOf(ctx, t.Key)
	if err != nil {
		return Job{}, before, err
	}
	claim := claimRecord{Trigger: t, Session: q.session.id, Attempts: before.Attempts + 1, Crashes: before.Crashes}
	if before.Session != "" {
		dead, err := q.session.dead(ctx, before.Session)
		if err != nil {
			return Job{}, before, err
		}
		if !dead {
			return Job{}, before, errBusy
		}
		claim.Crashes++
	}
	token, err := q.store(ctx, claim, seq)
	if isRace(err) {
		return Job{}, claim, errBusy
	}
	if err != nil {
		return Job{}, claim, fmt.Errorf("claiming %s: %w", t.Key, err)
	}
	return Job{Trigger: t, Attempt: claim.Attempts, Token: token, q: q}, claim, nil
}

func (q *Queue) store(ctx context.Context, claim claimRecord, after uint64) (uint64, error) {
	body, err := json.Marshal(claim)
	if err != nil {
		return 0, err
	}
	ack, err := q.js.Publish(ctx, claimPrefix+token(string(claim.Key)), body, jetstream.WithExpectLastSequencePerSubject(after))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// release gives the key back. If another worker took it over meanwhile, that is that
// worker's to release.
func (q *Queue) release(ctx context.Context, job Job, claim claimRecord) error {
	claim.Session = ""
	_, err := q.store(ctx, claim, job.Token)
	return ignoreRace(err)
}

// settle is the one place where a verdict becomes an action of the queue.
func (q *Queue) settle(ctx context.Context, job Job, claim claimRecord, result error) error {
	// The books are kept even when the run was cut off.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	verdict, delay := events.Judge(result)
	q.metrics.handled.WithLabelValues(string(verdict)).Inc()
	claim.Crashes = 0
	var err error
	switch verdict {
	case events.Done, events.Skipped:
		claim.Attempts = 0
	case events.Dropped:
		claim.Attempts = 0
		err = q.park(ctx, Parked{Key: job.Key, Reason: result.Error(), Event: job.Event, Time: time.Now().UTC()})
		q.metrics.parked.Inc()
	case events.Retry:
		if delay == 0 {
			delay = delayFor(claim.Attempts)
		}
		t := job.Trigger
		t.Cause = events.CauseSchedule
		err = q.TriggerAt(ctx, t, time.Now().Add(delay))
	}
	return errors.Join(err, q.release(ctx, job, claim))
}

// Parked is work that needs a human, or something to change.
type Parked struct {
	Key    events.Key `json:"key"`
	Reason string     `json:"reason"`
	Event  string     `json:"event,omitempty"`
	Time   time.Time  `json:"time"`
}

func (q *Queue) park(ctx context.Context, p Parked) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if _, err = q.js.Publish(ctx, parkedPrefix+token(string(p.Key)), body); err != nil {
		return fmt.Errorf("parking %s: %w", p.Key, err)
	}
	q.log.Error("parked", "key", string(p.Key), "reason", p.Reason)
	return nil
}

// Parked lists what is parked.
func (q *Queue) Parked(ctx context.Context) ([]Parked, error) {
	stream, err := q.js.Stream(ctx, parkedStream)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(parkedPrefix+">"))
	if err != nil {
		return nil, err
	}
	var out []Parked
	for subject := range info.State.Subjects {
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return nil, err
		}
		var p Parked
		if err := json.Unmarshal(msg.Data, &p); err != nil {
			return nil, fmt.Errorf("decoding parked item %d: %w", msg.Sequence, err)
		}
		out = append(out, p)
	}
	return out, nil
}
