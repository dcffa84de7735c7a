package cli

import (
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/term"
	"k8s.io/klog/v2"
)

// newLogger writes JSON, or text where a person watches.
func newLogger(w io.Writer, cfg LogConfig) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // checked by Validate
	opts := &slog.HandlerOptions{Level: level}
	f, isFile := w.(*os.File)
	if cfg.Format == "text" || cfg.Format == "auto" && isFile && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// bridgeKubernetesLogs sends what client-go has to say into our log; it logs through a
// global.
func bridgeKubernetesLogs(log *slog.Logger) {
	klog.SetLogger(logr.FromSlogHandler(log.With("part", "client-go").Handler()))
}

// buildInfo is the gauge every process exposes about itself.
func buildInfo() prometheus.Collector {
	v := buildVersion()
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tradewind_build_info", Help: "Which build this is; always 1.",
	}, []string{"version", "revision", "go_version"})
	g.WithLabelValues(v.Version, v.Revision, v.Go).Set(1)
	return g
}

// version is what this binary was built from.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

func buildVersion() version {
	v := version{Version: "(devel)", Revision: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	return v
}
