package bump

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/tradewind-dev/tradewind/registry"
)

// The results of an update.
const (
	committed = "committed"
	unchanged = "unchanged"
	held      = "held"
	conflict  = "conflict"
	failed    = "failed"
)

type metrics struct {
	scans    *prometheus.HistogramVec
	updates  *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return auto.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}, labels)
	}
	m := &metrics{
		scans: histogram("tradewind_image_scan_duration_seconds", "Time a listing of an image's tags took.",
			[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}, "registry", "result"),
		updates: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "tradewind_image_updates_total", Help: "Looks at an image for one policy, by what came of it.",
		}, []string{"result"}),
		duration: histogram("tradewind_image_update_duration_seconds", "Time from the event of a pushed image until its commit was pushed.",
			[]float64{.05, .1, .25, .5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 120, 180, 300, 600}, "result"),
	}
	for _, result := range []string{committed, unchanged, held, conflict, failed} {
		m.updates.WithLabelValues(result)
	}
	m.duration.WithLabelValues(committed)
	return m
}

// scan starts a clock; calling what it returns stops it. Registries come from the
// configuration of Applications, so there are few.
func (m *metrics) scan(host string) func(*error) {
	start := time.Now()
	return func(err *error) {
		result := "success"
		if *err != nil {
			result = "failure"
			if problem, ok := errors.AsType[*registry.Error](*err); ok && problem.Retriable() {
				result = "error"
			}
		}
		m.scans.WithLabelValues(host, result).Observe(time.Since(start).Seconds())
	}
}
