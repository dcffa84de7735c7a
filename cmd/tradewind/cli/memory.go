package cli

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// calm is how long the garbage collector must have had nothing to do before memory is
// given back. The runtime does that too, but over many minutes.
const calm = 10 * time.Second

// giveBackMemory returns to the system what the last burst of work took, when it is over.
func giveBackMemory(ctx context.Context) error {
	debug.SetGCPercent(60)
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
