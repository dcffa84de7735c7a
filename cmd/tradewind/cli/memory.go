package cli

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// calm is how long the garbage collector must have had nothing to do before memory is
// given back. The runtime does that too, but over many minutes.
const calm = 10 * time.Second

// gcPercent is how much the heap may grow between two collections. What is kept for every
// Application lies between what is soon garbage, so that a heap which grows less leaves
// fewer holes behind.
const gcPercent = 60

// boundMemory keeps the heap small, unless the environment says otherwise, and returns to
// the system what the last burst of work took, when it is over.
func boundMemory(ctx context.Context) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	before, given := collections(), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(calm):
		}
		now := collections()
		if now == before && now != given {
			runtime.GC() // what pools hold survives one collection
			debug.FreeOSMemory()
			given = now
		}
		before = now
	}
}

// collections counts those that the program's own allocations caused.
func collections() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/automatic:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
