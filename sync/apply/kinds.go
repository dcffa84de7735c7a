package apply

import (
	"context"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Namespaced says whether objects of a kind live in a namespace; known is false when the
// cluster has no such kind.
func (c *Cluster) Namespaced(gk schema.GroupKind) (namespaced, known bool) {
	return c.kinds.Namespaced(gk)
}

// canonical drops the namespace of a cluster-scoped object, so that one object has one
// name whoever wrote it down before its kind was known.
func (c *Cluster) canonical(ref ObjectRef) ObjectRef {
	if namespaced, known := c.kinds.Namespaced(schema.GroupKind{Group: ref.Group, Kind: ref.Kind}); known && !namespaced {
		ref.Namespace = ""
	}
	return ref
}

// resource is the client for objects of a kind in a namespace.
func (c *Cluster) resource(ctx context.Context, ref ObjectRef) (dynamic.ResourceInterface, error) {
	k, err := c.kinds.Find(ctx, ref.gvk())
	if err != nil {
		return nil, err
	}
	if k.Namespaced {
		return c.objects.Resource(k.Resource).Namespace(ref.Namespace), nil
	}
	return c.objects.Resource(k.Resource), nil
}

// missing remembers who could not apply an object because its kind is not there.
type missing struct {
	mu     sync.Mutex
	owners map[schema.GroupVersionKind]map[Owner]bool
}

func (m *missing) add(gvk schema.GroupVersionKind, owner Owner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owners == nil {
		m.owners = map[schema.GroupVersionKind]map[Owner]bool{}
	}
	if m.owners[gvk] == nil {
		m.owners[gvk] = map[Owner]bool{}
	}
	m.owners[gvk][owner] = true
}

func (m *missing) kinds() []schema.GroupVersionKind {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.owners))
}

func (m *missing) take(gvk schema.GroupVersionKind) []Owner {
	m.mu.Lock()
	defer m.mu.Unlock()
	owners := slices.Collect(maps.Keys(m.owners[gvk]))
	delete(m.owners, gvk)
	return owners
}

// wakeWaiting tells the owners of objects whose kind was missing and is there now.
func (c *Cluster) wakeWaiting(ctx context.Context) {
	for _, gvk := range c.missing.kinds() {
		if _, err := c.kinds.Find(ctx, gvk); err != nil {
			continue
		}
		for _, owner := range c.missing.take(gvk) {
			c.live.tell(owner, ObjectRef{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}, false)
		}
	}
}
