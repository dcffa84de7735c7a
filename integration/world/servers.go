package world

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
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

// startCharts is a Helm chart repository: whatever lies in dir, and an index that starts
// out empty.
func startCharts(ctx context.Context, dir string) (*server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	const empty = "apiVersion: v1\nentries: {}\n"
	if err := os.WriteFile(filepath.Join(dir, "index.yaml"), []byte(empty), 0o644); err != nil {
		return nil, err
	}
	return serve(ctx, http.FileServer(http.Dir(dir)))
}
