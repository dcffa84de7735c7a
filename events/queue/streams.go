package queue

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
)

// The streams.
const (
	intakeStream    = "TW_INTAKE"    // accepted events, kept for replay
	workStream      = "TW_WORK"      // one waiting look per key, and timers
	claimsStream    = "TW_CLAIMS"    // who looks at a key now
	sessionsStream  = "TW_SESSIONS"  // which workers are alive
	sightingsStream = "TW_SIGHTINGS" // the last event heard per source
	parkedStream    = "TW_PARKED"    // what needs a human
	outcomesStream  = "TW_OUTCOMES"  // what came of it all
)

// The subjects. Whatever people name ends in a hash: Git allows dots, stars and spaces.
const (
	intakePrefix   = "tw.in."
	workPrefix     = "tw.work."
	timerPrefix    = "tw.timer."
	claimPrefix    = "tw.claim."
	sessionPrefix  = "tw.session."
	sightingPrefix = "tw.sighting."
	parkedPrefix   = "tw.parked."
	outcomePrefix  = "tw.out."
)

// token turns any name into one subject token of a fixed alphabet.
func token(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

func intakeSubject(ev events.Event) (string, error) {
	if ev.ID == "" || ev.SpecVersion != events.SpecVersion {
		return "", fmt.Errorf("event %q has specversion %q: want an id and %q", ev.ID, ev.SpecVersion, events.SpecVersion)
	}
	switch ev.Type {
	case events.TypeSourcePushed:
		return intakePrefix + "git." + token(ev.Subject), nil
	}
	return "", fmt.Errorf("event %s has unknown type %q", ev.ID, ev.Type)
}

const (
	intakeAge     = 72 * time.Hour
	intakeBytes   = 2 << 30
	outcomesAge   = 7 * 24 * time.Hour
	outcomesBytes = 512 << 20
	dedupeWindow  = 10 * time.Minute
)

func (q *Queue) makeStreams(ctx context.Context) error {
	one := func(name string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{Name: name, Subjects: subjects, MaxMsgsPerSubject: 1}
	}
	work := one(workStream, workPrefix+">", timerPrefix+">")
	work.Retention, work.AllowMsgSchedules = jetstream.WorkQueuePolicy, true
	for _, cfg := range []jetstream.StreamConfig{
		// A full intake refuses: what was accepted is never dropped to make room.
		{Name: intakeStream, Subjects: []string{intakePrefix + ">"}, MaxAge: intakeAge, MaxBytes: intakeBytes,
			Discard: jetstream.DiscardNew, Duplicates: dedupeWindow},
		work,
		one(claimsStream, claimPrefix+">"),
		one(sessionsStream, sessionPrefix+">"),
		one(sightingsStream, sightingPrefix+">"),
		one(parkedStream, parkedPrefix+">"),
		{Name: outcomesStream, Subjects: []string{outcomePrefix + ">"}, MaxAge: outcomesAge, MaxBytes: outcomesBytes},
	} {
		cfg.Storage, cfg.Replicas, cfg.AllowDirect = jetstream.FileStorage, q.cfg.Replicas, true
		if cfg.Name == claimsStream || cfg.Name == sightingsStream {
			cfg.AllowDirect = q.cfg.Replicas == 1 // a follower may answer with what was before
		}
		if _, err := q.js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("making stream %s: %w", cfg.Name, err)
		}
	}
	for _, c := range []struct {
		stream string
		cfg    jetstream.ConsumerConfig
	}{
		{intakeStream, jetstream.ConsumerConfig{Durable: routerConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxAckPending: 256}},
		{workStream, jetstream.ConsumerConfig{Durable: workConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 4 * time.Second,
			MaxAckPending: 10_000, FilterSubject: workPrefix + ">"}},
	} {
		if _, err := q.js.CreateOrUpdateConsumer(ctx, c.stream, c.cfg); err != nil {
			return fmt.Errorf("making the consumer of %s: %w", c.stream, err)
		}
	}
	return nil
}

const (
	routerConsumer = "router"
	workConsumer   = "work"
)

// serverLog takes what the embedded server has to say; its notices are our debug level.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug("nats", "text", fmt.Sprintf(format, v...))
}
func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn("nats", "text", fmt.Sprintf(format, v...))
}
func (l serverLog) Fatalf(format string, v ...any) {
	l.log.Error("nats", "text", fmt.Sprintf(format, v...))
}
func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error("nats", "text", fmt.Sprintf(format, v...))
}
func (l serverLog) Debugf(string, ...any) {}
func (l serverLog) Tracef(string, ...any) {}
