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

// Stored is the receipt for one event.
type Stored struct {
	// Seq grows within a shard of the intake and is unique over all of them.
	Seq uint64
	// Duplicate is set when an event with this id was stored within the last ten
	// minutes; this one was dropped.
	Duplicate bool
}

// Publish stores events and returns when all of them are on disk. An error means that at
// least one may not be, an unknown outcome included; publishing the same events again is
// safe. Callers at the same time do not wait for each other.
func (q *Queue) Publish(ctx context.Context, evs ...events.Event) ([]Stored, error) {
	began := time.Now()
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	msgs := make([]*nats.Msg, len(evs))
	for i, ev := range evs {
		var err error
		if msgs[i], err = encodeEvent(ev); err != nil {
			return nil, fmt.Errorf("publishing event %q: %w", clip(ev.ID, 64), err)
		}
	}
	acks := make([]jetstream.PubAckFuture, 0, len(evs))
	for i, msg := range msgs {
		ack, err := q.batch.PublishMsgAsync(msg, jetstream.WithMsgID(layout.Token(evs[i].ID)), jetstream.WithStallWait(storeTimeout))
		if err != nil {
			q.health.note(err)
			q.metrics.published(evs[i].Type, "error", time.Since(began))
			return nil, fmt.Errorf("publishing event %s: %w", evs[i].ID, err)
		}
		acks = append(acks, ack)
	}
	stored := make([]Stored, 0, len(evs))
	var errs []error
	for i, ack := range acks {
		got, err := await(ctx, ack)
		q.health.note(err)
		if err != nil {
			q.metrics.published(evs[i].Type, "error", time.Since(began))
			errs = append(errs, fmt.Errorf("publishing event %s: not known to be stored: %w", evs[i].ID, err))
			continue
		}
		result := "stored"
		if got.Duplicate {
			result = "duplicate"
		}
		q.metrics.published(evs[i].Type, result, time.Since(began))
		stored = append(stored, Stored{Seq: receipt(got), Duplicate: got.Duplicate})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return stored, nil
}

// receipt makes sequences of different shards different.
func receipt(ack *jetstream.PubAck) uint64 {
	for shard := range uint64(layout.IntakeShards) {
		if ack.Stream == layout.IntakeName(int(shard)) {
			return ack.Sequence*layout.IntakeShards + shard
		}
	}
	return ack.Sequence * layout.IntakeShards
}

// await returns the server's answer to an asynchronous publish.
func await(ctx context.Context, f jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case ack := <-f.Ok():
		return ack, nil
	case err := <-f.Err():
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, storeTimeout)
}

// put stores one message and learns from the answer.
func (q *Queue) put(ctx context.Context, subject string, payload any, opts ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	data, err := json.Marshal(payload)
	if err != nil {
		return 0, err
	}
	ack, err := q.js.Publish(ctx, subject, data, opts...)
	q.health.note(err)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}
