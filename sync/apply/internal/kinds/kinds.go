// Package kinds knows which kinds a cluster has and how each is reached.
//
// In: a connection. Out: the resource of a kind, or the certainty that there is none. It
// asks again when a CustomResourceDefinition comes or goes, and now and then when somebody
// wants a kind that it does not know. It refuses to take a group that does not answer for
// one that is not there.
package kinds

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Kinds is what is known of one cluster.
type Kinds struct {
	discovery *discovery.DiscoveryClient
	crds      cache.SharedIndexInformer
	changed   chan struct{} // a CustomResourceDefinition did

	loading sync.Mutex // one request at a time; guards nothing else

	mu      sync.Mutex
	known   map[schema.GroupVersionKind]Kind
	scopes  map[schema.GroupKind]bool     // namespaced
	failed  map[schema.GroupVersion]error // groups that could not be asked about
	loaded  time.Time                     // zero when what is known is out of date
	changes int                           // how often it went out of date
}

// Kind is how the objects of a kind are reached.
type Kind struct {
	Resource   schema.GroupVersionResource
	Namespaced bool
}

// lookAgain is how long a kind that was not there is believed not to be there.
const lookAgain = time.Second

// loadTimeout bounds asking for all kinds.
const loadTimeout = 5 * time.Second

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// New makes no request. It calls broke when the watch of CustomResourceDefinitions breaks;
// without the right to watch them, looking again when a kind is missing has to do.
func New(restConfig *rest.Config, client *http.Client, broke func(error)) (*Kinds, error) {
	k := &Kinds{changed: make(chan struct{}, 1)}
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
	if err := k.crds.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) { broke(err) }); err != nil {
		return nil, err
	}
	_, err = k.crds.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(_ any, first bool) {
			if !first {
				k.Outdated()
			}
		},
		UpdateFunc: func(_, _ any) { k.Outdated() },
		DeleteFunc: func(any) { k.Outdated() },
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

// Outdated says that what is known may be wrong.
func (k *Kinds) Outdated() {
	k.mu.Lock()
	k.loaded = time.Time{}
	k.changes++
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default: // is about to be dealt with
	}
}

// Run watches CustomResourceDefinitions until ctx ends, and calls changed after any of
// them did.
func (k *Kinds) Run(ctx context.Context, changed func(context.Context)) {
	var watching sync.WaitGroup
	watching.Go(func() { k.crds.RunWithContext(ctx) })
	defer watching.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.changed:
			changed(ctx)
		}
	}
}

// Find says how a kind is reached. The error is a [meta.NoKindMatchError] only when the
// cluster is known not to have the kind.
func (k *Kinds) Find(ctx context.Context, gvk schema.GroupVersionKind) (Kind, error) {
	for again := false; ; again = true {
		k.mu.Lock()
		found, ok := k.known[gvk]
		failure := k.failed[gvk.GroupVersion()]
		loaded := k.loaded
		k.mu.Unlock()
		switch {
		case ok && (again || !loaded.IsZero()):
			return found, nil
		case failure != nil && (again || time.Since(loaded) < lookAgain):
			return Kind{}, failure
		case again || time.Since(loaded) < lookAgain:
			return Kind{}, &meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}
		}
		if err := k.load(ctx, loaded); err != nil {
			if ok {
				return found, nil // what was true a moment ago serves better than nothing
			}
			return Kind{}, err
		}
	}
}

// load asks for all kinds unless somebody else just did.
func (k *Kinds) load(ctx context.Context, seen time.Time) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	k.mu.Lock()
	current, changes := k.loaded, k.changes
	k.mu.Unlock()
	if current.After(seen) {
		return nil
	}
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	_, lists, err := k.discovery.ServerGroupsAndResourcesWithContext(ctx)
	partly, ok := errors.AsType[*discovery.ErrGroupDiscoveryFailed](err)
	if err != nil && !ok {
		return err
	}
	known, scopes := read(lists)
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

func read(lists []*metav1.APIResourceList) (map[schema.GroupVersionKind]Kind, map[schema.GroupKind]bool) {
	known, scopes := map[schema.GroupVersionKind]Kind{}, map[schema.GroupKind]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue // a group that no manifest can name
		}
		for _, r := range list.APIResources {
			if strings.Contains(r.Name, "/") {
				continue // a subresource
			}
			gvk := gv.WithKind(r.Kind)
			known[gvk] = Kind{Resource: gv.WithResource(r.Name), Namespaced: r.Namespaced}
			scopes[gvk.GroupKind()] = r.Namespaced
		}
	}
	return known, scopes
}

// Namespaced says whether objects of a kind live in a namespace; known is false when the
// cluster has no such kind, or cannot be asked.
func (k *Kinds) Namespaced(gk schema.GroupKind) (namespaced, known bool) {
	k.mu.Lock()
	loaded := k.loaded
	k.mu.Unlock()
	if loaded.IsZero() {
		// What was known before has to do when this fails.
		_ = k.load(context.Background(), loaded)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	namespaced, known = k.scopes[gk]
	return namespaced, known
}

// AwaitServed returns when the cluster serves a kind whose definition was just applied.
func (k *Kinds) AwaitServed(ctx context.Context, gvk schema.GroupVersionKind) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		k.mu.Lock()
		k.loaded = time.Time{}
		k.mu.Unlock()
		_, err := k.Find(ctx, gvk)
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

// ServerVersion asks for the version of the API server.
func (k *Kinds) ServerVersion(ctx context.Context) (*version.Info, error) {
	return k.discovery.ServerVersionWithContext(ctx)
}
