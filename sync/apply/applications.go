package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

var (
	applicationResource = schema.GroupVersionResource{Group: oam.Group, Version: oam.Version, Resource: "applications"}
	revisionResource    = schema.GroupVersionResource{Group: oam.Group, Version: oam.Version, Resource: "applicationrevisions"}
	trackerResource     = schema.GroupVersionResource{Group: oam.Group, Version: oam.Version, Resource: "resourcetrackers"}
)

// applications is the watched set of Applications, decoded once per change.
type applications struct {
	cluster  *Cluster
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration

	mu       sync.Mutex
	onChange func(before, after *oam.Application)
	fresh    map[types.NamespacedName]*application // what our own writes returned
}

// application is a decoded one, or its identity and why the rest did not decode.
type application struct {
	*oam.Application
	err error
}

func newApplications(c *Cluster) *applications {
	a := &applications{cluster: c, fresh: map[types.NamespacedName]*application{}}
	a.informer = dynamicinformer.NewFilteredDynamicInformer(c.dynamic, applicationResource, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	if err := a.informer.SetTransform(decode); err != nil {
		panic(err) // only after Run
	}
	reg, err := a.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { a.changed(nil, obj) },
		UpdateFunc: a.changed,
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			a.changed(obj, nil)
		},
	})
	if err != nil {
		panic(err)
	}
	a.handler = reg
	return a
}

// decode keeps the typed form only; it is a fraction of the size of the raw one.
func decode(obj any) (any, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	u.SetManagedFields(nil)
	app, err := oam.FromObject(u.Object)
	if app == nil {
		app = &oam.Application{}
		app.Namespace, app.Name, app.ResourceVersion = u.GetNamespace(), u.GetName(), u.GetResourceVersion()
	}
	return &application{Application: app, err: err}, nil
}

func (a *applications) synced() bool { return a.handler.HasSynced() }

// OnApplication calls fn for every Application that appears (before nil), changes or
// goes (after nil), in order. It must be called before Run.
func (c *Cluster) OnApplication(fn func(before, after *oam.Application)) {
	c.applications.onChange = fn
}

func (a *applications) changed(before, after any) {
	var b, n *oam.Application
	if app, ok := before.(*application); ok {
		b = app.Application
	}
	if app, ok := after.(*application); ok {
		n = app.Application
		key := types.NamespacedName{Namespace: n.Namespace, Name: n.Name}
		a.mu.Lock()
		if own := a.fresh[key]; own != nil && !newerVersion(own.ResourceVersion, n.ResourceVersion) {
			delete(a.fresh, key)
		}
		a.mu.Unlock()
	}
	if a.onChange != nil && (b != nil || n != nil) {
		a.onChange(b, n)
	}
}

func newerVersion(a, b string) bool {
	return len(a) > len(b) || len(a) == len(b) && a > b
}

// Applications returns all of them, sorted by namespace and name. They must not be
// changed.
func (c *Cluster) Applications() []*oam.Application {
	var out []*oam.Application
	for _, obj := range c.applications.informer.GetStore().List() {
		if app, ok := obj.(*application); ok {
			out = append(out, app.Application)
		}
	}
	sortApplications(out)
	return out
}

func sortApplications(apps []*oam.Application) {
	slices.SortFunc(apps, func(a, b *oam.Application) int {
		return strings.Compare(a.Namespace+"\x00"+a.Name, b.Namespace+"\x00"+b.Name)
	})
}

// Application returns one from the watch; found is false when there is none, err says
// why it does not decode. It must not be changed.
func (c *Cluster) Application(namespace, name string) (app *oam.Application, found bool, err error) {
	obj, exists, _ := c.applications.informer.GetStore().GetByKey(namespace + "/" + name)
	if !exists {
		return nil, false, nil
	}
	known, ok := obj.(*application)
	if !ok {
		return nil, false, nil
	}
	c.applications.mu.Lock()
	defer c.applications.mu.Unlock()
	own := c.applications.fresh[types.NamespacedName{Namespace: namespace, Name: name}]
	if own != nil && own.UID == known.UID && newerVersion(own.ResourceVersion, known.ResourceVersion) {
		known = own
	}
	return known.Application, true, known.err
}

