package git

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	hit  = "hit"
	miss = "miss"
)

type metrics struct {
	operation *prometheus.HistogramVec
	fetched   prometheus.Counter
	cache     *prometheus.CounterVec
	conflicts prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, size func() float64) *metrics {
	auto := promauto.With(reg)
	m := &metrics{
		operation: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tradewind_git_operation_duration_seconds",
			Help:    "Time one exchange with a Git server took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},

			NativeHistogramBucketFactor:    1.1,
			NativeHistogramMaxBucketNumber: 160,
		}, []string{"operation", "result"}),
		fetched: auto.NewCounter(prometheus.CounterOpts{
			Name: "tradewind_git_fetched_bytes_total",
			Help: "Bytes of packs received from Git servers.",
		}),
		conflicts: auto.NewCounter(prometheus.CounterOpts{
			Name: "tradewind_git_push_conflicts_total",
			Help: "Pushes that came second and were made again.",
		}),
		cache: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "tradewind_git_cache_requests_total",
			Help: "Fetches whose commit the mirror had already, and those that needed a pack.",
		}, []string{"result"}),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tradewind_git_cache_size_bytes",
		Help: "Bytes that mirrors take, in memory and on disk.",
	}, size)
	for _, operation := range []string{"list", "fetch", "clone", "push"} {
		for _, result := range []string{"success", "failure", "error", "timeout", "canceled"} {
			m.operation.WithLabelValues(operation, result)
		}
	}
	m.cache.WithLabelValues(hit)
	m.cache.WithLabelValues(miss)
	return m
}

// time starts a clock; calling what it returns stops it.
func (m *metrics) time(operation string) func(*error) {
	start := time.Now()
	return func(err *error) {
		m.operation.WithLabelValues(operation, resultOf(*err)).Observe(time.Since(start).Seconds())
	}
}

// resultOf sorts errors by who has to mend them: failure is for those who write sources,
// error for those who run servers.
func resultOf(err error) string {
	if err == nil {
		return "success"
	}
	switch e := newError("", Source{}, "", err); {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(e.Kind, ErrUnreachable):
		return "error"
	}
	return "failure"
}

// counting counts what is read.
func (m *metrics) counting(r io.Reader) io.Reader { return &countingReader{r, m.fetched} }

type countingReader struct {
	io.Reader
	read prometheus.Counter
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read.Add(float64(n))
	return n, err
}
