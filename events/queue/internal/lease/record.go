package lease

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
)

// version is written into every record; a higher one belongs to a newer program, whose
// records are respected and not understood.
const version = 1

var errNewer = errors.New("written by a newer version")

// State is what is remembered of a key from one run to the next.
type State struct {
	Attempt int `json:"attempt,omitempty"` // runs begun since the last that ended well
	Crashes int `json:"crashes,omitempty"` // of those, how many in a row ended with their worker
	// Failures is where in the table of delays the key is.
	Failures int    `json:"failures,omitempty"`
	Parked   uint64 `json:"parked,omitempty"` // sequence of the parked item that the next run makes void
	Retry    uint64 `json:"retry,omitempty"`  // sequence of the timer of the next try
	// Trigger is what the run in hand was started by.
	Trigger events.Trigger `json:"trigger,omitzero"`
}

// claimRecord is the newest message on a key's claim subject; no session means free.
type claimRecord struct {
	V       int        `json:"v"`
	Key     events.Key `json:"key"`
	Session string     `json:"session,omitempty"`
	Nonce   string     `json:"nonce"` // tells our own write from another's
	State
}

// sessionRecord is the newest message on a session's subject. Dead is for ever; Clean
// says that it left no claim behind.
type sessionRecord struct {
	V     int    `json:"v"`
	ID    string `json:"id"`
	Dead  bool   `json:"dead,omitempty"`
	Clean bool   `json:"clean,omitempty"`
}

func decodeClaim(data []byte) (claimRecord, error) {
	var rec claimRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, fmt.Errorf("decoding a claim: %w", err)
	}
	if rec.V > version {
		return rec, errNewer
	}
	if rec.V < 1 || rec.Attempt < 0 || rec.Crashes < 0 || len(rec.Session) > 256 {
		return rec, fmt.Errorf("decoding a claim: version %d with impossible values", rec.V)
	}
	if rec.Session != "" && rec.Trigger.Key != rec.Key {
		return rec, errors.New("decoding a claim: its trigger is for another key")
	}
	return rec, nil
}

func decodeSession(data []byte) (sessionRecord, error) {
	var rec sessionRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, fmt.Errorf("decoding a session: %w", err)
	}
	if rec.V < 1 || rec.ID == "" || len(rec.ID) > 256 {
		return rec, errors.New("decoding a session: no id")
	}
	return rec, nil
}

// encode cannot fail for the types of this file.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// wrongSequence reports that the server compared and found another record.
func wrongSequence(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == codeInFlight)
}

// codeInFlight: another write to the subject is being replicated.
const codeInFlight = 10164
