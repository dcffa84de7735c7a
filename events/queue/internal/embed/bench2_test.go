package embed

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func BenchmarkShards(b *testing.B) {
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
	for _, shards := range []int{1, 2, 4, 8} {
		for i := range shards {
			js.CreateStream(ctx, jetstream.StreamConfig{Name: fmt.Sprintf("S%d_%d", shards, i), Subjects: []string{fmt.Sprintf("s%d.%d.>", shards, i)}, Duplicates: 10 * time.Minute})
		}
		for _, conc := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("shards%d/conc%d", shards, conc), func(b *testing.B) {
				var n atomic.Int64
				data := []byte(strings.Repeat("x", 600))
				var wg sync.WaitGroup
				for range conc {
					wg.Go(func() {
						for {
							i := n.Add(1)
							if i > int64(b.N) {
								return
							}
							if _, err := js.Publish(ctx, fmt.Sprintf("s%d.%d.a.b", shards, int(i)%shards), data, jetstream.WithMsgID(fmt.Sprint(time.Now().UnixNano(), i))); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}
