package git

import (
	"runtime"

	dto "github.com/prometheus/client_model/go"
)

// FetchedBytes reads the counter of pack bytes.
func FetchedBytes(m *Mirrors) float64 {
	var out dto.Metric
	if err := m.metrics.fetched.Write(&out); err != nil {
		panic(err)
	}
	return out.GetCounter().GetValue()
}

// MirrorMemory is what all mirrors take.
func MirrorMemory(m *Mirrors) int64 {
	memory, _ := m.size()
	return memory
}

// AwaitWaiting returns when n callers are inside, the one who is served included.
func AwaitWaiting(m *Mirrors, n int64) {
	for {
		var inside int64
		for _, mi := range m.all() {
			inside += mi.waiting.Load()
		}
		if inside >= n {
			return
		}
		runtime.Gosched()
	}
}
