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
	drift     *prometheus.CounterVec

	// client-go's own names, which dashboards know; its registry is a global one.
	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec
}

// Values of the label action of tradewind_apply_drift_total.
const (
	driftCorrected = "corrected"
	driftReported  = "reported" // by policy, when there is one
)

func newMetrics(reg prometheus.Registerer) *metrics {
	cluster := prometheus.Labels{"cluster": "local"}
	m := &metrics{
		objects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tradewind_apply_objects_total", Help: "Objects by what was done with them.", ConstLabels: cluster,
		}, []string{"action"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tradewind_apply_duration_seconds", Help: "How long one apply or prune of a component took.", ConstLabels: cluster,
			Buckets:                     []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}, []string{"result"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tradewind_apply_conflicts_total", Help: "Applies refused because a controller owns a field.", ConstLabels: cluster,
		}),
		held: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tradewind_apply_prune_held_total", Help: "Prunes held because they would delete too much.", ConstLabels: cluster,
		}),
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tradewind_apply_drift_total", Help: "Objects that somebody else had changed, by what was done about it.", ConstLabels: cluster,
		}, []string{"action"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rest_client_requests_total", Help: "Requests to the Kubernetes API by status code and method.",
		}, []string{"code", "method"}),
		requestDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rest_client_request_duration_seconds", Help: "How long requests to the Kubernetes API took, watches left out.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		}, []string{"method"}),
	}
	for _, action := range []Action{Created, Configured, Unchanged, Deleted, Skipped, Failed} {
		m.objects.WithLabelValues(string(action))
	}
	for _, action := range []string{driftCorrected, driftReported} {
		m.drift.WithLabelValues(action)
	}
	for _, result := range []string{"success", "failure", "error"} {
		m.duration.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.objects, m.duration, m.conflicts, m.held, m.drift, m.requests, m.requestDuration)
	}
	return m
}

// observe counts a receipt. A pass that found everything as it should be is no apply.
func (m *metrics) observe(changes ChangeSet, took time.Duration) {
	result := "success"
	for _, c := range changes {
		m.objects.WithLabelValues(string(c.Action)).Inc()
		if c.Drift {
			m.drift.WithLabelValues(driftCorrected).Inc()
		}
		switch {
		case c.Err == nil:
		case IsRetryable(c.Err):
			result = "error"
		case result == "success":
			result = "failure"
		}
	}
	if result != "success" || changes.Written() > 0 {
		m.duration.WithLabelValues(result).Observe(took.Seconds())
	}
}
