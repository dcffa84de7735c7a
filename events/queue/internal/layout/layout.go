// Package layout fixes where the queue keeps what: the names of streams and consumers,
// the subjects of their messages and the settings that make them durable. In go a
// connection and the few settings that may differ between installations; out come the
// streams, made if missing and compared if not. It refuses a stream whose settings would
// lose or reorder work.
package layout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// IntakeShards is how many streams share the intake. Each write is synced by itself, so
// one stream takes about one event per disk sync; several are synced side by side. An
// event's id decides its shard, which keeps duplicate suppression whole.
const IntakeShards = 4

// MaxEvent is the size of the largest event that is stored, in bytes.
const MaxEvent = 64 << 10

const (
	headroom        = 8 << 10 // headers beside a payload
	maxSmall        = 16 << 10
	duplicateWindow = 10 * time.Minute
	intakeAge       = 72 * time.Hour
	outcomeAge      = 7 * 24 * time.Hour
	outcomeBytes    = 512 << 20
	parkedBytes     = 1 << 30
	sightingAge     = 30 * 24 * time.Hour
	imageAge        = 7 * 24 * time.Hour
	sessionAge      = time.Hour

	// RouteWait is how long a delivery of intake may stay unsettled before another
	// consumer gets it.
	RouteWait = 30 * time.Second
	// WorkWait is the same for work, which is settled before its run starts, so a short
	// wait will do.
	WorkWait = 4 * time.Second

	maxRouting = 256
	askTimeout = 6 * time.Second // for all of it; servers without a leader do not answer
)

// Settings are what differs between installations.
type Settings struct {
	Replicas    int
	IntakeBytes int64 // all shards together; beyond it events are refused
	Embedded    bool  // this process alone uses the streams
}

// Streams are the queue's streams.
type Streams struct {
	Intake                                              []jetstream.Stream
	Work, Claims, Sessions, Parked, Outcomes, Sightings jetstream.Stream
	Images                                              jetstream.Stream
}

// IntakeName is the name of a shard's stream.
func IntakeName(shard int) string { return fmt.Sprintf("TW_INTAKE_%d", shard) }

func (s Settings) intake(shard int) jetstream.StreamConfig {
	return s.common(jetstream.StreamConfig{
		Name: IntakeName(shard), Subjects: []string{intakeSubjects(shard)},
		Description: "accepted events",
		MaxAge:      intakeAge, MaxBytes: s.IntakeBytes / IntakeShards, MaxMsgSize: MaxEvent + headroom,
		Discard: jetstream.DiscardNew, Duplicates: duplicateWindow,
	})
}

func (s Settings) work() jetstream.StreamConfig {
	return s.common(jetstream.StreamConfig{
		Name: "TW_WORK", Subjects: []string{workSubjects, timerSubjects},
		Description: "keys that want a look and have not got it",
		Retention:   jetstream.WorkQueuePolicy, MaxMsgsPerSubject: 1, MaxMsgSize: maxSmall,
		AllowMsgSchedules: true, AllowRollup: true,
	})
}

func (s Settings) claims() jetstream.StreamConfig {
	return s.common(jetstream.StreamConfig{
		Name: "TW_CLAIMS", Subjects: []string{claimSubjects},
		Description:       "who works on a key now",
		MaxMsgsPerSubject: 1, MaxMsgSize: maxSmall, AllowMsgTTL: true,
	})
}

// sessions are kept in memory: when every server forgets them at once, every session is
// lost, which is what its worker and all others then see.
func (s Settings) sessions() jetstream.StreamConfig {
	return s.common(jetstream.StreamConfig{
		Name: "TW_SESSIONS", Subjects: []string{sessionSubjects},
		Description: "which workers live",
		Storage:     jetstream.MemoryStorage, MaxMsgsPerSubject: 1, MaxMsgSize: maxSmall,
		MaxAge: sessionAge, AllowMsgTTL: true,
	})
}

func (s Settings) parked() jetstream.StreamConfig {
	return s.common(jetstream.StreamConfig{
		Name: "TW_PARKED", Subjects: []string{parkedSubjects},
		Description:       "work that waits for a person",
		MaxMsgsPerSubject: 1, MaxMsgSize: 2*MaxEvent + headroom, MaxBytes: parkedBytes, Discard: jetstream.DiscardNew,
	})
}

// outcomes tell what happened and decide nothing, so on one server they are written
// behind; syncing each would triple the disk writes of a run.
func (s Settings) outcomes() jetstream.StreamConfig {
	cfg := s.common(jetstream.StreamConfig{
		Name: "TW_OUTCOMES", Subjects: []string{outcomeSubjects},
		Description: "what came of events",
		MaxAge:      outcomeAge, MaxBytes: outcomeBytes, MaxMsgSize: maxSmall,
	})
	if s.Replicas == 1 {
		cfg.PersistMode = jetstream.AsyncPersistMode
	}
	return cfg
}

