package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// kinds knows which kinds the cluster has. It asks again when a CustomResourceDefinition
// comes or goes, and now and then when somebody wants a kind that it does not know.
type kinds struct {
	cluster   *Cluster
	discovery *discovery.DiscoveryClient
	crds      cache.SharedIndexInformer
	changed   chan struct{} // a CustomResourceDefinition did

	loading sync.Mutex // one request at a time; guards nothing else

	mu      sync.Mutex
	known   map[schema.GroupVersionKind]kind
	scopes  map[schema.GroupKind]bool             // namespaced
	failed  map[schema.GroupVersion]error         // groups that could not be asked about
	loaded  time.Time                             // zero when what is known is out of date
	changes int                                   // how often it went out of date
	missing map[schema.GroupKind]map[Owner]string // who waits for a kind, and with which version
}

type kind struct {
	resource   schema.GroupVersionResource
	namespaced bool
}

// lookAgain is how long a kind that was not there is believed not to be there.
const lookAgain = time.Second

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func newKinds(c *Cluster, restConfig *rest.Config, client *http.Client) (*kinds, error) {
	k := &kinds{cluster: c, changed: make(chan struct{}, 1), missing: map[schema.GroupKind]map[Owner]string{}}
	var err error
	if k.discovery, err = discovery.NewDiscoveryClientForConfigAndClient(restConfig, client); err != nil {
		return nil, err
	}
	metadataClient, err := metadata.NewForConfigAndClient(restConfig, client)
	if err != nil {
		return nil, err
	}
	k.crds = metadatainformer.NewFilteredMetadataInformer(metadataClient, crdResource, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	if err := k.crds.SetTransform(onlyVersion); err != nil {
		return nil, err
	}
	// Without the right to watch them, looking again when a kind is missing has to do.
	if err := k.crds.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		c.log.Debug("watch broke", "resource", crdResource.Resource, "err", plain(err))
	}); err != nil {
		return nil, err
	}
	_, err = k.crds.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(_ any, first bool) {
			if !first {
				k.outdated()
			}
		},
		UpdateFunc: func(_, _ any) { k.outdated() },
		DeleteFunc: func(any) { k.outdated() },
	})
	return k, err
}

// onlyVersion keeps nothing but what the watch itself needs.
func onlyVersion(obj any) (any, error) {
	o, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion}}, nil
}

func (k *kinds) outdated() {
	k.mu.Lock()
	k.loaded = time.Time{}
	k.changes++
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default: // is about to be dealt with
	}
}

// run watches for new kinds and wakes who waits for them.
func (k *kinds) run(ctx context.Context) {
	var watching sync.WaitGroup
	watching.Go(func() { k.crds.RunWithContext(ctx) })
	defer watching.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.changed:
			k.wake(ctx)
		}
	}
}

// wake tells the owners of objects whose kind was missing and is there now.
func (k *kinds) wake(ctx context.Context) {
	k.mu.Lock()
	waiting := make(map[schema.GroupKind]map[Owner]string, len(k.missing))
	for gk, owners := range k.missing {
		waiting[gk] = owners
	}
	k.mu.Unlock()
	for gk, owners := range waiting {
		for owner, v := range owners {
			if _, err := k.find(ctx, gk.WithVersion(v)); err != nil {
				continue
			}
			k.mu.Lock()
			delete(k.missing, gk)
			k.mu.Unlock()
			k.cluster.live.tell(owner, ObjectRef{Group: gk.Group, Version: v, Kind: gk.Kind}, false)
		}
	}
}

// await remembers that an owner could not apply an object because its kind is not there.
func (k *kinds) await(gvk schema.GroupVersionKind, owner Owner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	gk := gvk.GroupKind()
	if k.missing[gk] == nil {
		k.missing[gk] = map[Owner]string{}
	}
	k.missing[gk][owner] = gvk.Version
}

