package layout

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	scanBatch = 500
	scanIdle  = time.Minute // after which the server removes a scan that was abandoned
)

// Scan calls fn for the newest message of every subject that matches filter, as they
// stand now, oldest first, until fn returns an error.
func Scan(ctx context.Context, st jetstream.Stream, filter string, fn func(subject string, seq uint64, stored time.Time, data []byte) error) error {
	name := st.CachedInfo().Config.Name
	c, err := st.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: filter, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: scanIdle,
	})
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", name, err)
	}
	defer func() {
		_ = st.DeleteConsumer(context.WithoutCancel(ctx), c.CachedInfo().Name) // it ends by itself otherwise
	}()
	for left := c.CachedInfo().NumPending; left > 0; {
		batch, err := c.FetchNoWait(scanBatch)
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", name, err)
		}
		got := 0
		for msg := range batch.Messages() {
			got++
			meta, err := msg.Metadata()
			if err != nil {
				return fmt.Errorf("reading stream %s: %w", name, err)
			}
			left = meta.NumPending
			if err := fn(msg.Subject(), meta.Sequence.Stream, meta.Timestamp, msg.Data()); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil {
			return fmt.Errorf("reading stream %s: %w", name, err)
		}
		if got == 0 || ctx.Err() != nil {
			return ctx.Err() // what was pending has been replaced or removed meanwhile
		}
	}
	return nil
}
