package registry

import (
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxPause is the longest that a registry can make us wait; beyond it we ask again.
const maxPause = time.Hour

// retryAfter is how long a registry wants to be left alone, as it says in Retry-After or
// in one of the rate-limit headers; fallback when it says nothing.
func retryAfter(h http.Header, now time.Time, fallback time.Duration) time.Duration {
	for _, name := range []string{"Retry-After", "RateLimit-Reset", "X-RateLimit-Reset"} {
		value, _, _ := strings.Cut(strings.TrimSpace(h.Get(name)), ";")
		if value == "" {
			continue
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
			const epoch = 1_000_000_000 // larger numbers are a time, not a duration
			if n >= epoch {
				n -= now.Unix()
			}
			return time.Duration(min(max(n, 1), int64(maxPause/time.Second))) * time.Second
		}
		if at, err := http.ParseTime(value); err == nil {
			return min(max(at.Sub(now), time.Second), maxPause)
		}
	}
	return fallback
}

// pauses remembers until when hosts want to be left alone, for each credential: limits
// are counted by account.
type pauses struct {
	mu    sync.Mutex // guards until
	until map[pauseKey]time.Time
}

type pauseKey struct {
	host string
	cred [sha256.Size]byte
}

// maxRemembered bounds what a client remembers; beyond it everything is forgotten, which
// costs a few requests.
const maxRemembered = 4096

func (p *pauses) set(host string, cred [sha256.Size]byte, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil || len(p.until) >= maxRemembered {
		p.until = map[pauseKey]time.Time{}
	}
	p.until[pauseKey{host, cred}] = time.Now().Add(d)
}

func (p *pauses) left(host string, cred [sha256.Size]byte) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := pauseKey{host, cred}
	left := time.Until(p.until[key])
	if left <= 0 {
		delete(p.until, key)
		return 0
	}
	return left
}