// find says how a kind is reached. The error is a [meta.NoKindMatchError] only when the
// cluster is known not to have the kind.
func (k *kinds) find(ctx context.Context, gvk schema.GroupVersionKind) (kind, error) {
	for again := false; ; again = true {
		k.mu.Lock()
		found, ok := k.known[gvk]
		failure := k.failed[gvk.GroupVersion()]
		loaded := k.loaded
		k.mu.Unlock()
		switch {
		case ok && (again || !loaded.IsZero()):
			return found, nil
		case again || time.Since(loaded) < lookAgain:
			if failure != nil {
				return kind{}, &Error{Reason: ReasonFailedApply, Retryable: true,
					Err: fmt.Errorf("asking the API server about the kinds of %s: %w", gvk.GroupVersion(), failure)}
			}
			return kind{}, &meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}
		}
		if err := k.load(ctx, loaded); err != nil {
			if ok {
				return found, nil // what was true a moment ago serves better than nothing
			}
			return kind{}, err
		}
	}
}

// load asks for all kinds unless somebody else just did.
func (k *kinds) load(ctx context.Context, seen time.Time) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	k.mu.Lock()
	current, changes := k.loaded, k.changes
	k.mu.Unlock()
	if current.After(seen) {
		return nil
	}
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, lists, err := k.discovery.ServerGroupsAndResourcesWithContext(ctx)
	partly, ok := errors.AsType[*discovery.ErrGroupDiscoveryFailed](err)
	if err != nil && !ok {
		return err
	}
	known, scopes := map[schema.GroupVersionKind]kind{}, map[schema.GroupKind]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue // a group that no manifest can name
		}
		for _, r := range list.APIResources {
			if !isSubresource(r.Name) {
				gvk := gv.WithKind(r.Kind)
				known[gvk] = kind{resource: gv.WithResource(r.Name), namespaced: r.Namespaced}
				scopes[gvk.GroupKind()] = r.Namespaced
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.scopes, k.failed = known, scopes, nil
	if ok {
		k.failed = partly.Groups
	}
	if k.changes == changes { // none came while the answer was on its way
		k.loaded = asked
	}
	return nil
}

func isSubresource(name string) bool {
	for _, c := range name {
		if c == '/' {
			return true
		}
	}
	return false
}

// serverVersion asks for the version of the API server.
func (k *kinds) serverVersion(ctx context.Context) (*version.Info, error) {
	return k.discovery.ServerVersionWithContext(ctx)
}

// Namespaced says whether objects of a kind live in a namespace; known is false when the
// cluster has no such kind.
func (c *Cluster) Namespaced(gk schema.GroupKind) (namespaced, known bool) {
	k := c.kinds
	k.mu.Lock()
	loaded := k.loaded
	k.mu.Unlock()
	if loaded.IsZero() {
		if err := k.load(context.Background(), loaded); err != nil {
			c.log.Debug("kinds not loaded", "err", plain(err))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	namespaced, known = k.scopes[gk]
	return namespaced, known
}

// canonical drops the namespace of a cluster-scoped object, so that one object has one
// name whoever wrote it down before its kind was known.
func (c *Cluster) canonical(ref ObjectRef) ObjectRef {
	if namespaced, known := c.Namespaced(schema.GroupKind{Group: ref.Group, Kind: ref.Kind}); known && !namespaced {
		ref.Namespace = ""
	}
	return ref
}

// resource is the client for objects of a kind in a namespace.
func (c *Cluster) resource(ctx context.Context, ref ObjectRef) (dynamic.ResourceInterface, error) {
	k, err := c.kinds.find(ctx, ref.gvk())
	if err != nil {
		return nil, err
	}
	if k.namespaced {
		return c.dynamic.Resource(k.resource).Namespace(ref.Namespace), nil
	}
	return c.dynamic.Resource(k.resource), nil
}

// awaitKind returns when the cluster serves a kind whose definition was just applied.
func (k *kinds) awaitKind(ctx context.Context, gvk schema.GroupVersionKind) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		k.mu.Lock()
		k.loaded = time.Time{}
		k.mu.Unlock()
		_, err := k.find(ctx, gvk)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
