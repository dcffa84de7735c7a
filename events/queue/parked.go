package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
	"github.com/tradewind-dev/tradewind/events/queue/internal/lease"
)

// The classes of parked items.
const (
	parkedKey        = "key"
	parkedEvent      = "event"
	parkedUnreadable = "unreadable"
)

var errCrashed = errors.New("crashed")

// Parked is work that no retry can help: it waits for a person, or for a new trigger of
// its key.
type Parked struct {
	// Key names it for [Queue.Unpark]: the key itself, "event/<id>", or
	// "unreadable/<subject>" for a message that could not be understood.
	Key events.Key
	// Reason is dropped, crashed or unreadable.
	Reason  string
	Message string
	// Fingerprint is equal for items that failed in the same way.
	Fingerprint string
	Attempts    int
	Cause       events.Cause
	Event       string // id of the event behind it
	Time        time.Time
}

type parkedRecord struct {
	V        int             `json:"v"`
	Key      events.Key      `json:"key"`
	Reason   string          `json:"reason"`
	Message  string          `json:"message"`
	Print    string          `json:"fingerprint"`
	Attempts int             `json:"attempts,omitempty"`
	Trigger  events.Trigger  `json:"trigger,omitzero"`
	Event    json.RawMessage `json:"event,omitempty"` // for events, as stored
	Raw      []byte          `json:"raw,omitempty"`   // for what could not be read
	Time     time.Time       `json:"time"`
}

// Parked lists what is parked, by key.
func (q *Queue) Parked(ctx context.Context) ([]Parked, error) {
	var all []Parked
	err := layout.Scan(ctx, q.streams.Parked, layout.AllParked, func(subject string, _ uint64, stored time.Time, data []byte) error {
		var rec parkedRecord
		if err := json.Unmarshal(data, &rec); err != nil {
			all = append(all, Parked{Key: events.Key(parkedUnreadable + "/" + subject), Reason: parkedUnreadable, Time: stored})
			return nil //nolint:nilerr // what a newer version parked is listed all the same
		}
		all = append(all, Parked{
			Key: rec.Key, Reason: rec.Reason, Message: rec.Message, Fingerprint: rec.Print,
			Attempts: rec.Attempts, Cause: rec.Trigger.Cause, Event: rec.Trigger.Event, Time: rec.Time,
		})
		return nil
	})
	slices.SortFunc(all, func(a, b Parked) int { return cmp.Compare(a.Key, b.Key) })
	return all, err
}

// Unpark tries a parked item again: a key is triggered, an event is stored anew.
func (q *Queue) Unpark(ctx context.Context, key events.Key) error {
	class := parkedKey
	if prefix, _, _ := strings.Cut(string(key), "/"); prefix == parkedEvent || prefix == parkedUnreadable {
		class = prefix
	}
	msg, err := q.streams.Parked.GetLastMsgForSubject(ctx, layout.Parked(class, string(key)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("unparking %q: it is not parked", clip(string(key), 128))
	}
	if err != nil {
		return fmt.Errorf("unparking %q: %w", clip(string(key), 128), err)
	}
	var rec parkedRecord
	if err := json.Unmarshal(msg.Data, &rec); err != nil {
		return fmt.Errorf("unparking %q: %w", clip(string(key), 128), err)
	}
	switch class {
	case parkedKey:
		err = q.Trigger(ctx, events.Trigger{Key: key, Cause: events.CauseReplay, Event: rec.Trigger.Event, Time: time.Now()})
	case parkedEvent:
		err = q.replay(ctx, rec.Event)
	default:
		err = errors.New("nothing can be made of it; it stays for inspection")
	}
	if err != nil {
		return fmt.Errorf("unparking %s: %w", key, err)
	}
	q.forget(ctx, q.streams.Parked, msg.Sequence)
	return nil
}

// replay stores an event again, past the suppression of duplicates.
func (q *Queue) replay(ctx context.Context, data []byte) error {
	ev, err := decodeEvent(data)
	if err != nil {
		return err
	}
	_, err = q.put(ctx, layout.Intake(ev), ev)
	return err
}

// park stores why t's key is given up.
func (q *Queue) park(ctx context.Context, t events.Trigger, st lease.State, why error) (uint64, error) {
	reason := "dropped"
	if errors.Is(why, errCrashed) {
		reason = "crashed"
	}
	return q.store(ctx, parkedKey, work, parkedRecord{Key: t.Key, Reason: reason, Message: why.Error(), Attempts: st.Attempt, Trigger: t})
}

func (q *Queue) parkEvent(ctx context.Context, ev events.Event, msg jetstream.Msg, meta *jetstream.MsgMetadata, why error) error {
	if checkEvent(ev) != nil {
		q.log.Error("event unreadable, parked", "err", why)
		_, err := q.store(ctx, parkedUnreadable, "unknown", unreadable(msg, meta, why))
		return err
	}
	q.log.Error("event dropped, parked", "event", ev.ID, "type", string(ev.Type), "err", why)
	_, err := q.store(ctx, parkedEvent, short(ev.Type), parkedRecord{
		Key: events.Key(parkedEvent + "/" + ev.ID), Reason: "dropped", Message: why.Error(),
		Attempts: int(meta.NumDelivered), Trigger: events.Trigger{Event: ev.ID}, Event: msg.Data(),
	})
	return err
}

// parkUnreadable moves a message that makes no sense out of the way of the others.
func (q *Queue) parkUnreadable(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, why error) {
	q.log.Error("work unreadable, parked", "err", why)
	_, err := q.store(ctx, parkedUnreadable, work, unreadable(msg, meta, why))
	if err == nil {
		_, err = q.removeEntry(ctx, meta.Sequence.Stream)
	}
	if err != nil {
		q.log.Error("work not parked yet", "err", err)
		_ = msg.NakWithDelay(q.cfg.Delays[len(q.cfg.Delays)-1])
	}
}

func unreadable(msg jetstream.Msg, meta *jetstream.MsgMetadata, why error) parkedRecord {
	id := fmt.Sprintf("%s/%s@%d", parkedUnreadable, meta.Stream, meta.Sequence.Stream)
	return parkedRecord{Key: events.Key(id), Reason: parkedUnreadable, Message: why.Error(), Raw: msg.Data()}
}

func (q *Queue) store(ctx context.Context, class, kind string, rec parkedRecord) (uint64, error) {
	rec.V, rec.Time = version, time.Now()
	rec.Message = clip(rec.Message, maxMessage)
	rec.Print = fingerprint(rec.Reason, rec.Message)
	seq, err := q.put(ctx, layout.Parked(class, string(rec.Key)), rec)
	if err != nil {
		return 0, fmt.Errorf("parking %s: %w", rec.Key, err)
	}
	q.metrics.parked(kind)
	return seq, nil
}

// fingerprint leaves out digits: counters, times and addresses make no two failures
// different.
func fingerprint(reason, message string) string {
	return layout.Token(reason + " " + strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, message))[:12]
}

// forget deletes a message that something newer made void; one that is gone is no error.
func (q *Queue) forget(ctx context.Context, st jetstream.Stream, seq uint64) bool {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	err := st.DeleteMsg(ctx, seq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		q.log.Warn("message not deleted", "err", err)
		return false
	}
	return true
}
