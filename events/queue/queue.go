// Package queue is the durable line between hearing of something and acting on it:
// events go in, looks at keys come out, one at a time per key. It is built on NATS
// JetStream, embedded in the process or an external cluster, and is the only package
// that uses NATS.
//
// Promises: what Publish accepted is on disk and will be routed; a trigger is followed
// by a look that starts after it; at most one look at a key runs at a time, and one that
// lost its claim is told so; what cannot be handled is parked, never dropped.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/events"
)

// Config says where the queue lives.
type Config struct {
	// URL of an external NATS cluster; empty runs JetStream in this process, without any
	// listener.
	URL string
	// CredentialsFile for the external cluster.
	CredentialsFile string
	// StoreDir keeps the embedded queue. It must be absolute and, unless AllowVolatile,
	// outside the system's temporary folder.
	StoreDir      string
	AllowVolatile bool
	// Replicas of each stream: 1 embedded; 1 or 3 external.
	Replicas int
	// Grace is how long running work may go on after Work's context ended.
	Grace time.Duration
}

// Options are what a Queue reports to; both may be nil.
type Options struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Queue is an open queue. It is safe for concurrent use.
type Queue struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	server  *server.Server // nil when external
	conn    *nats.Conn
	js      jetstream.JetStream
	session *session

	failures atomic.Int32 // publishes that failed in a row
}

// Open starts or connects to the queue and makes its streams.
func Open(ctx context.Context, cfg Config, opts Options) (*Queue, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	q := &Queue{cfg: cfg, log: opts.Logger.With("part", "queue"), metrics: newMetrics(opts.Registerer)}
	if q.cfg.Replicas == 0 {
		q.cfg.Replicas = 1
	}
	if q.cfg.Grace == 0 {
		q.cfg.Grace = 20 * time.Second
	}
	var err error
	if cfg.URL == "" {
		err = q.embed()
	} else {
		err = q.connect()
	}
	if err != nil {
		return nil, err
	}
	if q.js, err = jetstream.New(q.conn); err != nil {
		q.Close()
		return nil, err
	}
	if err := q.makeStreams(ctx); err != nil {
		q.Close()
		return nil, err
	}
	if q.session, err = newSession(ctx, q); err != nil {
		q.Close()
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	if q.server != nil {
		// The store is ours alone, so every claim in it belongs to a process that died.
		if err := q.sweep(ctx); err != nil {
			q.Close()
			return nil, fmt.Errorf("taking over interrupted work: %w", err)
		}
	}
	return q, nil
}

func (q *Queue) embed() error {
	if err := checkStoreDir(q.cfg.StoreDir, q.cfg.AllowVolatile); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "tradewind", JetStream: true, StoreDir: q.cfg.StoreDir, DontListen: true,
		SyncAlways: true, NoSigs: true, JetStreamMaxMemory: -1, JetStreamMaxStore: -1,
	})
	if err != nil {
		return fmt.Errorf("starting the embedded queue in %s: %w", q.cfg.StoreDir, err)
	}
	s.SetLogger(serverLog{q.log}, false, false)
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		return fmt.Errorf("starting the embedded queue in %s: not ready within 30s", q.cfg.StoreDir)
	}
	q.server = s
	q.conn, err = nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		s.Shutdown()
		return fmt.Errorf("connecting to the embedded queue: %w", err)
	}
	return nil
}

func checkStoreDir(dir string, allowVolatile bool) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("queue store %q: want an absolute path", dir)
	}
	rel, err := filepath.Rel(os.TempDir(), dir)
	if err == nil && filepath.IsLocal(rel) && !allowVolatile {
		return fmt.Errorf("queue store %s is in the temporary folder, which a reboot empties; choose another, or set queue.allowVolatile", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("queue store: %w", err)
	}
	return nil
}

func (q *Queue) connect() error {
	opts := []nats.Option{nats.Name("tradewind"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(false)}
	if q.cfg.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(q.cfg.CredentialsFile))
	}
	var err error
	if q.conn, err = nats.Connect(q.cfg.URL, opts...); err != nil {
		return fmt.Errorf("connecting to the queue: %w", err)
	}
	return nil
}

