package apply

import (
	"context"
	"reflect"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// liveCache holds the live copy of every object we applied: one watch per kind, started
// when the kind is first met, of the objects that carry our hash label.
type liveCache struct {
	cluster *Cluster
	notify  func(Owner, ObjectRef, bool)

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before it
	kinds   map[schema.GroupKind]cache.SharedIndexInformer
	running sync.WaitGroup

	// fresh holds what our own writes returned, until the watch has caught up: whoever
	// looks right after a write must not see the state before it.
	freshMu sync.Mutex
	fresh   map[ObjectRef]*unstructured.Unstructured
	// forms remembers, for objects that the server writes differently than they were
	// applied, which form it gave them.
	forms map[ObjectRef]string
}

func newLiveCache(c *Cluster) *liveCache {
	return &liveCache{
		cluster: c, kinds: map[schema.GroupKind]cache.SharedIndexInformer{},
		fresh: map[ObjectRef]*unstructured.Unstructured{}, forms: map[ObjectRef]string{},
	}
}

// OnObject calls fn when a live object that we applied changed in a way that may matter:
// anything but a change of bookkeeping fields. Our own writes do not count. It must be
// called before Run.
func (c *Cluster) OnObject(fn func(owner Owner, ref ObjectRef, deleted bool)) { c.live.notify = fn }

func (l *liveCache) start(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx = ctx
}

func (l *liveCache) wait() { l.running.Wait() }

// syncTimeout bounds how long the first look at a kind may take.
const syncTimeout = 30 * time.Second

// kind returns the synced watch of a kind.
func (l *liveCache) kind(ctx context.Context, gvk schema.GroupVersionKind) (cache.SharedIndexInformer, error) {
	l.mu.Lock()
	informer := l.kinds[gvk.GroupKind()]
	if informer == nil {
		mapping, err := l.cluster.mappingFor(gvk)
		if err != nil {
			l.mu.Unlock()
			return nil, err
		}
		informer = dynamicinformer.NewFilteredDynamicInformer(l.cluster.dynamic, mapping.Resource, metav1.NamespaceAll, 0,
			cache.Indexers{}, func(o *metav1.ListOptions) { o.LabelSelector = oam.LabelRenderHash }).Informer()
		if err := l.prepare(informer); err != nil {
			l.mu.Unlock()
			return nil, err
		}
		l.kinds[gvk.GroupKind()] = informer
		watchCtx := l.ctx
		l.running.Go(func() { informer.Run(watchCtx.Done()) })
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	for !informer.HasSynced() {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return informer, nil
}

func (l *liveCache) prepare(informer cache.SharedIndexInformer) error {
	if err := informer.SetTransform(dropManagedFields); err != nil {
		return err
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, initial bool) {
			if !initial {
				l.changed(nil, obj)
			}
		},
		UpdateFunc: l.changed,
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if o, ok := obj.(*unstructured.Unstructured); ok {
				l.forget(RefOf(o))
				l.tell(o, true)
			}
		},
	})
	return err
}

func dropManagedFields(obj any) (any, error) {
	if o, ok := obj.(*unstructured.Unstructured); ok {
		o.SetManagedFields(nil)
	}
	return obj, nil
}

func (l *liveCache) changed(before, after any) {
	o, ok := after.(*unstructured.Unstructured)
	if !ok {
		return
	}
	ref := RefOf(o).key()
	l.freshMu.Lock()
	own := l.fresh[ref]
	if own != nil && !newer(own, o) {
		delete(l.fresh, ref)
	}
	l.freshMu.Unlock()
	if own != nil && (own.GetResourceVersion() == o.GetResourceVersion() || newer(own, o)) {
		return // the echo of our own write, or something older
	}
	if b, ok := before.(*unstructured.Unstructured); ok && sameContent(b, o) {
		return
	}
	l.tell(o, false)
}

// sameContent compares without the bookkeeping of the API server.
func sameContent(a, b *unstructured.Unstructured) bool {
	if a.GetGeneration() != b.GetGeneration() || (a.GetDeletionTimestamp() == nil) != (b.GetDeletionTimestamp() == nil) ||
		!reflect.DeepEqual(a.GetLabels(), b.GetLabels()) || !reflect.DeepEqual(a.GetAnnotations(), b.GetAnnotations()) {
		return false
	}
	if len(a.Object) != len(b.Object) {
		return false
	}
	for k, v := range a.Object {
		if k != "metadata" && !reflect.DeepEqual(v, b.Object[k]) {
			return false
		}
	}
	return true
}

func (l *liveCache) tell(o *unstructured.Unstructured, deleted bool) {
	if owner, ok := ownerOf(o); ok && l.notify != nil {
		l.notify(owner, RefOf(o), deleted)
	}
}

// wrote remembers what a write returned.
func (l *liveCache) wrote(o *unstructured.Unstructured) {
	o.SetManagedFields(nil)
	l.freshMu.Lock()
	defer l.freshMu.Unlock()
	l.fresh[RefOf(o).key()] = o
}

func (l *liveCache) forget(ref ObjectRef) {
	l.freshMu.Lock()
	defer l.freshMu.Unlock()
	delete(l.fresh, ref.key())
	delete(l.forms, ref.key())
}

// get returns the newest copy known, or nil.
func (l *liveCache) get(informer cache.SharedIndexInformer, ref ObjectRef) *unstructured.Unstructured {
	key := ref.Name
	if ref.Namespace != "" {
		key = ref.Namespace + "/" + ref.Name
	}
	var found *unstructured.Unstructured
	if obj, exists, err := informer.GetStore().GetByKey(key); err == nil && exists {
		found, _ = obj.(*unstructured.Unstructured)
	}
	l.freshMu.Lock()
	defer l.freshMu.Unlock()
	if own := l.fresh[ref.key()]; own != nil && (found == nil || newer(own, found)) {
		return own
	}
	return found
}

// Live returns the live copy of an object that we applied; nil when it is not there or
// not ours. The copy must not be changed.
func (c *Cluster) Live(ctx context.Context, ref ObjectRef) (*unstructured.Unstructured, error) {
	informer, err := c.live.kind(ctx, ref.gvk())
	if err != nil {
		return nil, classify(ref, "watching", err)
	}
	return c.live.get(informer, ref), nil
}
