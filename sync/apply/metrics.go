package apply

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	objects   *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	conflicts prometheus.Counter
	held      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	cluster := prometheus.Labels{"cluster": "local"}
	m := &metrics{
		objects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tradewind_apply_objects_total", Help: "Objects by what was done with them.", ConstLabels: cluster,
		}, []string{"action"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tradewind_apply_duration_seconds", Help: "How long one apply of a component took.", ConstLabels: cluster,
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}, []string{"result"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tradewind_apply_conflicts_total", Help: "Applies refused because a controller owns a field.", ConstLabels: cluster,
		}),
		held: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tradewind_apply_prune_held_total", Help: "Prunes held because they would delete too much.", ConstLabels: cluster,
		}),
	}
	for _, action := range []Action{Created, Configured, Unchanged, Deleted, Skipped, Failed} {
		m.objects.WithLabelValues(string(action))
	}
	if reg != nil {
		reg.MustRegister(m.objects, m.duration, m.conflicts, m.held)
	}
	return m
}

func (m *metrics) observe(changes ChangeSet, took time.Duration) {
	result := "success"
	for _, c := range changes {
		m.objects.WithLabelValues(string(c.Action)).Inc()
		if c.Err != nil {
			result = "error"
		}
	}
	m.duration.WithLabelValues(result).Observe(took.Seconds())
}
