package embed

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func BenchmarkX(b *testing.B) {
	s, err := Start(context.Background(), b.TempDir(), true, slog.Default())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	js, _ := jetstream.New(nc)
	ctx := context.Background()
	st, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}, MaxMsgsPerSubject: 1, AllowDirect: true, Retention: jetstream.WorkQueuePolicy})
	if err != nil {
		b.Fatal(err)
	}
	js.CreateStream(ctx, jetstream.StreamConfig{Name: "B", Subjects: []string{"b.>"}, MaxMsgsPerSubject: 1, AllowDirect: true, PersistMode: jetstream.AsyncPersistMode})
	js.CreateStream(ctx, jetstream.StreamConfig{Name: "C", Subjects: []string{"c.>"}, MaxMsgsPerSubject: 1, AllowDirect: true, Storage: jetstream.MemoryStorage})
	st2, _ := js.CreateStream(ctx, jetstream.StreamConfig{Name: "D", Subjects: []string{"d.>"}, MaxMsgsPerSubject: 1})
	for _, p := range []string{"a", "b", "c", "d"} {
		b.Run("pub-"+p, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if _, err := js.Publish(ctx, fmt.Sprintf("%s.%d", p, i%1000), []byte("0123456789012345678901234567890123456789")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("directget", func(b *testing.B) {
		for b.Loop() {
			if _, err := st.GetLastMsgForSubject(ctx, "a.5"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("apiget", func(b *testing.B) {
		for b.Loop() {
			if _, err := st2.GetLastMsgForSubject(ctx, "d.5"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("delete", func(b *testing.B) {
		var n time.Duration
		for i := 0; b.Loop(); i++ {
			ack, err := js.Publish(ctx, fmt.Sprintf("a.x%d", i), []byte("0123456789012345678901234567890123456789"))
			if err != nil {
				b.Fatal(err)
			}
			t := time.Now()
			if err := st.DeleteMsg(ctx, ack.Sequence); err != nil {
				b.Fatal(err)
			}
			n += time.Since(t)
		}
		b.ReportMetric(float64(n.Microseconds())/float64(b.N), "us/del")
	})
	b.Run("async", func(b *testing.B) {
		for b.Loop() {
			var fs []jetstream.PubAckFuture
			for i := range 500 {
				f, err := js.PublishAsync(fmt.Sprintf("a.y%d", i), []byte("0123456789012345678901234567890123456789"))
				if err != nil {
					b.Fatal(err)
				}
				fs = append(fs, f)
			}
			for _, f := range fs {
				select {
				case <-f.Ok():
				case err := <-f.Err():
					b.Fatal(err)
				}
			}
		}
	})
	c, err := st.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "a.q.>"})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("next+ack", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			js.Publish(ctx, fmt.Sprintf("a.q.%d", i), []byte("0123456789012345678901234567890123456789"))
			m, err := c.Next()
			if err != nil {
				b.Fatal(err)
			}
			if err := m.DoubleAck(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}
