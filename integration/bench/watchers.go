package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

// watchers see the cluster as somebody beside Tradewind does: by watches of their own.
type watchers struct {
	mu      sync.Mutex
	values  map[string]int // of Deployments or ConfigMaps in the namespace, by name
	seen    map[string]time.Time
	running map[string]bool // Applications
	changed chan struct{}
}

func newWatchers() *watchers {
	return &watchers{values: map[string]int{}, seen: map[string]time.Time{}, running: map[string]bool{}, changed: make(chan struct{}, 1)}
}

const valueAnnotation = "bench.example.com/value"

// follow sees what happens from now on until ctx ends.
func (w *watchers) follow(ctx context.Context, c *kube.Cluster) error {
	return c.Follow(ctx, []string{"Deployment", "ConfigMap", "Application"}, func(_, after *unstructured.Unstructured) {
		if after == nil || after.GetNamespace() != namespace {
			return
		}
		now := time.Now()
		w.mu.Lock()
		defer w.mu.Unlock()
		if after.GetKind() == "Application" {
			phase, _, _ := unstructured.NestedString(after.Object, "status", "status")
			w.running[after.GetName()] = phase == "running"
		} else {
			value, err := strconv.Atoi(after.GetAnnotations()[valueAnnotation])
			if err != nil || w.values[after.GetName()] == value {
				return
			}
			w.values[after.GetName()], w.seen[after.GetName()] = value, now
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	})
}

// until waits for cond, which is called with the watchers locked and says how far it is.
func (w *watchers) until(ctx context.Context, cond func() (bool, string)) error {
	for {
		w.mu.Lock()
		ok, far := cond()
		w.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), far)
		case <-w.changed:
		}
	}
}

// await waits for a value of one app and returns when it was seen.
func (w *watchers) await(ctx context.Context, name string, value int) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTimeout)
	defer cancel()
	var seen time.Time
	err := w.until(ctx, func() (bool, string) {
		seen = w.seen[name]
		return w.values[name] == value, fmt.Sprintf("%s has value %d, want %d", name, w.values[name], value)
	})
	return seen, err
}

// awaitAll waits for a value of n apps and returns when the last was seen.
func (w *watchers) awaitAll(ctx context.Context, n, value int) (last time.Time, err error) {
	err = w.until(ctx, func() (bool, string) {
		count := 0
		last = time.Time{}
		for name, v := range w.values {
			if v != value {
				continue
			}
			count++
			if w.seen[name].After(last) {
				last = w.seen[name]
			}
		}
		return count >= n, fmt.Sprintf("%d of %d apps have value %d", count, n, value)
	})
	return last, err
}

func (w *watchers) awaitRunning(ctx context.Context, n int) error {
	return w.until(ctx, func() (bool, string) {
		count := 0
		for _, running := range w.running {
			if running {
				count++
			}
		}
		return count >= n, fmt.Sprintf("%d of %d Applications run", count, n)
	})
}