// ListApplications reads them from the server; an empty namespace means all.
func (c *Cluster) ListApplications(ctx context.Context, namespace string) ([]*oam.Application, error) {
	list, err := c.dynamic.Resource(applicationResource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, classify(ObjectRef{Kind: "Applications", Namespace: namespace}, "listing", err)
	}
	var out []*oam.Application
	for i := range list.Items {
		app, err := oam.FromObject(list.Items[i].Object)
		if err != nil {
			return nil, err
		}
		out = append(out, app)
	}
	sortApplications(out)
	return out, nil
}

// GetApplication reads one from the server.
func (c *Cluster) GetApplication(ctx context.Context, namespace, name string) (*oam.Application, error) {
	obj, err := c.dynamic.Resource(applicationResource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, classify(ObjectRef{Kind: oam.Kind, Namespace: namespace, Name: name}, "reading", err)
	}
	return oam.FromObject(obj.Object)
}

type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patch changes an Application as it was read: if anyone changed it since, the server
// refuses and the caller looks again.
func (c *Cluster) patch(ctx context.Context, app *oam.Application, subresource string, ops ...patchOp) error {
	ref := ObjectRef{Kind: oam.Kind, Namespace: app.Namespace, Name: app.Name}
	ops = append([]patchOp{{Op: "replace", Path: "/metadata/resourceVersion", Value: app.ResourceVersion}}, ops...)
	body, err := json.Marshal(ops)
	if err != nil {
		return fmt.Errorf("encoding a patch of %s: %w", ref, err)
	}
	var sub []string
	if subresource != "" {
		sub = []string{subresource}
	}
	obj, err := c.dynamic.Resource(applicationResource).Namespace(app.Namespace).
		Patch(ctx, app.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: FieldOwner}, sub...)
	if err != nil {
		return classify(ref, "updating", err)
	}
	decoded, err := decode(obj)
	if err != nil {
		return err
	}
	if fresh, ok := decoded.(*application); ok {
		c.applications.mu.Lock()
		c.applications.fresh[types.NamespacedName{Namespace: app.Namespace, Name: app.Name}] = fresh
		c.applications.mu.Unlock()
		app.ResourceVersion = fresh.ResourceVersion
		app.Finalizers = fresh.Finalizers
	}
	return nil
}

// WriteStatus stores status unless the Application has it already, and says whether it
// wrote.
func (c *Cluster) WriteStatus(ctx context.Context, app *oam.Application, status oam.Status) (bool, error) {
	if reflect.DeepEqual(encoded(app.Status), encoded(status)) {
		return false, nil
	}
	return true, c.patch(ctx, app, "status", patchOp{Op: "add", Path: "/status", Value: status})
}

func encoded(s oam.Status) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic("apply: a status does not encode: " + err.Error())
	}
	return string(raw)
}

// SetFinalizer adds or removes our finalizer; it makes no request when that is so.
func (c *Cluster) SetFinalizer(ctx context.Context, app *oam.Application, present bool) error {
	if slices.Contains(app.Finalizers, oam.Finalizer) == present {
		return nil
	}
	finalizers := slices.DeleteFunc(slices.Clone(app.Finalizers), func(f string) bool { return f == oam.Finalizer || f == oam.FinalizerOrphan && !present })
	if present {
		finalizers = append(finalizers, oam.Finalizer)
	}
	if len(finalizers) == 0 {
		return c.patch(ctx, app, "", patchOp{Op: "remove", Path: "/metadata/finalizers"})
	}
	return c.patch(ctx, app, "", patchOp{Op: "add", Path: "/metadata/finalizers", Value: finalizers})
}
