package handlers

import (
	"errors"
	"fmt"
	"time"
)

// Limits bound what all posts together may cost. Above one of them a post is refused at
// once with 429 or 503 and a Retry-After.
type Limits struct {
	// BodyBytes is the memory for all bodies in flight. A quarter of it is kept for
	// bodies of up to 64 KiB, as nearly all are, so that big ones cannot crowd them out.
	BodyBytes int64
	// BodyTime is how long a body may take to arrive. A slow one is cut off sooner:
	// after 5 s it must have come at 64 KiB/s.
	BodyTime time.Duration
	// Reading is how many bodies may be on their way in.
	Reading int
	// InFlight is how many posts may be in work once their body is here.
	InFlight int
	// GlobalPerSecond is how many genuine posts are taken over all receivers.
	GlobalPerSecond int
	// PerMinute and Burst are the same for one receiver that checks signatures, and
	// UnsignedPerMinute for one that cannot.
	PerMinute, Burst, UnsignedPerMinute int
}

// DefaultLimits are for one process with 256 MiB of memory.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes: 128 << 20, BodyTime: 30 * time.Second, Reading: 4096, InFlight: 512,
		GlobalPerSecond: 2000, PerMinute: 600, Burst: 1000, UnsignedPerMinute: 60,
	}
}

// Validate refuses limits that would let nothing through, or anything.
func (l Limits) Validate() error {
	var errs []error
	atLeast := func(name string, got, want int64) {
		if got < want {
			errs = append(errs, fmt.Errorf("hooks: limit %s is %d: want at least %d", name, got, want))
		}
	}
	atLeast("BodyBytes", l.BodyBytes, 1<<20)
	atLeast("Reading", int64(l.Reading), 1)
	atLeast("InFlight", int64(l.InFlight), 1)
	atLeast("GlobalPerSecond", int64(l.GlobalPerSecond), 1)
	atLeast("PerMinute", int64(l.PerMinute), 1)
	atLeast("Burst", int64(l.Burst), 1)
	atLeast("UnsignedPerMinute", int64(l.UnsignedPerMinute), 1)
	if l.BodyTime < time.Second || l.BodyTime > 5*time.Minute {
		errs = append(errs, fmt.Errorf("hooks: limit BodyTime is %s: want 1s to 5m", l.BodyTime))
	}
	return errors.Join(errs...)
}
