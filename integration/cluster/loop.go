package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// stepFunc moves an object one step towards where it should be. Age is the time since the
// object was first seen: creation timestamps only have whole seconds. It says when to
// look again (zero: when the object changes).
type stepFunc[T metav1.Object] func(ctx context.Context, obj T, age time.Duration) (time.Duration, error)

// loop steps all objects of one kind, as their informer reports them. It never steps the
// same object twice at the same time, and steps it again after an error.
type loop[T metav1.Object] struct {
	kind     string
	informer cache.SharedIndexInformer
	queue    workqueue.TypedRateLimitingInterface[string]
	step     stepFunc[T]

	mu   sync.Mutex // guards seen
	seen map[types.UID]time.Time
}

func newLoop[T metav1.Object](kind string, informer cache.SharedIndexInformer, step stepFunc[T]) (*loop[T], error) {
	l := &loop[T]{
		kind: kind, informer: informer, step: step, seen: map[types.UID]time.Time{},
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 5*time.Second)),
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { l.add(obj) },
		UpdateFunc: func(_, obj any) { l.add(obj) },
		DeleteFunc: l.forget,
	})
	if err != nil {
		return nil, fmt.Errorf("following %s: %w", kind, err)
	}
	return l, nil
}

func (l *loop[T]) add(obj any) {
	o := obj.(T)
	l.age(o.GetUID())
	l.queue.Add(cache.MetaObjectToName(o).String())
}

func (l *loop[T]) forget(obj any) {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	if o, ok := obj.(T); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.seen, o.GetUID())
	}
}

func (l *loop[T]) age(uid types.UID) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, ok := l.seen[uid]
	if !ok {
		since = time.Now()
		l.seen[uid] = since
	}
	return time.Since(since)
}

// run works until ctx ends.
func (l *loop[T]) run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for l.work(ctx) {
			}
		})
	}
	<-ctx.Done()
	l.queue.ShutDown()
	wg.Wait()
}

func (l *loop[T]) work(ctx context.Context) bool {
	key, quit := l.queue.Get()
	if quit {
		return false
	}
	defer l.queue.Done(key)
	obj, exists, err := l.informer.GetIndexer().GetByKey(key)
	if err != nil || !exists {
		return true
	}
	o := obj.(T)
	again, err := l.step(ctx, o, l.age(o.GetUID()))
	switch {
	case apierrors.IsNotFound(err), ctx.Err() != nil:
		l.queue.Forget(key)
	case err != nil:
		// A conflict only says that the informer is behind.
		if !apierrors.IsConflict(err) {
			klog.ErrorS(err, "simulating", "kind", l.kind, "object", key)
		}
		l.queue.AddRateLimited(key)
	default:
		l.queue.Forget(key)
		if again > 0 {
			l.queue.AddAfter(key, again)
		}
	}
	return true
}
