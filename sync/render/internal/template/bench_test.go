package template

import (
	"context"
	"runtime"
	"testing"
)

// BenchmarkEngineKeeps measures what an engine keeps of an evaluation, for engineUses.
func BenchmarkEngineKeeps(b *testing.B) {
	pool := NewPool(1)
	template := Template{Name: "t", Text: `output: {name: context.name, image: parameter.image, if parameter.env != _|_ {env: [for e in parameter.env {e}]}}
parameter: {image: string, env?: [...{name: string, value: string}]}`}
	in := Input{
		Context:   map[string]any{"name": "web"},
		Parameter: map[string]any{"image": "web:1", "env": []any{map[string]any{"name": "A", "value": "1"}}},
	}
	evaluate := func(e *Engine) error {
		e.uses = 0
		result, err := e.Evaluate(template, in)
		if err != nil {
			return err
		}
		_, err = result.Output()
		return err
	}
	var before, after runtime.MemStats
	n := 0
	for b.Loop() {
		if err := pool.Do(context.Background(), evaluate); err != nil {
			b.Fatal(err)
		}
		if n++; n == 100 { // compiled and warm
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n > 100 {
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(n-100), "kept-B/op")
	}
	runtime.KeepAlive(pool)
}
