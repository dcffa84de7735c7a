package guard

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/time/rate"
)

// Limits bounds how often and how many times at once one server is asked.
type Limits struct {
	perSecond float64
	atOnce    int

	mu    sync.Mutex // guards hosts
	hosts map[string]*hostLimit
}

type hostLimit struct {
	rate  *rate.Limiter
	slots chan struct{}
}

// burstFactor lets a crowd of pushes through at once; the long-term rate stays.
const burstFactor = 20

// maxHosts bounds the memory of limits; beyond it idle ones are forgotten.
const maxHosts = 4096

// NewLimits allows each host so many requests per second and at once.
func NewLimits(perSecond float64, atOnce int) *Limits {
	return &Limits{perSecond: perSecond, atOnce: atOnce, hosts: map[string]*hostLimit{}}
}

func (h *Limits) of(host string) *hostLimit {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.hosts[host]; l != nil {
		return l
	}
	if len(h.hosts) >= maxHosts {
		for name, l := range h.hosts {
			if len(l.slots) == 0 {
				delete(h.hosts, name)
			}
		}
	}
	burst := max(1, int(h.perSecond*burstFactor))
	l := &hostLimit{rate: rate.NewLimiter(rate.Limit(h.perSecond), burst), slots: make(chan struct{}, h.atOnce)}
	h.hosts[host] = l
	return l
}

// Enter waits for its turn at host. The returned function gives the slot back; it may be
// called more than once, and the end of ctx calls it too, so that a forgotten answer
// cannot block a host.
func (h *Limits) Enter(ctx context.Context, host string) (leave func(), err error) {
	l := h.of(host)
	if err := l.rate.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("waiting for a turn at %s: %w", host, context.DeadlineExceeded)
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a turn at %s: %w", host, context.Cause(ctx))
	}
	free := sync.OnceFunc(func() { <-l.slots })
	stop := context.AfterFunc(ctx, free)
	return func() { stop(); free() }, nil
}
