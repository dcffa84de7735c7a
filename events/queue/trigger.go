package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

const (
	triggerChunk = 1000
	inFlightWait = 3 * time.Millisecond
	codeInFlight = 10164 // another write to the subject is being replicated
	codeNotReady = 10163 // a new leader is catching up
)

// Trigger asks for a look at t.Key: a run that begins after this call. A key that is
// waiting already is left as it is. A key that waits for its next try after a failure, or
// is parked, is looked at now.
func (q *Queue) Trigger(ctx context.Context, t events.Trigger) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	return q.enqueue(ctx, []events.Trigger{t})
}

// TriggerAt asks for a look at t.Key at a later time, in place of the one asked for
// before. It happens at that time or when the key is free after it.
func (q *Queue) TriggerAt(ctx context.Context, t events.Trigger, at time.Time) error {
	if !at.After(time.Now()) {
		return q.Trigger(ctx, t)
	}
	if err := checkTrigger(t); err != nil {
		return fmt.Errorf("triggering: %w", err)
	}
	e := entry{V: version, At: q.serverTime(at), Trigger: t}
	if _, err := q.schedule(ctx, layout.Timer(t.Key), layout.LaneOf(t.Cause), e); err != nil {
		return fmt.Errorf("setting a timer for %s: %w", t.Key, err)
	}
	return nil
}

// schedule stores e as a message that the server moves to its lane at e.At, or up to a
// second before.
func (q *Queue) schedule(ctx context.Context, timer string, lane layout.Lane, e entry) (uint64, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	data, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	msg := &nats.Msg{Subject: timer, Data: data, Header: nats.Header{}}
	msg.Header.Set(jetstream.ScheduleHeader, "@at "+e.At.UTC().Format(time.RFC3339Nano))
	msg.Header.Set(jetstream.ScheduleTargetHeader, layout.Work(lane, e.Trigger.Key))
	ack, err := q.js.PublishMsg(ctx, msg)
	q.health.note(err)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// enqueue triggers all of ts, side by side. After an error some may have been triggered;
// doing it again does no harm.
func (q *Queue) enqueue(ctx context.Context, ts []events.Trigger) error {
	for len(ts) > 0 {
		chunk := ts[:min(len(ts), triggerChunk)]
		ts = ts[len(chunk):]
		acks := make([]jetstream.PubAckFuture, 0, len(chunk))
		for _, t := range chunk {
			ack, err := q.wanted(t)
			if err != nil {
				return fmt.Errorf("triggering %q: %w", clip(string(t.Key), 128), err)
			}
			acks = append(acks, ack)
		}
		for i, ack := range acks {
			if err := q.settleWanted(ctx, chunk[i], ack); err != nil {
				return fmt.Errorf("triggering %s: %w", chunk[i].Key, err)
			}
		}
	}
	return nil
}

// wanted writes the entry of t's key unless there is one: the expectation is that its
// subject is empty.
func (q *Queue) wanted(t events.Trigger) (jetstream.PubAckFuture, error) {
	if err := checkTrigger(t); err != nil {
		return nil, err
	}
	data, err := json.Marshal(entry{V: version, Trigger: t})
	if err != nil {
		return nil, err
	}
	return q.fanout.PublishAsync(layout.Work(layout.LaneOf(t.Cause), t.Key), data,
		jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithStallWait(storeTimeout))
}

func (q *Queue) settleWanted(ctx context.Context, t events.Trigger, ack jetstream.PubAckFuture) error {
	for {
		_, err := await(ctx, ack)
		q.health.note(err)
		refusal, refused := errors.AsType[*jetstream.APIError](err)
		switch {
		case err == nil:
			return nil
		case !refused:
			return err
		case refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
			// An entry waits and no run has begun for it: the run to come covers t.
			return nil
		case refusal.ErrorCode != codeInFlight && refusal.ErrorCode != codeNotReady:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(inFlightWait):
		}
		if ack, err = q.wanted(t); err != nil {
			return err
		}
	}
}