// Close ends the connection and the embedded server. Work and Route must have returned.
func (q *Queue) Close() {
	if q.session != nil {
		q.session.close()
	}
	if q.conn != nil {
		q.conn.Close()
	}
	if q.server != nil {
		q.server.Shutdown()
		q.server.WaitForShutdown()
	}
}

// Ready says whether publishing can be expected to work.
func (q *Queue) Ready(context.Context) error {
	if !q.conn.IsConnected() {
		return errors.New("not connected to the queue")
	}
	if n := q.failures.Load(); n >= 3 {
		return fmt.Errorf("the last %d publishes failed", n)
	}
	return nil
}

// Stored is the receipt of one published event.
type Stored struct {
	Seq       uint64
	Duplicate bool // the same ID was stored a short while ago
}

const maxEvent = 64 << 10

// Publish stores the events; it returns when all of them are on disk. After an error the
// outcome is unknown: publishing the same events again is safe.
func (q *Queue) Publish(ctx context.Context, evs ...events.Event) ([]Stored, error) {
	out := make([]Stored, len(evs))
	for i, ev := range evs {
		begun := time.Now()
		subject, err := intakeSubject(ev)
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(ev)
		if err != nil {
			return nil, fmt.Errorf("encoding event %s: %w", ev.ID, err)
		}
		if len(body) > maxEvent {
			return nil, fmt.Errorf("event %s has %d bytes: at most %d", ev.ID, len(body), maxEvent)
		}
		ack, err := q.js.Publish(ctx, subject, body, jetstream.WithMsgID(token(ev.ID)))
		q.metrics.published(ev.Type, err, time.Since(begun))
		if err != nil {
			q.failures.Add(1)
			return nil, fmt.Errorf("storing event %s: %w", ev.ID, err)
		}
		q.failures.Store(0)
		out[i] = Stored{Seq: ack.Sequence, Duplicate: ack.Duplicate}
	}
	return out, nil
}

// Report publishes an outcome. Outcomes are for people; losing one costs a line on a
// page, so nobody waits for the disk.
func (q *Queue) Report(_ context.Context, o events.Outcome) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = q.js.PublishAsync(outcomePrefix+token(string(o.Key)), body)
	return err
}

// Outcomes calls fn for every outcome stored after the given sequence, and then for each
// new one, until ctx ends.
func (q *Queue) Outcomes(ctx context.Context, after uint64, fn func(seq uint64, o events.Outcome)) error {
	consumer, err := q.js.OrderedConsumer(ctx, outcomesStream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return fmt.Errorf("reading outcomes: %w", err)
	}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		var o events.Outcome
		meta, err := msg.Metadata()
		if err == nil && json.Unmarshal(msg.Data(), &o) == nil {
			fn(meta.Sequence.Stream, o)
		}
	})
	if err != nil {
		return fmt.Errorf("reading outcomes: %w", err)
	}
	<-ctx.Done()
	consuming.Stop()
	return nil
}

// Sighting is the last event heard about a source. Mark grows with every event, so two
// equal marks mean that nothing was heard in between; zero means never.
type Sighting struct {
	Mark  uint64
	Event string
}

type sightingRecord struct {
	Event string `json:"event"`
}

// Sighting returns the last one of a source ([events.SourceKey]).
func (q *Queue) Sighting(ctx context.Context, source string) (Sighting, error) {
	stream, err := q.js.Stream(ctx, sightingsStream)
	if err != nil {
		return Sighting{}, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, sightingPrefix+token(source))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Sighting{}, nil
	}
	if err != nil {
		return Sighting{}, err
	}
	var record sightingRecord
	_ = json.Unmarshal(msg.Data, &record) // the mark alone is what counts
	return Sighting{Mark: msg.Sequence, Event: record.Event}, nil
}

func (q *Queue) sight(ctx context.Context, source, event string) error {
	body, err := json.Marshal(sightingRecord{Event: event})
	if err != nil {
		return err
	}
	_, err = q.js.Publish(ctx, sightingPrefix+token(source), body)
	return err
}
