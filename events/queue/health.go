package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

const (
	maxUnanswered = 3                // publishes in a row without an answer: not ready
	secondChance  = 10 * time.Second // after which an external server is tried again
	healFirst     = 3 * time.Second  // a disk may only be slow: any answer meanwhile calls it off
	healSlowest   = 30 * time.Second
	healTimeout   = time.Minute
	minFree       = 64 << 20 // bytes on the disk, below which restarting is pointless
)

// health counts publishes that got no answer. A JetStream that met a full disk never
// answers again until its server is restarted, so an embedded one is.
type health struct {
	mu     sync.Mutex
	streak int
	last   time.Time
	sick   chan struct{}
	wg     sync.WaitGroup
}

func (h *health) start(q *Queue) {
	h.sick = make(chan struct{}, 1)
	if q.server != nil {
		h.wg.Go(q.heal)
	}
}

func (h *health) wait() { h.wg.Wait() }

func (h *health) healthy() {
	h.mu.Lock()
	h.streak = 0
	h.mu.Unlock()
}

// note learns from the answer to a publish. A refusal is an answer.
func (h *health) note(err error) {
	if err == nil {
		h.healthy()
		return
	}
	if _, refused := errors.AsType[*jetstream.APIError](err); refused || errors.Is(err, context.Canceled) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streak++
	h.last = time.Now()
	if h.streak >= maxUnanswered && h.sick != nil {
		select {
		case h.sick <- struct{}{}:
		default: // being healed
		}
	}
}

func (h *health) ill() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streak >= maxUnanswered
}

func (h *health) problem(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streak < maxUnanswered || now.Sub(h.last) > secondChance {
		return nil
	}
	return fmt.Errorf("the last %d publishes got no answer; the server's log and its disk say why", h.streak)
}

// heal restarts the embedded server, not the process, when it no longer stores.
func (q *Queue) heal() {
	for {
		select {
		case <-q.ctx.Done():
			return
		case <-q.health.sick:
		}
		for wait := healFirst; ; wait = min(2*wait, healSlowest) {
			select {
			case <-q.ctx.Done():
				return
			case <-time.After(wait):
			}
			if !q.health.ill() {
				break
			}
			err := q.revive()
			if err == nil {
				q.log.Warn("queue server restarted", "reason", "it had stopped answering")
				break
			}
			q.log.Error("queue server not restarted yet", "err", err)
		}
	}
}

func (q *Queue) revive() error {
	ctx, cancel := context.WithTimeout(q.ctx, healTimeout)
	defer cancel()
	free, err := q.server.Free()
	if err != nil {
		return err
	}
	if free < minFree {
		return fmt.Errorf("%d bytes are free on the disk of %s; make room", free, q.cfg.StoreDir)
	}
	if err := q.server.Restart(ctx); err != nil {
		return err
	}
	for q.nc.Status() != nats.CONNECTED {
		select {
		case <-ctx.Done():
			return fmt.Errorf("reconnecting: %w", ctx.Err())
		case <-time.After(reconnectWait):
		}
	}
	// What was kept in memory is gone: sessions, and the consumers of work.
	if _, err := layout.Ensure(ctx, q.js, q.settings()); err != nil {
		return err
	}
	q.health.healthy()
	return nil
}
