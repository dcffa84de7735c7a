package reconcile

import (
	"context"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
)

// changedTypes gathers, without ever blocking a watch, definitions whose form is to be
// recorded, in the order of their changes.
type changedTypes struct {
	mu      sync.Mutex
	pending []*unstructured.Unstructured
	signal  chan struct{}
}

func newChangedTypes() *changedTypes { return &changedTypes{signal: make(chan struct{}, 1)} }

func (c *changedTypes) add(object *unstructured.Unstructured) {
	c.mu.Lock()
	c.pending = append(c.pending, object)
	c.mu.Unlock()
	c.wake()
}

// putBack keeps what could not be recorded, before what came since.
func (c *changedTypes) putBack(objects []*unstructured.Unstructured) {
	c.mu.Lock()
	c.pending = append(objects, c.pending...)
	c.mu.Unlock()
	c.wake()
}

func (c *changedTypes) wake() {
	select {
	case c.signal <- struct{}{}:
	default: // a look is due already
	}
}

// take hands over what there is, by namespace.
func (c *changedTypes) take() map[string][]*unstructured.Unstructured {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]*unstructured.Unstructured{}
	for _, o := range c.pending {
		out[o.GetNamespace()] = append(out[o.GetNamespace()], o)
	}
	c.pending = nil
	return out
}

// RecordDefinitions writes down every form of the cluster's definitions until ctx ends, so
// that an Application can ask for an earlier one: "type: web@v3". Every worker does so;
// the first to come counts.
func (r *Reconciler) RecordDefinitions(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.changedTypes.signal:
		}
		again := false
		for namespace, changed := range r.changedTypes.take() {
			err := r.cluster.SaveDefinitions(ctx, namespace, changed, r.pinned)
			if err == nil || ctx.Err() != nil {
				continue
			}
			r.log.Warn("definitions not recorded", "namespace", namespace, "err", err)
			if apply.IsRetryable(err) {
				r.changedTypes.putBack(changed)
				again = true
			}
		}
		if !again {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wakeRetry):
		}
	}
}

// pinned says that some Application asks for a recorded form.
func (r *Reconciler) pinned(revision string) bool {
	for _, app := range r.cluster.Applications() {
		for _, given := range givenTypes(app.Spec) {
			if name, pin, ok := strings.Cut(given.name, "@"); ok && name+"-"+pin == revision {
				return true
			}
		}
	}
	return false
}
