// Package queue is Tradewind's durable line of events, on NATS JetStream: the only user
// of NATS. Events go in ([Queue.Publish]) and are turned into triggers ([Queue.Route]);
// triggers ask for one look at a key ([Queue.Trigger]); workers get the keys
// ([Queue.Work]), one worker per key at a time; what came of it goes to all who listen
// ([Queue.Outcomes]).
//
// It promises: what Publish accepted is on disk and is routed at least once; a trigger
// is followed by a run of its key that began after it; two runs of one key never write
// both (a fencing token tells the late one, [Job.Check]); a failed run is repeated until
// it succeeds, a hopeless or crashing one is parked for a person and never forgotten.
// It refuses events over 64 KiB, keys that do not parse, a store on a memory or temporary
// file system, and streams whose settings could lose work. README.md draws the picture.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/embed"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
	"github.com/tradewind-dev/tradewind/events/queue/internal/lease"
)

const (
	openTimeout   = 30 * time.Second
	closeFlush    = 2 * time.Second
	storeTimeout  = 5 * time.Second // for callers that set no deadline
	maxUnacked    = 4096
	ackGivenUp    = 30 * time.Second // after which a late answer is not waited for
	reconnectWait = 100 * time.Millisecond
)

// Options are what a [Queue] needs from its process.
type Options struct {
	Logger     *slog.Logger          // slog.Default when nil
	Registerer prometheus.Registerer // no metrics when nil
}

// Queue is a connection to the line, and the server behind it when that is embedded. Its
// methods may be called at the same time.
type Queue struct {
	cfg     Config
	log     *slog.Logger
	server  *embed.Server // nil when external
	nc      *nats.Conn
	js      jetstream.JetStream // one request, one answer
	batch   jetstream.JetStream // events, acknowledged out of turn
	fanout  jetstream.JetStream // triggers, so that ten thousand of them hold up no event
	streams *layout.Streams
	leases  *lease.Leases
	metrics *metrics
	health  health
	opened  atomic.Bool
	skew    atomic.Int64 // server's clock minus ours
	back    *broadcast   // a connection came back: what was asked of the old one is void

	ctx    context.Context // ends Work, Route and Outcomes at Close
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed against active
	closed bool
	active sync.WaitGroup
}

// Open starts the embedded server or connects to the external one, and prepares the
// streams.
func Open(ctx context.Context, cfg Config, opts Options) (*Queue, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	q := &Queue{cfg: cfg, log: opts.Logger, back: newBroadcast()}
	if q.log == nil {
		q.log = slog.Default()
	}
	q.log = q.log.With("part", "queue")
	q.ctx, q.cancel = context.WithCancel(context.Background())
	if err := q.open(ctx, opts.Registerer); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the queue: %w", err), q.Close(context.WithoutCancel(ctx)))
	}
	return q, nil
}

func (q *Queue) open(ctx context.Context, reg prometheus.Registerer) error {
	var err error
	if q.cfg.URL == "" {
		if q.server, err = embed.Start(ctx, q.cfg.StoreDir, q.cfg.AllowVolatile, q.log); err != nil {
			return err
		}
	}
	q.metrics = newMetrics()
	if q.nc, err = q.connect(); err != nil {
		return err
	}
	if q.js, err = jetstream.New(q.nc); err != nil {
		return err
	}
	async := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncTimeout(ackGivenUp), jetstream.WithPublishAsyncMaxPending(maxUnacked)}
	if q.batch, err = jetstream.New(q.nc, async...); err != nil {
		return err
	}
	if q.fanout, err = jetstream.New(q.nc, async...); err != nil {
		return err
	}
	if q.streams, err = layout.Ensure(ctx, q.js, q.settings()); err != nil {
		return err
	}
	if err := q.readClock(ctx); err != nil {
		return err
	}
	q.leases = lease.New(q.js, q.streams, lease.Config{
		Renew: q.cfg.Renew, Stop: q.cfg.Stop, Dead: q.cfg.Dead, Sole: q.server != nil,
	}, q.log, q.orphaned)
	q.health.start(q)
	q.opened.Store(true)
	return q.metrics.register(reg, q)
}

func (q *Queue) settings() layout.Settings {
	return layout.Settings{Replicas: q.cfg.Replicas, IntakeBytes: q.cfg.IntakeMaxBytes, Embedded: q.server != nil}
}

// readClock learns the server's clock, by which timers fire; hosts may disagree by
// minutes.
func (q *Queue) readClock(ctx context.Context) error {
	info, err := q.streams.Sessions.Info(ctx)
	if err != nil {
		return fmt.Errorf("reading the server's clock: %w", err)
	}
	if !info.TimeStamp.IsZero() && q.server == nil {
		q.skew.Store(int64(time.Until(info.TimeStamp)))
	}
	return nil
}

// serverTime is t on the server's clock.
func (q *Queue) serverTime(t time.Time) time.Time { return t.Add(time.Duration(q.skew.Load())) }

// Ready is nil when an event could be stored now.
func (q *Queue) Ready(ctx context.Context) error {
	if !q.nc.IsConnected() {
		return errors.New("queue: not connected to the server")
	}
	if err := q.health.problem(time.Now()); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	for _, st := range q.streams.Intake {
		info, err := st.Info(ctx)
		if err != nil {
			return fmt.Errorf("queue: looking at the intake: %w", err)
		}
		if most := info.Config.MaxBytes; most > 0 && info.State.Bytes+layout.MaxEvent > uint64(most) {
			return fmt.Errorf("queue: the intake is full at %d bytes; raise its limit or wait until events are 72 hours old", most)
		}
	}
	return nil
}

// begin registers a blocking call, which Close ends and waits for.
func (q *Queue) begin(ctx context.Context) (context.Context, func(), error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, nil, errors.New("the queue is closed")
	}
	q.active.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(q.ctx, cancel)
	return ctx, func() { unhook(); cancel(); q.active.Done() }, nil
}

// Close ends Work (which lets its runs finish, see [Config.Grace]), Route and Outcomes,
// waits for them until ctx ends, and stops the connection and then the embedded server.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	first := !q.closed
	q.closed = true
	q.mu.Unlock()
	if !first {
		return nil
	}
	q.cancel()
	var errs []error
	ended := make(chan struct{})
	go func() { q.active.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("closing the queue with work in hand: %w", ctx.Err()))
	}
	q.health.wait()
	if q.leases != nil {
		q.leases.Close()
	}
	if q.metrics != nil {
		q.metrics.unregister()
	}
	if q.nc != nil {
		_ = q.nc.FlushTimeout(closeFlush) // what is unacknowledged has been reported as that
		q.nc.Close()
	}
	if q.server != nil {
		errs = append(errs, q.server.Close())
	}
	return errors.Join(errs...)
}

// orphaned re-enqueues a key whose worker died.
func (q *Queue) orphaned(ctx context.Context, st lease.State) error {
	if err := checkTrigger(st.Trigger); err != nil {
		q.log.Error("key of a dead worker unreadable, left alone", "err", err)
		return nil // else it would keep the sweep from all others
	}
	return q.enqueue(ctx, []events.Trigger{st.Trigger})
}

// broadcast tells any number of listeners that something happened.
type broadcast struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
}

func newBroadcast() *broadcast {
	b := &broadcast{}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancel()
	b.ctx, b.cancel = context.WithCancel(context.Background())
}

// next is done when it happens again.
func (b *broadcast) next() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ctx
}
