package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

// Report publishes what came of one stage of one run.
func (q *Queue) Report(ctx context.Context, o events.Outcome) error {
	if err := o.Key.Validate(); err != nil {
		return fmt.Errorf("reporting an outcome: %w", err)
	}
	o.Message = clip(o.Message, maxMessage)
	if _, err := q.put(ctx, layout.Outcome(o.Key), outcomeRecord{V: version, Outcome: o}); err != nil {
		return fmt.Errorf("reporting an outcome of %s: %w", o.Key, err)
	}
	return nil
}

type outcomeRecord struct {
	V int `json:"v"`
	events.Outcome
}

// Outcomes calls fn for every outcome after sequence after, oldest first, and then for
// each new one until ctx ends. Outcomes are kept for seven days.
func (q *Queue) Outcomes(ctx context.Context, after uint64, fn func(seq uint64, o events.Outcome)) error {
	ctx, end, err := q.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	for quiet := false; ; {
		last, err := q.follow(ctx, after, fn)
		if ctx.Err() != nil {
			return nil
		}
		if last != after {
			quiet = false
		}
		if !quiet {
			q.log.Warn("outcomes interrupted", "err", err)
		}
		after, quiet = last, true
		select {
		case <-ctx.Done():
		case <-q.back.next().Done():
		case <-time.After(pullRetry):
		}
	}
}

// follow reads until something goes wrong and returns the last sequence that fn has got.
func (q *Queue) follow(ctx context.Context, after uint64, fn func(uint64, events.Outcome)) (uint64, error) {
	info, err := q.streams.Outcomes.Info(ctx)
	if err != nil {
		return after, err
	}
	if after > info.State.LastSeq { // the stream was made anew since the caller looked
		after = 0
	}
	c, err := q.streams.Outcomes.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return after, err
	}
	msgs, err := c.Messages()
	if err != nil {
		return after, err
	}
	defer msgs.Stop()
	for {
		msg, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return after, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return after, err
		}
		after = meta.Sequence.Stream
		if o, err := decodeOutcome(msg.Data()); err != nil {
			q.log.Warn("outcome unreadable", "err", err)
		} else {
			fn(after, o)
		}
	}
}

func decodeOutcome(data []byte) (events.Outcome, error) {
	var rec outcomeRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return events.Outcome{}, fmt.Errorf("decoding an outcome: %w", err)
	}
	if rec.V != version {
		return events.Outcome{}, fmt.Errorf("outcome of version %d: this program writes %d", rec.V, version)
	}
	if rec.Key == "" {
		return events.Outcome{}, errors.New("outcome without a key")
	}
	return rec.Outcome, nil
}
