package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tradewind-dev/tradewind/events"
)

func benchConfig(b *testing.B) Config {
	b.Helper()
	return Config{StoreDir: b.TempDir(), AllowVolatile: true}
}

func report(b *testing.B, all []time.Duration) {
	b.Helper()
	slices.Sort(all)
	for _, p := range []int{50, 90, 99} {
		b.ReportMetric(float64(all[len(all)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}

// BenchmarkTriggerToRun is the time from asking for a look until it begins.
func BenchmarkTriggerToRun(b *testing.B) {
	q := open(b, benchConfig(b))
	began := make(chan time.Time, 1)
	during(b, func(ctx context.Context) error {
		return q.Work(ctx, 8, func(context.Context, Job) error { began <- time.Now(); return nil })
	})
	var all []time.Duration
	for i := 0; b.Loop(); i++ {
		t := trigger(fmt.Sprint(i % 100))
		at := time.Now()
		if err := q.Trigger(b.Context(), t); err != nil {
			b.Fatal(err)
		}
		all = append(all, (<-began).Sub(at))
	}
	report(b, all)
}

// BenchmarkPublishToRun is the time from a gateway's publish until the look it causes.
func BenchmarkPublishToRun(b *testing.B) {
	q := open(b, benchConfig(b))
	began := make(chan time.Time, 1)
	during(b, func(ctx context.Context) error {
		return q.Route(ctx, func(_ context.Context, ev events.Event) ([]events.Trigger, error) {
			return []events.Trigger{{Key: events.AppKey("ns", ev.ID), Cause: events.CauseWebhook, Event: ev.ID, Time: ev.Time}}, nil
		})
	})
	during(b, func(ctx context.Context) error {
		return q.Work(ctx, 8, func(context.Context, Job) error { began <- time.Now(); return nil })
	})
	var all []time.Duration
	for i := 0; b.Loop(); i++ {
		at := time.Now()
		if _, err := q.Publish(b.Context(), pushed(fmt.Sprint(i), "h/r", "refs/heads/main", "1")); err != nil {
			b.Fatal(err)
		}
		all = append(all, (<-began).Sub(at))
	}
	report(b, all)
}

// BenchmarkPublish is how many events callers at the same time get stored.
func BenchmarkPublish(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			q := open(b, benchConfig(b))
			next := make(chan int)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for i := range next {
						if _, err := q.Publish(b.Context(), pushed(fmt.Sprint(i), "h/r", "refs/heads/main", "1")); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				next <- i
			}
			close(next)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkFanout is one event that 500 keys look at: until the last look has ended.
func BenchmarkFanout(b *testing.B) {
	q := open(b, benchConfig(b))
	var done sync.WaitGroup
	during(b, func(ctx context.Context) error {
		return q.Work(ctx, 8, func(context.Context, Job) error { done.Done(); return nil })
	})
	ts := make([]events.Trigger, 500)
	for i := range ts {
		ts[i] = trigger(fmt.Sprint(i))
	}
	for b.Loop() {
		done.Add(len(ts))
		if err := q.enqueue(b.Context(), ts); err != nil {
			b.Fatal(err)
		}
		done.Wait()
	}
}
