package intake

import (
	"sync"
	"time"
)

// A receiver fails its senders when this many signatures did not fit within the time.
const (
	FailuresToTell = 3
	FailuresWithin = 5 * time.Minute
)

// Failures remembers when signatures did not fit.
type Failures struct {
	mu   sync.Mutex
	last [FailuresToTell]time.Time // oldest first
	told bool
}

// Add records one and says whether that made the receiver fail.
func (f *Failures) Add(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	copy(f.last[:], f.last[1:])
	f.last[len(f.last)-1] = now
	failing := f.failing(now)
	begun := failing && !f.told
	f.told = failing
	return begun
}

// Now says whether the receiver fails its senders.
func (f *Failures) Now(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failing(now)
}

func (f *Failures) failing(now time.Time) bool {
	return !f.last[0].IsZero() && now.Sub(f.last[0]) < FailuresWithin
}
