package apply

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/watch"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// live holds the live copy of every object we applied: one watch per kind, started when
// the kind is first met, of the objects that carry our hash label.
type live struct {
	cluster *Cluster
	notify  func(Owner, ObjectRef, bool)

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before it and after it
	running *sync.WaitGroup
	kinds   map[schema.GroupVersionKind]*liveKind
}

// liveKind is the watch of one kind, and what was learned about single objects of it.
type liveKind struct {
	liveWatch
	gvk  schema.GroupVersionKind
	stop context.CancelFunc

	mu sync.Mutex
	// forms remembers, of objects that the server writes differently than they were
	// applied, which form it gave them.
	forms map[string]string
	// left remembers, of objects that are merged, which fields belong to others.
	left map[string][]string
}

func newLive(c *Cluster) *live {
	return &live{cluster: c, kinds: map[schema.GroupVersionKind]*liveKind{}}
}

// OnObject calls fn when a live object that we applied changed in a way that may matter:
// anything but a change of bookkeeping fields. Our own writes do not count. It must be
// called before Run.
func (c *Cluster) OnObject(fn func(owner Owner, ref ObjectRef, deleted bool)) { c.live.notify = fn }

func (l *live) start(ctx context.Context, running *sync.WaitGroup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx, l.running = ctx, running
}

func (l *live) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx = nil
}

// firstSync bounds how long the first look at a kind may take.
const firstSync = 30 * time.Second

// kind returns the synced watch of a kind.
func (l *live) kind(ctx context.Context, gvk schema.GroupVersionKind) (*liveKind, error) {
	l.mu.Lock()
	k := l.kinds[gvk]
	l.mu.Unlock()
	if k == nil {
		found, err := l.cluster.kinds.Find(ctx, gvk)
		if err != nil {
			return nil, err
		}
		if k, err = l.watch(gvk, found.Resource); err != nil {
			return nil, err
		}
	}
	if k.Synced() {
		return k, nil
	}
	ctx, cancel := context.WithTimeout(ctx, firstSync)
	defer cancel()
	if err := k.Wait(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// watch starts the watch of a kind, once.
func (l *live) watch(gvk schema.GroupVersionKind, resource schema.GroupVersionResource) (*liveKind, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.kinds[gvk]; k != nil {
		return k, nil
	}
	if l.ctx == nil {
		return nil, errors.New("the watches of the cluster are not running")
	}
	ctx, cancel := context.WithCancel(l.ctx)
	k := &liveKind{gvk: gvk, stop: cancel, forms: map[string]string{}, left: map[string][]string{}}
	var err error
	k.Watch, err = watch.New(watch.Config[*packed]{
		Client: l.cluster.dynamic, Resource: resource, Selector: oam.LabelRenderHash, Keep: pack, SkipFirst: true,
		Changed: func(before, after *packed, own bool) { l.changed(k, before, after, own) },
		Failed:  func(err error) { l.broke(gvk, k, err) },
	})
	if err != nil {
		cancel()
		return nil, err
	}
	l.kinds[gvk] = k
	l.running.Go(func() { k.Run(ctx) })
	return k, nil
}

// broke drops the watch of a kind that is not served any more or that we may not watch;
// the next who needs it tries anew.
func (l *live) broke(gvk schema.GroupVersionKind, k *liveKind, err error) {
	l.cluster.log.Debug("watch broke", "resource", gvk.Kind, "err", plain(err))
	if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds[gvk] == k {
		delete(l.kinds, gvk)
		k.stop()
		l.cluster.kinds.Outdated()
	}
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func (l *live) changed(k *liveKind, before, after *packed, own bool) {
	if after == nil {
		k.forget(before)
	}
	switch {
	case own:
	case after == nil:
		l.tellOwner(k, before, true)
	case before == nil || before.content != after.content:
		l.tellOwner(k, after, false)
	}
}

func (l *live) tellOwner(k *liveKind, o *packed, deleted bool) {
	if o.owned {
		l.tell(o.owner, ObjectRef{Group: k.gvk.Group, Version: k.gvk.Version, Kind: k.gvk.Kind, Namespace: o.Namespace, Name: o.Name}, deleted)
	}
}

func (l *live) tell(owner Owner, ref ObjectRef, deleted bool) {
	if l.notify != nil {
		l.notify(owner, ref, deleted)
	}
}

func (k *liveKind) forget(o metav1.Object) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.forms, formKey(o))
	delete(k.left, formKey(o))
}

func formKey(o metav1.Object) string { return o.GetNamespace() + "/" + o.GetName() }

// Live returns the live copy of an object that we applied; nil when it is not there or
// not ours.
func (c *Cluster) Live(ctx context.Context, ref ObjectRef) (*unstructured.Unstructured, error) {
	k, err := c.live.kind(ctx, ref.gvk())
	if err != nil {
		return nil, classify(ref, "watching", err)
	}
	ref = c.canonical(ref)
	o, ok := k.Get(ref.Namespace, ref.Name)
	if !ok {
		return nil, nil
	}
	return o, nil
}

// Read returns any object as it is, with a request; for commands that look without
// watches.
func (c *Cluster) Read(ctx context.Context, ref ObjectRef) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client, err := c.resource(ctx, c.canonical(ref))
	if err != nil {
		return nil, classify(ref, "reading", err)
	}
	o, err := client.Get(ctx, ref.Name, getOptions)
	if err != nil {
		return nil, classify(ref, "reading", err)
	}
	return o, nil
}

// IsNotFound says that an error means: there is no such object.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) }
