package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

// version is written into every message but events, which carry the CloudEvents version.
// A message with another one is parked: a newer program may have meant something else.
const version = 1

const (
	maxName    = 256  // bytes of ids and short words
	maxSubject = 2048 // bytes of an event's subject
	maxMessage = 1024 // bytes of text for people
)

// entry is a message of the work stream.
type entry struct {
	V       int            `json:"v"`
	At      time.Time      `json:"at,omitzero"` // server's clock; the look is not wanted before
	Retry   bool           `json:"retry,omitempty"`
	Trigger events.Trigger `json:"trigger"`
}

var typePattern = regexp.MustCompile(`^[a-z0-9]+(\.[a-z0-9-]+)+$`)

// encodeEvent refuses what decodeEvent would not take back.
func encodeEvent(ev events.Event) (*nats.Msg, error) {
	if err := checkEvent(ev); err != nil {
		return nil, err
	}
	data, err := json.Marshal(ev)
	if err != nil {
		return nil, err
	}
	if len(data) > layout.MaxEvent {
		return nil, fmt.Errorf("%d bytes: an event has at most %d", len(data), layout.MaxEvent)
	}
	msg := &nats.Msg{Subject: layout.Intake(ev), Data: data, Header: nats.Header{}}
	if ev.TraceParent != "" {
		msg.Header["traceparent"] = []string{ev.TraceParent} // as W3C spells it, so not by Set
	}
	return msg, nil
}

func decodeEvent(data []byte) (events.Event, error) {
	var ev events.Event
	if len(data) > layout.MaxEvent {
		return ev, fmt.Errorf("event of %d bytes: at most %d", len(data), layout.MaxEvent)
	}
	if err := json.Unmarshal(data, &ev); err != nil {
		return ev, fmt.Errorf("decoding an event: %w", err)
	}
	return ev, checkEvent(ev)
}

func checkEvent(ev events.Event) error {
	if ev.SpecVersion != events.SpecVersion {
		return fmt.Errorf("specversion %q: want %q", clip(ev.SpecVersion, 16), events.SpecVersion)
	}
	if err := checkWord("id", ev.ID, maxName); err != nil {
		return err
	}
	if ev.ID == "" {
		return errors.New("no id")
	}
	if !typePattern.MatchString(string(ev.Type)) || len(ev.Type) > maxName {
		return fmt.Errorf("type %q: want reverse DNS in lower case", clip(string(ev.Type), 64))
	}
	for _, w := range []struct {
		name, value string
		most        int
	}{
		{"source", ev.Source, maxSubject}, {"subject", ev.Subject, maxSubject}, {"receiver", ev.Receiver, maxName},
		{"delivery", ev.Delivery, maxName}, {"traceparent", ev.TraceParent, maxName},
	} {
		if err := checkWord(w.name, w.value, w.most); err != nil {
			return err
		}
	}
	return checkData(ev)
}

func checkData(ev events.Event) error {
	switch ev.Type {
	case events.TypeSourcePushed:
		_, err := ev.Pushed()
		return err
	case events.TypeArtifactPublished:
		image, err := ev.Published()
		if err == nil && !events.ValidImageTag(image.Tag) {
			err = fmt.Errorf("tag %q: want a tag by the grammar of OCI", clip(image.Tag, 64))
		}
		return err
	}
	return nil
}

// checkWord refuses text that would break a log line or a header.
func checkWord(name, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%s of %d bytes: at most %d", name, len(s), most)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s %q: want text without control characters", name, clip(s, 64))
	}
	return nil
}

func checkTrigger(t events.Trigger) error {
	if err := t.Key.Validate(); err != nil {
		return err
	}
	if err := checkWord("key", string(t.Key), len(t.Key)); err != nil {
		return err
	}
	if err := checkWord("cause", string(t.Cause), maxName); err != nil {
		return err
	}
	return checkWord("event", t.Event, maxName)
}

// decodeEntry reads a message of the work stream and checks that it is where it belongs.
func decodeEntry(subject string, data []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("decoding a work entry: %w", err)
	}
	if e.V != version {
		return e, fmt.Errorf("work entry of version %d: this program writes %d", e.V, version)
	}
	if err := checkTrigger(e.Trigger); err != nil {
		return e, fmt.Errorf("work entry: %w", err)
	}
	if !layout.WorkOf(subject, e.Trigger.Key) {
		return e, fmt.Errorf("work entry of %s on the subject of another key", e.Trigger.Key)
	}
	return e, nil
}

// about is a key as logs name it.
func about(k events.Key) slog.Attr {
	if namespace, name, ok := k.App(); ok {
		return slog.String("app", namespace+"/"+name)
	}
	return slog.String("key", clip(string(k), maxName))
}

// clip shortens s to at most n bytes without cutting a character, and drops control
// characters: for text that people read.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
