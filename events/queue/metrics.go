package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

// work is the type label of looks, beside those of events.
const work = "work"

// kinds are the values of the type label; others are counted as unknown, because a label
// must not grow with what senders invent.
func kinds() []string {
	names := []string{"unknown"}
	for _, t := range events.Types() {
		names = append(names, t.Short())
	}
	return names
}

func short(t events.Type) string {
	if slices.Contains(events.Types(), t) {
		return t.Short()
	}
	return "unknown"
}

const scrapeTimeout = 2 * time.Second

type metrics struct {
	publishes    *prometheus.CounterVec
	publishTime  *prometheus.HistogramVec
	verdicts     *prometheus.CounterVec
	wait         *prometheus.HistogramVec
	redeliveries *prometheus.CounterVec
	parkings     *prometheus.CounterVec
	inFlight     *prometheus.GaugeVec
	reconnects   prometheus.Counter
	state        *stateCollector
	reg          prometheus.Registerer
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "tradewind", Subsystem: "queue", Name: name, Help: help}
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tradewind", Subsystem: "queue", Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}, []string{"type"})
	}
	m := &metrics{
		publishes:    counter("published_total", "Events given to the queue, by what came of it.", "type", "result"),
		publishTime:  histogram("publish_duration_seconds", "Time until an event was known to be stored.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}),
		verdicts:     counter("handled_total", "Events routed and looks taken, by verdict.", "type", "verdict"),
		wait:         histogram("wait_seconds", "Time from being stored to the first attempt.", []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}),
		redeliveries: counter("redeliveries_total", "Attempts after the first.", "type"),
		parkings:     counter("parked_total", "Items parked for a person.", "type"),
		inFlight:     prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("in_flight", "What this process works on now.")), []string{"consumer"}),
		reconnects:   prometheus.NewCounter(prometheus.CounterOpts(opts("reconnects_total", "Connections to the server that were made again."))),
	}
	for _, kind := range append(kinds(), work) {
		m.redeliveries.WithLabelValues(kind)
		m.parkings.WithLabelValues(kind)
		for _, v := range []events.Verdict{events.Done, events.Skipped, events.Retry, events.Dropped} {
			m.verdicts.WithLabelValues(kind, string(v))
		}
	}
	for _, kind := range kinds() {
		for _, result := range []string{"stored", "duplicate", "error"} {
			m.publishes.WithLabelValues(kind, result)
		}
	}
	for _, c := range consumers() {
		m.inFlight.WithLabelValues(c)
	}
	return m
}

// consumers are the values of the consumer label.
func consumers() []string {
	all := []string{layout.Router}
	for _, l := range layout.Lanes() {
		all = append(all, string(l))
	}
	return all
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.publishes, m.publishTime, m.verdicts, m.wait, m.redeliveries, m.parkings, m.inFlight, m.reconnects, m.state,
	}
}

func (m *metrics) register(reg prometheus.Registerer, q *Queue) error {
	if reg == nil {
		return nil
	}
	m.state = newStateCollector(q)
	m.reg = reg
	for _, c := range m.collectors() {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.collectors() {
		m.reg.Unregister(c)
	}
}

func (m *metrics) published(t events.Type, result string, took time.Duration) {
	m.publishes.WithLabelValues(short(t), result).Inc()
	m.publishTime.WithLabelValues(short(t)).Observe(took.Seconds())
}

func (m *metrics) handled(kind string, v events.Verdict) {
	m.verdicts.WithLabelValues(kind, string(v)).Inc()
}
func (m *metrics) waited(kind string, d time.Duration) {
	m.wait.WithLabelValues(kind).Observe(max(d, 0).Seconds())
}
func (m *metrics) redelivered(kind string) { m.redeliveries.WithLabelValues(kind).Inc() }
func (m *metrics) parked(kind string)      { m.parkings.WithLabelValues(kind).Inc() }

// stateCollector asks the server when it is scraped; nothing is kept up to date for
// nobody. What it cannot learn in time is left out.
type stateCollector struct {
	q                                   *Queue
	connected, pending, oldest, waiting *prometheus.Desc
}

func newStateCollector(q *Queue) *stateCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tradewind_queue_"+name, help, labels, nil)
	}
	return &stateCollector{
		q:         q,
		connected: desc("connected", "Whether the server is reachable."),
		pending:   desc("pending", "What is stored and not begun, in all processes together.", "consumer"),
		oldest:    desc("oldest_pending_seconds", "Age of the oldest that is pending.", "consumer"),
		waiting:   desc("parked_events", "What is parked and waits for a person now.", "type"),
	}
}

// Describe implements [prometheus.Collector].
func (s *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.connected
	ch <- s.pending
	ch <- s.oldest
	ch <- s.waiting
}

// Collect implements [prometheus.Collector].
func (s *stateCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(s.q.ctx, scrapeTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if !s.q.nc.IsConnected() {
		gauge(s.connected, 0)
		return
	}
	gauge(s.connected, 1)
	if n, age, err := s.router(ctx); err == nil {
		gauge(s.pending, float64(n), layout.Router)
		gauge(s.oldest, age.Seconds(), layout.Router)
	}
	for _, lane := range layout.Lanes() {
		if n, age, err := s.lane(ctx, lane); err == nil {
			gauge(s.pending, float64(n), string(lane))
			gauge(s.oldest, age.Seconds(), string(lane))
		}
	}
	for kind, class := range map[string]string{work: parkedKey, "event": parkedEvent, "unknown": parkedUnreadable} {
		info, err := s.q.streams.Parked.Info(ctx, jetstream.WithSubjectFilter(layout.ParkedClass(class)))
		if err == nil {
			gauge(s.waiting, float64(len(info.State.Subjects)), kind)
		}
	}
}

func (s *stateCollector) router(ctx context.Context) (pending uint64, oldest time.Duration, err error) {
	for _, st := range s.q.streams.Intake {
		c, err := st.Consumer(ctx, layout.Router)
		if err != nil {
			return 0, 0, err
		}
		info := c.CachedInfo()
		n := info.NumPending + uint64(info.NumAckPending)
		pending += n
		if n == 0 {
			continue
		}
		age, err := s.age(ctx, st, info.AckFloor.Stream+1, layout.AllIntake)
		if err != nil {
			return 0, 0, err
		}
		oldest = max(oldest, age)
	}
	return pending, oldest, nil
}

func (s *stateCollector) lane(ctx context.Context, lane layout.Lane) (uint64, time.Duration, error) {
	info, err := s.q.streams.Work.Info(ctx, jetstream.WithSubjectFilter(layout.LaneWork(lane)))
	if err != nil {
		return 0, 0, err
	}
	age, err := s.age(ctx, s.q.streams.Work, 1, layout.LaneWork(lane))
	return uint64(len(info.State.Subjects)), age, err
}

// age is that of the first message from seq on that matches filter, zero without one.
func (s *stateCollector) age(ctx context.Context, st jetstream.Stream, seq uint64, filter string) (time.Duration, error) {
	msg, err := st.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return max(s.q.serverTime(time.Now()).Sub(msg.Time), 0), nil
}
