package handlers

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

// metrics of the gateway. Labels are senders and results, which are few, and receivers,
// which are in the configuration; nothing that was posted becomes one.
type metrics struct {
	deliveries *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	size       *prometheus.HistogramVec
	last       *prometheus.GaugeVec
	ignored    *prometheus.CounterVec
	secrets    *prometheus.CounterVec
	outOfScope *prometheus.CounterVec
	panics     prometheus.Counter
	known      []string // receivers with series
}

// strange is the sender of a post that no receiver is there for.
const strange = "unknown"

func newMetrics(reg prometheus.Registerer, g *Gateway) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	m := &metrics{
		deliveries: counters("deliveries_total", "Posts by how they were answered.", "sender", "result"),
		duration: histograms("delivery_duration_seconds", "Time from the header of a post to its answer.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}),
		size: histograms("delivery_size_bytes", "Bytes of the bodies that were read.", prometheus.ExponentialBuckets(1<<10, 4, 9)),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tradewind_webhook_last_delivery_timestamp_seconds", Help: "When the last genuine post came.",
		}, []string{"sender"}),
		ignored:    counters("ignored_total", "Genuine posts that were of no use, by the reason.", "sender", "reason"),
		secrets:    counters("authenticated_total", "Genuine posts by the secret that fitted; replace the previous one until none does.", "receiver", "secret"),
		outOfScope: counters("out_of_scope_total", "Genuine posts about a repository that their receiver may not speak for.", "receiver"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tradewind_webhook_panics_total", Help: "Posts whose handling panicked; each is a defect.",
		}),
	}
	for _, sender := range webhook.Names() {
		for _, r := range results() {
			m.deliveries.WithLabelValues(sender, string(r))
		}
		for _, r := range webhook.Reasons() {
			m.ignored.WithLabelValues(sender, string(r))
		}
		m.duration.WithLabelValues(sender)
		m.size.WithLabelValues(sender)
	}
	m.deliveries.WithLabelValues(strange, string(unknown))
	reg.MustRegister(m.deliveries, m.duration, m.size, m.last, m.ignored, m.secrets, m.outOfScope, m.panics, failing{g})
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tradewind_webhook_" + name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tradewind_webhook_" + name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
	}, []string{"sender"})
}

// receivers makes the series of those there are, and removes the others'.
func (m *metrics) receivers(set *endpoints) {
	for _, name := range m.known {
		if !slices.Contains(set.names, name) {
			m.secrets.DeletePartialMatch(prometheus.Labels{"receiver": name})
			m.outOfScope.DeleteLabelValues(name)
		}
	}
	m.known = set.names
	for _, e := range set.byPath {
		for _, secret := range secretNames(e) {
			m.secrets.WithLabelValues(e.name(), secret)
		}
		m.outOfScope.WithLabelValues(e.name())
	}
}

func secretNames(e *endpoint) []string {
	if e.Unsigned {
		return []string{none}
	}
	return []string{current, previous}
}

func (m *metrics) authenticated(e *endpoint, secret string, at time.Time) {
	m.secrets.WithLabelValues(e.name(), secret).Inc()
	m.last.WithLabelValues(e.Sender).Set(float64(at.UnixMilli()) / 1000)
}

func (m *metrics) delivered(d *delivery, a *answer, took time.Duration) {
	if d.endpoint == nil {
		m.deliveries.WithLabelValues(strange, string(a.result)).Inc()
		return
	}
	sender := d.endpoint.Sender
	m.deliveries.WithLabelValues(sender, string(a.result)).Inc()
	m.duration.WithLabelValues(sender).Observe(took.Seconds())
	if d.size > 0 {
		m.size.WithLabelValues(sender).Observe(float64(d.size))
	}
	if a.reason != "" {
		m.ignored.WithLabelValues(sender, string(a.reason)).Inc()
	}
}

// failing is the condition of the receivers, as it is when asked.
type failing struct{ g *Gateway }

// A small function rather than a variable: the package has no state.
func failingDesc() *prometheus.Desc {
	return prometheus.NewDesc("tradewind_webhook_receiver_failing",
		"1 while signatures posted to the receiver do not fit, 3 within 5 minutes.", []string{"receiver"}, nil)
}

// Describe implements [prometheus.Collector].
func (failing) Describe(ch chan<- *prometheus.Desc) { ch <- failingDesc() }

// Collect implements [prometheus.Collector].
func (f failing) Collect(ch chan<- prometheus.Metric) {
	set := f.g.endpoints.Load()
	if set == nil {
		return
	}
	now, desc := f.g.now(), failingDesc()
	for _, e := range set.byPath {
		value := 0.0
		if e.failed.Now(now) {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, e.name())
	}
}
