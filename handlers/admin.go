package handlers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one line of a probe: a part of the process, and what is wrong with it.
type Check struct {
	Name string
	Ask  func(context.Context) error
}

// AdminConfig is what the listener for the node and the scraper shows.
type AdminConfig struct {
	// Gatherer has the metrics. Required.
	Gatherer prometheus.Gatherer
	// Ready are the reasons not to send traffic here, in the order they are shown.
	Ready []Check
	// Live are the reasons to restart the process, and only those that it helps.
	Live []Check
	// Profiling adds /debug/pprof/.
	Profiling bool
}

// checkTime is how long all checks of a probe may take together; kubelets wait longer.
const checkTime = 3 * time.Second

// Admin returns the handler for /metrics, /livez, /healthz (the same) and /readyz. With
// ?verbose a probe lists its checks; a failing one always does.
func Admin(cfg AdminConfig) http.Handler {
	r := chi.NewRouter()
	r.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	for path, checks := range map[string][]Check{"/livez": cfg.Live, "/healthz": cfg.Live, "/readyz": cfg.Ready} {
		r.Get(path, probe(checks))
		r.Head(path, probe(checks))
	}
	if cfg.Profiling {
		r.Get("/debug/pprof/cmdline", pprof.Cmdline)
		r.Get("/debug/pprof/profile", pprof.Profile)
		r.Get("/debug/pprof/symbol", pprof.Symbol)
		r.Get("/debug/pprof/trace", pprof.Trace)
		r.Get("/debug/pprof/*", pprof.Index)
	}
	return r
}

func probe(checks []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkTime)
		defer cancel()
		var out strings.Builder
		failed := false
		for i, err := range ask(ctx, checks) {
			if err == nil {
				fmt.Fprintf(&out, "[+]%s ok\n", checks[i].Name)
				continue
			}
			failed = true
			fmt.Fprintf(&out, "[-]%s failed: %v\n", checks[i].Name, err)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case failed:
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, "%snot ok\n", out.String())
		case r.URL.Query().Has("verbose"):
			_, _ = fmt.Fprintf(w, "%sok\n", out.String())
		default:
			_, _ = fmt.Fprintln(w, "ok")
		}
	}
}

// ask runs the checks side by side, so that a slow one does not hide the next.
func ask(ctx context.Context, checks []Check) []error {
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.Ask(ctx) })
	}
	wg.Wait()
	return errs
}
