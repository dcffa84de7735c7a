package git

import (
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

// Memory is what the objects of a tree's mirror take.
func Memory(t *Tree) int64 { return t.store.Memory() }
