// Package watch keeps one kind of object as the API server has it now.
//
// In: a resource, and what to keep of each object. Out: the newest copy known, and a call
// for every change. It promises that whoever looks right after its own write sees that
// write, although the watch brings it later, and that a watch which breaks comes back by
// itself. It refuses to pass a resource that may not be listed for an empty one.
package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// Config says what to watch.
type Config[T metav1.Object] struct {
	Client   dynamic.Interface
	Resource schema.GroupVersionResource
	// Selector is a label selector; empty means every object.
	Selector string
	// Keep makes of an object what is kept of it. It must not return nil.
	Keep func(*unstructured.Unstructured) T
	// Changed is called for every change, in order; own says that it is the echo of a
	// write given to Wrote. The first list counts as changes unless SkipFirst.
	Changed   func(before, after T, own bool)
	SkipFirst bool
	// Failed is told why the watch broke, each time it does.
	Failed func(error)
}

// Watch is one watched resource.
type Watch[T metav1.Object] struct {
	config   Config[T]
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration

	mu      sync.Mutex
	own     map[types.NamespacedName]ownWrite[T] // what the watch has not brought yet
	writing map[types.NamespacedName]*held[T]
	moved   chan struct{} // closed at the next change or failure
	failure error         // why there is no watch at the moment
}

// ownWrite is what a write of ours returned; gone means a delete.
type ownWrite[T metav1.Object] struct {
	object  T
	version uint64
	gone    bool
	at      time.Time
}

// held is what the watch brought of an object while we were writing it: whether it was
// our own write can be told only when that has returned.
type held[T metav1.Object] struct {
	writers       int
	any           bool
	echo          bool // of earlier writes
	before, after T
}

// New makes a Watch; it does nothing until Run.
func New[T metav1.Object](config Config[T]) (*Watch[T], error) {
	w := &Watch[T]{
		config: config, own: map[types.NamespacedName]ownWrite[T]{}, writing: map[types.NamespacedName]*held[T]{}, moved: make(chan struct{}),
	}
	w.informer = dynamicinformer.NewFilteredDynamicInformer(config.Client, config.Resource, metav1.NamespaceAll, 0, cache.Indexers{},
		func(o *metav1.ListOptions) { o.LabelSelector = config.Selector }).Informer()
	if err := w.informer.SetTransform(w.keep); err != nil {
		return nil, err
	}
	if err := w.informer.SetWatchErrorHandlerWithContext(w.broke); err != nil {
		return nil, err
	}
	var none T
	handler, err := w.informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, first bool) {
			w.changed(none, as[T](obj), first)
		},
		UpdateFunc: func(before, after any) { w.changed(as[T](before), as[T](after), false) },
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			w.changed(as[T](obj), none, false)
		},
	})
	w.handler = handler
	return w, err
}

func as[T any](obj any) T {
	t, _ := obj.(T) // keep stores nothing else
	return t
}

func (w *Watch[T]) keep(obj any) (any, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return w.config.Keep(u), nil
	}
	return obj, nil
}

// Run watches until ctx ends.
func (w *Watch[T]) Run(ctx context.Context) { w.informer.RunWithContext(ctx) }

// Synced says whether the first list is in and every change of it was told.
func (w *Watch[T]) Synced() bool { return w.handler.HasSynced() }

// Wait returns when the first list is in. It returns early when the server says that
// waiting is of no use: the resource may not be listed, or is not there.
func (w *Watch[T]) Wait(ctx context.Context) error {
	for {
		w.mu.Lock()
		failure, moved := w.failure, w.moved
		w.mu.Unlock()
		if w.informer.HasSynced() {
			return nil
		}
		if apierrors.IsForbidden(failure) || apierrors.IsNotFound(failure) || apierrors.IsUnauthorized(failure) {
			return failure
		}
		select {
		case <-w.informer.HasSyncedChecker().Done():
			return nil
		case <-moved:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), failure)
		}
	}
}

func (w *Watch[T]) broke(_ context.Context, _ *cache.Reflector, err error) {
	w.mu.Lock()
	w.failure = err
	w.tellWaiters()
	w.mu.Unlock()
	if w.config.Failed != nil {
		w.config.Failed(err)
	}
}

// tellWaiters needs mu.
func (w *Watch[T]) tellWaiters() {
	close(w.moved)
	w.moved = make(chan struct{})
}

// List returns the newest copy known of every object, unsorted. They must not be changed.
func (w *Watch[T]) List() []T {
	stored := w.informer.GetStore().List()
	out := make([]T, 0, len(stored))
	w.mu.Lock()
	ours := maps.Clone(w.own)
	w.mu.Unlock()
	for _, obj := range stored {
		object := as[T](obj)
		key := keyOf(object)
		if _, ok := ours[key]; ok {
			delete(ours, key)
			if object, ok = w.Get(key.Namespace, key.Name); !ok {
				continue
			}
		}
		out = append(out, object)
	}
	for key := range ours {
		if object, ok := w.Get(key.Namespace, key.Name); ok {
			out = append(out, object)
		}
	}
	return out
}

// Get returns the newest copy known. It must not be changed.
func (w *Watch[T]) Get(namespace, name string) (object T, ok bool) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	stored, exists, err := w.informer.GetStore().GetByKey(storeKey(key))
	if exists = exists && err == nil; exists {
		object = as[T](stored)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	own, wrote := w.own[key]
	switch {
	case !wrote, exists && version(object) >= own.version:
		return object, exists
	case w.passed(own):
		delete(w.own, key)
		return object, exists
	}
	return own.object, !own.gone
}

func storeKey(key types.NamespacedName) string {
	if key.Namespace == "" {
		return key.Name
	}
	return key.Namespace + "/" + key.Name
}

// settle is how long after a write its echo may still be on its way inside this process.
const settle = 5 * time.Second

// passed says that the watch is beyond a write and still does not show it: something else
// happened to the object while the watch was away.
func (w *Watch[T]) passed(own ownWrite[T]) bool {
	seen, err := strconv.ParseUint(w.informer.LastSyncResourceVersion(), 10, 64)
	return err == nil && seen >= own.version && time.Since(own.at) > settle
}

// version orders the copies of one object, and deletes after them: the API server counts
// every write up.
func version(o metav1.Object) uint64 {
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// Newer says that a is a later copy than b.
func Newer(a, b metav1.Object) bool { return version(a) > version(b) }

func keyOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Await returns when done says so about the newest copy known, which is looked at after
// every change of the resource.
func (w *Watch[T]) Await(ctx context.Context, namespace, name string, done func(object T, ok bool) bool) error {
	for {
		w.mu.Lock()
		moved := w.moved
		w.mu.Unlock()
		if object, ok := w.Get(namespace, name); done(object, ok) {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("waiting: %w", context.Cause(ctx))
		}
	}
}
