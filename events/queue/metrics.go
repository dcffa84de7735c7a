package queue

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/events"
)

type metrics struct {
	publishedTotal  *prometheus.CounterVec
	publishDuration *prometheus.HistogramVec
	handled         *prometheus.CounterVec
	wait            prometheus.Histogram
	inFlight        prometheus.Gauge
	parked          prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		publishedTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tradewind_queue_published_total", Help: "Events given to the queue, by whether it stored them.",
		}, []string{"type", "result"}),
		publishDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tradewind_queue_publish_duration_seconds", Help: "How long storing an event took, until it was on disk.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"type"}),
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tradewind_queue_handled_total", Help: "Looks by what the handler made of them.",
		}, []string{"verdict"}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tradewind_queue_wait_seconds", Help: "From the event behind a look until the look began.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tradewind_queue_in_flight", Help: "Looks that run now."}),
		parked:   prometheus.NewCounter(prometheus.CounterOpts{Name: "tradewind_queue_parked_total", Help: "Work that was parked for a human."}),
	}
	for _, v := range []events.Verdict{events.Done, events.Skipped, events.Retry, events.Dropped} {
		m.handled.WithLabelValues(string(v))
	}
	for _, result := range []string{"success", "error"} {
		m.publishedTotal.WithLabelValues(events.TypeSourcePushed.Short(), result)
	}
	if reg != nil {
		reg.MustRegister(m.publishedTotal, m.publishDuration, m.handled, m.wait, m.inFlight, m.parked)
	}
	return m
}

func (m *metrics) published(t events.Type, err error, took time.Duration) {
	result := "success"
	if err != nil {
		result = "error"
	}
	m.publishedTotal.WithLabelValues(t.Short(), result).Inc()
	m.publishDuration.WithLabelValues(t.Short()).Observe(took.Seconds())
}

func (m *metrics) waited(since time.Time) {
	if !since.IsZero() {
		m.wait.Observe(max(0, time.Since(since).Seconds()))
	}
}
