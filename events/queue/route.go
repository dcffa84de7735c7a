package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

const (
	routeTogether = 8 // events in flight per shard
	routeTimeout  = 25 * time.Second
	maxPanics     = 5 // deliveries of an event whose routing panics, before it is parked
)

var errPanicked = errors.New("panicked")

// Route hands every stored event to fn until ctx ends, publishes the triggers it returns
// and then forgets the event. An event of a source is recorded as its [Sighting] before, one of
// an image as its [Announcement].
// Several events are in flight at once, in no order; the same one may come again. When fn
// fails, the event comes again later; when it drops it, the event is parked. Several
// processes may route at the same time.
func (q *Queue) Route(ctx context.Context, fn func(context.Context, events.Event) ([]events.Trigger, error)) error {
	ctx, end, err := q.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	var wg sync.WaitGroup
	for _, st := range q.streams.Intake {
		slots := newSlots(routeTogether)
		wg.Go(func() {
			q.pull(ctx, st, layout.Router, slots, layout.Now, func(msg jetstream.Msg) {
				defer slots.give(layout.Now)
				q.route(ctx, msg, fn)
			})
		})
		defer slots.wait()
	}
	wg.Wait()
	return nil
}

type routeFunc func(context.Context, events.Event) ([]events.Trigger, error)

// route settles one delivery. What has begun is finished even when ctx ends.
func (q *Queue) route(ctx context.Context, msg jetstream.Msg, fn routeFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), routeTimeout)
	defer cancel()
	running := q.metrics.inFlight.WithLabelValues(layout.Router)
	running.Inc()
	defer running.Dec()
	began := time.Now()
	meta, err := msg.Metadata()
	if err != nil {
		q.log.Error("event without metadata", "err", err)
		return
	}
	ev, err := decodeEvent(msg.Data())
	if err != nil {
		q.settleRoute(ctx, msg, ev, meta, events.Drop(err))
		return
	}
	if meta.NumDelivered == 1 {
		q.metrics.waited(short(ev.Type), q.serverTime(began).Sub(meta.Timestamp))
	} else {
		q.metrics.redelivered(short(ev.Type))
	}
	err = q.handle(ctx, ev, fn)
	if errors.Is(err, errPanicked) && meta.NumDelivered >= maxPanics {
		err = events.Drop(err)
	}
	q.settleRoute(ctx, msg, ev, meta, err)
}

func (q *Queue) handle(ctx context.Context, ev events.Event, fn routeFunc) error {
	if err := q.note(ctx, ev); err != nil {
		return err
	}
	var triggers []events.Trigger
	err := q.guard(slog.String("event", ev.ID), func() (err error) {
		triggers, err = fn(ctx, ev)
		return err
	})
	if err != nil {
		return err
	}
	return q.enqueue(ctx, triggers)
}

// settleRoute makes of the verdict what becomes of the event.
func (q *Queue) settleRoute(ctx context.Context, msg jetstream.Msg, ev events.Event, meta *jetstream.MsgMetadata, err error) {
	verdict, delay := events.Judge(err)
	if verdict == events.Dropped {
		if parkErr := q.parkEvent(ctx, ev, msg, meta, err); parkErr != nil {
			verdict, delay, err = events.Retry, 0, errors.Join(err, parkErr)
		}
	}
	q.metrics.handled(short(ev.Type), verdict)
	switch verdict {
	case events.Retry:
		if delay == 0 {
			delay = q.delay(int(meta.NumDelivered))
		}
		q.log.Warn("event not routed yet", "event", ev.ID, "type", string(ev.Type),
			"attempt", meta.NumDelivered, "retry_in", delay.String(), "err", err)
		err = msg.NakWithDelay(delay)
	default:
		err = msg.DoubleAck(ctx)
	}
	if err != nil { // it comes again
		q.log.Warn("event not settled", "event", ev.ID, "type", string(ev.Type), "err", err)
	}
}

// guard turns a panic of fn into an error; what it was doing goes to the log.
func (q *Queue) guard(what slog.Attr, fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			q.log.With(what).Error("handler panicked", "reason", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %s", errPanicked, clip(fmt.Sprint(v), maxMessage))
		}
	}()
	return fn()
}