func (s Settings) sightings() jetstream.StreamConfig {
	return s.common(jetstream.StreamConfig{
		Name: "TW_SIGHTINGS", Subjects: []string{sightingSubjects},
		Description: "the last event heard of each source", MaxAge: sightingAge,
		MaxMsgsPerSubject: 1, MaxMsgSize: maxSmall,
	})
}

// images keeps more than the last tag: one pushed a moment before the highest may be
// announced after it.
func (s Settings) images() jetstream.StreamConfig {
	return s.common(jetstream.StreamConfig{
		Name: "TW_IMAGES", Subjects: []string{imageSubjects},
		Description: "the tags announced of each image lately", MaxAge: imageAge,
		MaxMsgsPerSubject: 100, MaxMsgSize: maxSmall,
	})
}

// common fills in what all streams share. Direct reads may be answered by a replica that
// is behind, so they are for single servers.
func (s Settings) common(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Replicas = s.Replicas
	cfg.AllowDirect = s.Replicas == 1
	return cfg
}

// Ensure makes the streams and consumers that are missing and compares the others. A
// cluster that is still electing its leaders is asked again until ctx ends.
func Ensure(ctx context.Context, js jetstream.JetStream, s Settings) (*Streams, error) {
	for {
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		out, err := s.ensure(ask, js)
		unanswered := ask.Err() != nil
		cancel()
		if err == nil || !unanswered || ctx.Err() != nil {
			return out, err
		}
	}
}

func (s Settings) ensure(ctx context.Context, js jetstream.JetStream) (*Streams, error) {
	out := &Streams{Intake: make([]jetstream.Stream, IntakeShards)}
	for shard := range out.Intake {
		var err error
		if out.Intake[shard], err = s.stream(ctx, js, s.intake(shard)); err != nil {
			return nil, err
		}
		if err := ensure(ctx, out.Intake[shard], s.router()); err != nil {
			return nil, err
		}
	}
	for _, x := range []struct {
		to  *jetstream.Stream
		cfg jetstream.StreamConfig
	}{
		{&out.Work, s.work()}, {&out.Claims, s.claims()}, {&out.Sessions, s.sessions()},
		{&out.Parked, s.parked()}, {&out.Outcomes, s.outcomes()}, {&out.Sightings, s.sightings()}, {&out.Images, s.images()},
	} {
		var err error
		if *x.to, err = s.stream(ctx, js, x.cfg); err != nil {
			return nil, err
		}
	}
	for _, lane := range Lanes() {
		if err := ensure(ctx, out.Work, s.lane(lane)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s Settings) stream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	st, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		st, err = js.CreateStream(ctx, want)
		if err != nil {
			return nil, fmt.Errorf("creating stream %s: %w", want.Name, err)
		}
		return st, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up stream %s: %w", want.Name, err)
	}
	have := st.CachedInfo().Config
	if field := mismatch(want, have); field != "" {
		return nil, fmt.Errorf("stream %s: %s differs from what this version needs; correct it, or remove the stream when nothing in it is needed any more", want.Name, field)
	}
	if s.Embedded && have.MaxBytes != want.MaxBytes {
		have.MaxBytes = want.MaxBytes
		if st, err = js.UpdateStream(ctx, have); err != nil {
			return nil, fmt.Errorf("resizing stream %s: %w", want.Name, err)
		}
	}
	return st, nil
}

// mismatch names the first setting whose difference would lose, refuse or reorder work.
// Sizes and ages are the operator's to change.
func mismatch(want, have jetstream.StreamConfig) string {
	for _, c := range []struct {
		name string
		same bool
	}{
		{"storage", want.Storage == have.Storage},
		{"retention", want.Retention == have.Retention},
		{"discard", want.Discard == have.Discard},
		{"persist_mode", want.PersistMode == have.PersistMode},
		{"num_replicas", want.Replicas == have.Replicas},
		{"subjects", slices.Equal(want.Subjects, have.Subjects)},
		{"max_msgs_per_subject", max(want.MaxMsgsPerSubject, 0) == max(have.MaxMsgsPerSubject, 0)},
		{"max_msgs", have.MaxMsgs <= 0},
		{"allow_direct", want.AllowDirect || !have.AllowDirect},
		{"allow_msg_ttl", !want.AllowMsgTTL || have.AllowMsgTTL},
		{"allow_msg_schedules", !want.AllowMsgSchedules || have.AllowMsgSchedules},
		{"duplicate_window", have.Duplicates >= want.Duplicates},
		{"sealed", !have.Sealed},
		{"deny_delete", !have.DenyDelete},
	} {
		if !c.same {
			return c.name
		}
	}
	return ""
}
