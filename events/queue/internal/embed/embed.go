// Package embed runs a NATS server inside this process: JetStream on a directory of the
// caller's, every write synced before it is acknowledged, no listener of any kind. In
// goes the directory, out come in-process connections. It promises that no other process
// uses the directory meanwhile, and that a connection survives [Server.Restart]. It
// refuses directories on memory or temporary file systems unless told otherwise.
package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	startTimeout = time.Minute // recovering large streams takes a while
	maxMemory    = 64 << 20    // streams in memory: sessions, a few kilobytes
	maxStore     = 1 << 50     // the streams' own limits rule, not a share of today's free space
)

// Server is a NATS server of this process.
type Server struct {
	dir  string
	log  *slog.Logger
	lock *os.File

	mu      sync.Mutex // guards current; held while the server is exchanged
	current *server.Server
}

// Start prepares dir and runs a server on it.
func Start(ctx context.Context, dir string, allowVolatile bool, log *slog.Logger) (*Server, error) {
	lock, err := prepare(dir, allowVolatile)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, log: log, lock: lock}
	if s.current, err = s.run(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// InProcessConn makes a connection to the server that runs now; nats.go asks for one
// again whenever the last has ended.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, errors.New("the embedded server is stopped")
	}
	return s.current.InProcessConn()
}

// Restart exchanges the server for a new one on the same directory. A stream that could
// not write once, because the disk was full, accepts nothing until this is done.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return errors.New("the embedded server is closed")
	}
	s.halt()
	var err error
	s.current, err = s.run(ctx)
	return err
}

// Close stops the server after its last write and gives up the directory.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	s.halt()
	err := s.lock.Close()
	s.lock = nil
	return err
}

func (s *Server) halt() {
	if s.current == nil {
		return
	}
	s.current.Shutdown()
	s.current.WaitForShutdown()
	s.current = nil
}

func (s *Server) run(ctx context.Context) (*server.Server, error) {
	ns, err := server.NewServer(&server.Options{
		ServerName:             "tradewind",
		DontListen:             true,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		JetStream:              true,
		StoreDir:               s.dir,
		SyncAlways:             true,
		JetStreamMaxMemory:     maxMemory,
		JetStreamMaxStore:      maxStore,
	})
	if err != nil {
		return nil, fmt.Errorf("configuring the embedded server: %w", err)
	}
	log := &bridge{log: s.log}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	wait := startTimeout
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline))
	}
	if ns.ReadyForConnections(wait) && ns.JetStreamEnabled() {
		return ns, nil
	}
	ns.Shutdown()
	ns.WaitForShutdown()
	return nil, fmt.Errorf("starting the embedded server on %s: %w", s.dir, log.reason())
}

// prepare makes dir ours alone: it exists, only this user reads it, and a lock that dies
// with the process keeps a second one out.
func prepare(dir string, allowVolatile bool) (*os.File, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("store directory %q: want an absolute path", dir)
	}
	// A mounted volume may belong to root; then the directory inside, which is always
	// ours, keeps others out.
	if err := os.MkdirAll(filepath.Join(dir, server.JetStreamStoreDir), 0o700); err != nil {
		return nil, fmt.Errorf("creating store directory %s: %w", dir, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("closing store directory %s to others: %w", dir, err)
	}
	if err := os.Chmod(filepath.Join(dir, server.JetStreamStoreDir), 0o700); err != nil {
		return nil, fmt.Errorf("closing store directory %s to others: %w", dir, err)
	}
	if !allowVolatile {
		if err := checkDurable(dir); err != nil {
			return nil, err
		}
	}
	return lockDir(dir)
}

// bridge hands what the server wants noticed to slog and remembers the last error, which
// is all the server says about a failed start.
type bridge struct {
	log *slog.Logger

	mu   sync.Mutex
	last string
}

func (b *bridge) reason() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == "" {
		return errors.New("not ready in time")
	}
	return errors.New(b.last)
}

func (b *bridge) fail(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	b.mu.Lock()
	b.last = text
	b.mu.Unlock()
	b.log.Error("queue server error", "err", text)
}

func (b *bridge) Errorf(format string, v ...any) { b.fail(format, v...) }
func (b *bridge) Fatalf(format string, v ...any) { b.fail(format, v...) }
func (b *bridge) Warnf(format string, v ...any) {
	b.log.Warn("queue server warning", "reason", fmt.Sprintf(format, v...))
}
func (b *bridge) Noticef(format string, v ...any) {
	b.log.Debug("queue server notice", "reason", fmt.Sprintf(format, v...))
}
func (*bridge) Debugf(string, ...any) {}
func (*bridge) Tracef(string, ...any) {}
