// Package events is the vocabulary that every part of Tradewind shares: what happened
// ([Event]), what should be looked at because of it ([Trigger]), what a handler made of
// it (the verdicts) and what came of it ([Outcome]).
//
// An event is a fact and a hint. It never carries authority: no commit, URL or path in
// it is ever deployed; whoever acts on it reads the source again (requirement R2).
package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// SpecVersion is the CloudEvents version every [Event] is written in.
const SpecVersion = "1.0"

// Type names a kind of event: reverse DNS, past tense, as CDEvents does.
type Type string

// The event types in use.
const (
	// TypeSourcePushed says that a ref of a Git repository moved; Data is a [SourcePushed].
	TypeSourcePushed Type = "dev.tradewind.source.pushed"
)

// Short is the type without the prefix all types share, for metric labels.
func (t Type) Short() string {
	const prefix = "dev.tradewind."
	if s := string(t); len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):]
	}
	return "unknown"
}

// Event is one fact in the CloudEvents 1.0 JSON shape. ID identifies it for duplicate
// suppression: two events with one ID are the same fact.
type Event struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`  // where it entered: "/hooks/github/<receiver>", "/poll"
	Type        Type      `json:"type"`    // what happened
	Subject     string    `json:"subject"` // what it is about: "<repo key>@<ref>"
	Time        time.Time `json:"time"`    // when the gateway accepted it

	// Extension attributes. Delivery is the sender's own id for the HTTP post, kept for
	// support and never trusted; TraceParent continues a W3C trace.
	Receiver    string `json:"receiver,omitempty"`
	Delivery    string `json:"delivery,omitempty"`
	TraceParent string `json:"traceparent,omitempty"`

	Data json.RawMessage `json:"data"`
}

// SourcePushed is the payload of [TypeSourcePushed].
type SourcePushed struct {
	// Repos holds the canonical key ([RepoKey]) of every URL the sender gave for the
	// repository; an Application matches when its own URL has one of these keys.
	Repos []string `json:"repos"`
	// Ref is the full name, refs/heads/… or refs/tags/….
	Ref string `json:"ref"`
	// Before and After are lower-case hex object ids, empty where unknown or all zero.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Deleted is set when the ref is gone.
	Deleted bool `json:"deleted,omitempty"`
	// Pusher is the sender's word for who did it; informational.
	Pusher string `json:"pusher,omitempty"`
}

// Pushed decodes the payload of a [TypeSourcePushed] event.
func (e Event) Pushed() (SourcePushed, error) {
	var p SourcePushed
	if e.Type != TypeSourcePushed {
		return p, fmt.Errorf("event %s has type %q, not %q", e.ID, e.Type, TypeSourcePushed)
	}
	if err := json.Unmarshal(e.Data, &p); err != nil {
		return p, fmt.Errorf("decoding event %s: %w", e.ID, err)
	}
	return p, nil
}
