package world

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"github.com/tradewind-dev/tradewind/integration/charts"
)

// server is any HTTP handler on a free loopback port.
type server struct {
	url    string
	server *http.Server
	done   chan struct{}
}

func serve(ctx context.Context, handler http.Handler) (*server, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{
		url:    "http://" + ln.Addr().String(),
		server: &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)},
		done:   make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(ln) // always ErrServerClosed
	}()
	return s, nil
}

func (s *server) stop() error {
	err := s.server.Close()
	<-s.done
	return err
}

// startCharts is a Helm chart repository: whatever lies in dir, which starts out with the
// chart of the example.
func startCharts(ctx context.Context, dir string) (*server, error) {
	if err := charts.Create(dir); err != nil {
		return nil, err
	}
	return serve(ctx, http.FileServer(http.Dir(dir)))
}
