package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
)

const (
	routersInParallel = 4
	pullWait          = 30 * time.Second // of one empty pull; the next follows at once
)

// Route hands every stored event to route and triggers what it returns, until ctx ends.
// An event is acknowledged only after its triggers are stored, so it may be routed
// twice; the triggers coalesce.
func (q *Queue) Route(ctx context.Context, route func(context.Context, events.Event) ([]events.Trigger, error)) error {
	return q.pull(ctx, intakeStream, routerConsumer, routersInParallel, func(msg jetstream.Msg) {
		if err := q.routeOne(ctx, msg, route); err != nil && ctx.Err() == nil {
			q.log.Warn("event not routed, will be tried again", "err", err)
			_ = msg.NakWithDelay(delayFor(deliveries(msg))) // unanswered, it comes back after the ack wait
		}
	})
}

func (q *Queue) routeOne(ctx context.Context, msg jetstream.Msg, route func(context.Context, events.Event) ([]events.Trigger, error)) error {
	var ev events.Event
	if err := json.Unmarshal(msg.Data(), &ev); err != nil {
		return q.bury(ctx, msg, fmt.Errorf("decoding a stored event: %w", err))
	}
	if push, err := ev.Pushed(); err == nil {
		// Before any trigger: whoever looks because of it must see that there is news.
		for _, repo := range push.Repos {
			if err := q.sight(ctx, events.SourceKey(repo, push.Ref), ev.ID); err != nil {
				return fmt.Errorf("noting event %s: %w", ev.ID, err)
			}
		}
	}
	triggers, err := route(ctx, ev)
	if verdict, _ := events.Judge(err); verdict == events.Dropped {
		return q.bury(ctx, msg, err)
	} else if verdict == events.Retry {
		return err
	}
	for _, t := range triggers {
		if err := q.Trigger(ctx, t); err != nil {
			return err
		}
	}
	return msg.DoubleAck(ctx)
}

// bury parks an event that cannot be routed and acknowledges it.
func (q *Queue) bury(ctx context.Context, msg jetstream.Msg, cause error) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	key := fmt.Sprintf("event/%d", meta.Sequence.Stream)
	if err := q.park(ctx, Parked{Key: events.Key(key), Reason: cause.Error(), Time: time.Now().UTC()}); err != nil {
		return err
	}
	return msg.DoubleAck(ctx)
}

func deliveries(msg jetstream.Msg) int {
	if meta, err := msg.Metadata(); err == nil {
		return int(meta.NumDelivered)
	}
	return 1
}

// pull runs handle for the consumer's messages in a number of goroutines. Each asks for
// a message only when it is free to handle it, because an undelivered prefetch would
// run into its ack wait.
func (q *Queue) pull(ctx context.Context, stream, name string, parallel int, handle func(jetstream.Msg)) error {
	consumer, err := q.js.Consumer(ctx, stream, name)
	if err != nil {
		return fmt.Errorf("consuming %s: %w", stream, err)
	}
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for ctx.Err() == nil {
				msg, err := next(ctx, consumer)
				if err == nil {
					handle(msg)
					continue
				}
				if ctx.Err() == nil && !errors.Is(err, nats404) {
					q.log.Warn("waiting for messages", "stream", stream, "err", err)
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
					}
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// nats404 is an empty pull.
var nats404 = errors.New("no message")

func next(ctx context.Context, consumer jetstream.Consumer) (jetstream.Msg, error) {
	waiting, cancel := context.WithTimeout(ctx, pullWait)
	defer cancel()
	batch, err := consumer.Fetch(1, jetstream.FetchContext(waiting))
	if err != nil {
		return nil, err
	}
	msg, ok := <-batch.Messages()
	if ok {
		return msg, nil
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return nil, nats404
}
