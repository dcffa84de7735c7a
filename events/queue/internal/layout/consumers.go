package layout

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Router is the name of the consumer of each intake stream.
const Router = "router"

func (s Settings) router() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: Router, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait: RouteWait, MaxDeliver: -1, MaxAckPending: maxRouting,
	}
}

// lane has no limit on what is unsettled: entries given back with a delay count as that.
// An embedded server may forget the consumer with the process, since every entry that
// then exists is free to be delivered again, at once.
func (s Settings) lane(l Lane) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: string(l), FilterSubject: LaneWork(l), AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: WorkWait, MaxDeliver: -1, MaxAckPending: -1, MemoryStorage: s.Embedded,
	}
}

// ensure makes cfg's consumer if it is missing. An existing one is never touched:
// changing a live consumer could make it forget what is in flight.
func ensure(ctx context.Context, st jetstream.Stream, cfg jetstream.ConsumerConfig) error {
	name := st.CachedInfo().Config.Name
	_, err := st.Consumer(ctx, cfg.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = st.CreateConsumer(ctx, cfg)
	}
	if err != nil {
		return fmt.Errorf("preparing consumer %s of stream %s: %w", cfg.Durable, name, err)
	}
	return nil
}
