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

// Announcement is a tag that somebody said was pushed. It may never have been.
type Announcement struct {
	Tag    string
	Digest string // as the sender said; empty when it did not
	Event  string
	Time   time.Time // when the event was accepted
}

type announcementRecord struct {
	V      int       `json:"v"`
	Image  string    `json:"image"`
	Tag    string    `json:"tag"`
	Digest string    `json:"digest,omitempty"`
	Event  string    `json:"event"`
	Time   time.Time `json:"time"`
}

// announceFresh is longer than a registry takes to show what it announced.
const announceFresh = 10 * time.Minute

// Announced returns what was announced of an image ([events.ImageKey]) after a mark, in
// order, and the mark to go on from. Zero is for who is going to list the image anyway:
// when nothing was announced lately, the past is left out. The last hundred of a week are
// kept. They are recorded before the event's triggers, so a run that reads them knows of
// every event behind it.
func (q *Queue) Announced(ctx context.Context, imageKey string, after uint64) ([]Announcement, uint64, error) {
	subject := layout.Image(imageKey)
	if after == 0 {
		msg, err := q.streams.Images.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, 0, nil
		}
		if err == nil && q.serverTime(time.Now()).Sub(msg.Time) > announceFresh {
			return nil, msg.Sequence, nil
		}
	}
	var out []Announcement
	for {
		msg, err := q.streams.Images.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out, after, nil
		}
		if err != nil {
			return nil, after, fmt.Errorf("reading what was announced of %q: %w", clip(imageKey, 256), err)
		}
		after = msg.Sequence
		var rec announcementRecord
		if json.Unmarshal(msg.Data, &rec) != nil || rec.Image != imageKey {
			continue // of a newer program, or another image with the same hash
		}
		out = append(out, Announcement{Tag: rec.Tag, Digest: rec.Digest, Event: rec.Event, Time: rec.Time})
	}
}

// announce records ev for every image it is about.
func (q *Queue) announce(ctx context.Context, ev events.Event) error {
	image, err := ev.Published()
	if err != nil {
		return events.Drop(err)
	}
	records := map[string]any{}
	for _, key := range image.Images {
		records[layout.Image(key)] = announcementRecord{V: version, Image: key, Tag: image.Tag, Digest: image.Digest, Event: ev.ID, Time: ev.Time}
	}
	if err := q.keep(ctx, records); err != nil {
		return fmt.Errorf("recording an announcement: %w", err)
	}
	return nil
}
