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

// Sighting is the last event heard of a source.
type Sighting struct {
	// Mark changes whenever an event is heard; zero means none within thirty days.
	Mark   uint64
	Event  string
	Commit string // what the sender said; a hint, never deployed
	Time   time.Time
}

type sightingRecord struct {
	V      int       `json:"v"`
	Source string    `json:"source"`
	Event  string    `json:"event"`
	Commit string    `json:"commit,omitempty"`
	Time   time.Time `json:"time"`
}

// Sighting returns the last event heard of sourceKey ([events.SourceKey]). It is recorded
// before the event's triggers, so a run that reads it knows of every event behind it.
func (q *Queue) Sighting(ctx context.Context, sourceKey string) (Sighting, error) {
	msg, err := q.streams.Sightings.GetLastMsgForSubject(ctx, layout.Sighting(sourceKey))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Sighting{}, nil
	}
	if err != nil {
		return Sighting{}, fmt.Errorf("reading the sighting of %q: %w", clip(sourceKey, 256), err)
	}
	var rec sightingRecord
	if err := json.Unmarshal(msg.Data, &rec); err != nil || rec.Source != sourceKey {
		// The mark alone makes the caller look, which is all a sighting is for.
		return Sighting{Mark: msg.Sequence, Time: msg.Time}, nil //nolint:nilerr // see above
	}
	return Sighting{Mark: msg.Sequence, Event: rec.Event, Commit: rec.Commit, Time: rec.Time}, nil
}

// note keeps what a coalesced trigger cannot carry.
func (q *Queue) note(ctx context.Context, ev events.Event) error {
	switch ev.Type {
	case events.TypeSourcePushed:
		return q.sight(ctx, ev)
	case events.TypeArtifactPublished:
		return q.announce(ctx, ev)
	}
	return nil
}

// sight records ev for every source it is about.
func (q *Queue) sight(ctx context.Context, ev events.Event) error {
	push, err := ev.Pushed()
	if err != nil {
		return events.Drop(err)
	}
	records := map[string]any{}
	for _, repo := range push.Repos {
		source := events.SourceKey(repo, push.Ref)
		records[layout.Sighting(source)] = sightingRecord{V: version, Source: source, Event: ev.ID, Commit: push.After, Time: ev.Time}
	}
	if err := q.keep(ctx, records); err != nil {
		return fmt.Errorf("recording a sighting: %w", err)
	}
	return nil
}

// keep stores records by their subjects, side by side.
func (q *Queue) keep(ctx context.Context, records map[string]any) error {
	acks := make([]jetstream.PubAckFuture, 0, len(records))
	for subject, record := range records {
		data, err := json.Marshal(record)
		if err != nil {
			return err
		}
		ack, err := q.fanout.PublishAsync(subject, data, jetstream.WithStallWait(storeTimeout))
		if err != nil {
			return err
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		if _, err := await(ctx, ack); err != nil {
			return err
		}
	}
	return nil
}
