package queue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

func (c Config) servers() []string { return strings.Split(c.URL, ",") }

// connect makes the one connection. It reconnects for ever and buffers nothing
// meanwhile: a publish without a server fails at once instead of looking accepted.
func (q *Queue) connect() (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("tradewind"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, 10*reconnectWait),
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if q.ctx.Err() == nil {
				q.log.Warn("queue connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { q.reconnected() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			q.log.Warn("queue connection error", "err", err)
		}),
	}
	if q.server != nil {
		nc, err := nats.Connect("", append(opts, nats.InProcessServer(q.server))...)
		if err != nil {
			return nil, fmt.Errorf("connecting to the embedded server: %w", err)
		}
		return nc, nil
	}
	if q.cfg.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(q.cfg.CredentialsFile))
	}
	if q.cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(q.cfg.CAFile))
	}
	if q.cfg.CertFile != "" {
		opts = append(opts, nats.ClientCert(q.cfg.CertFile, q.cfg.KeyFile))
	}
	if !q.cfg.plaintext() {
		opts = append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	nc, err := nats.Connect(q.cfg.URL, opts...)
	if errors.Is(err, nats.ErrSecureConnWanted) {
		return nil, fmt.Errorf("connecting to %s: the server offers no TLS; switch it on there, or set queue.allowPlaintext", q.cfg.URL)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", q.cfg.URL, err)
	}
	return nc, nil
}

const clockTimeout = 5 * time.Second

func (q *Queue) reconnected() {
	q.metrics.reconnects.Inc()
	q.health.healthy()
	q.log.Info("queue connection is back")
	q.back.send()
	if !q.opened.Load() {
		return
	}
	go func() { // the handler must not wait for the connection it is called from
		ctx, cancel := context.WithTimeout(q.ctx, clockTimeout)
		defer cancel()
		if err := q.readClock(ctx); err != nil && q.ctx.Err() == nil {
			q.log.Warn("queue clock unread", "err", err)
		}
	}()
}
