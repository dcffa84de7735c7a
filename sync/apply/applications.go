package apply

import (
	"cmp"
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/watch"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

var (
	applicationResource = schema.GroupVersionResource{Group: oam.Group, Version: oam.Version, Resource: "applications"}
	getOptions          = metav1.GetOptions{}
)

// applications is the watched set of Applications, decoded once per change.
type applications struct {
	watch    *watch.Watch[*application]
	onChange []func(before, after *oam.Application)
}

// application is a decoded one, or its identity and why the rest did not decode.
type application struct {
	*oam.Application
	err error
}

func newApplications(c *Cluster) (*applications, error) {
	a := &applications{}
	var err error
	a.watch, err = watch.New(watch.Config[*application]{
		Client: c.dynamic, Resource: applicationResource, Keep: decodeApplication,
		Changed: func(before, after *application, _ bool) { a.changed(before, after) },
		Failed:  func(err error) { c.log.Warn("watch broke", "resource", "applications", "err", plain(err)) },
	})
	return a, err
}

// decodeApplication keeps the typed form only; it is a fraction of the size of the raw
// one. What kubectl wrote down for itself is of no use to anyone here.
func decodeApplication(u *unstructured.Unstructured) *application {
	u.SetManagedFields(nil)
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", lastApplied)
	app, err := oam.FromObject(u.Object)
	if app == nil {
		app = &oam.Application{ObjectMeta: metav1.ObjectMeta{
			Namespace: u.GetNamespace(), Name: u.GetName(), UID: u.GetUID(), ResourceVersion: u.GetResourceVersion(),
		}}
	}
	return &application{Application: app, err: err}
}

// OnApplication calls fn for every Application that appears (before nil), changes or
// goes (after nil), in order, our own writes among them. It must be called before Run;
// several are called one after the other.
func (c *Cluster) OnApplication(fn func(before, after *oam.Application)) {
	c.applications.onChange = append(c.applications.onChange, fn)
}

func (a *applications) changed(before, after *application) {
	var b, n *oam.Application
	if before != nil {
		b = before.Application
	}
	if after != nil {
		n = after.Application
	}
	for _, fn := range a.onChange {
		fn(b, n)
	}
}

// Applications returns all of them, sorted by namespace and name. They must not be
// changed.
func (c *Cluster) Applications() []*oam.Application {
	known := c.applications.watch.List()
	out := make([]*oam.Application, 0, len(known))
	for _, app := range known {
		out = append(out, app.Application)
	}
	sortApplications(out)
	return out
}

func sortApplications(apps []*oam.Application) {
	slices.SortFunc(apps, func(a, b *oam.Application) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// Application returns one from the watch; found is false when there is none, err says
// why it does not decode (its metadata does). It must not be changed.
func (c *Cluster) Application(namespace, name string) (app *oam.Application, found bool, err error) {
	known, ok := c.applications.watch.Get(namespace, name)
	if !ok {
		return nil, false, nil
	}
	return known.Application, true, known.err
}

// ListApplications reads them from the server, sorted; an empty namespace means all. Of
// one that does not decode there is the metadata.
func (c *Cluster) ListApplications(ctx context.Context, namespace string) ([]*oam.Application, error) {
	ctx, cancel := context.WithTimeout(ctx, firstSync)
	defer cancel()
	var out []*oam.Application
	page := metav1.ListOptions{Limit: 500}
	for {
		list, err := c.dynamic.Resource(applicationResource).Namespace(namespace).List(ctx, page)
		if err != nil {
			return nil, listError("Applications", err)
		}
		for i := range list.Items {
			out = append(out, decodeApplication(&list.Items[i]).Application)
		}
		if page.Continue = list.GetContinue(); page.Continue == "" {
			sortApplications(out)
			return out, nil
		}
	}
}

// GetApplication reads one from the server. When it does not decode, the error says why
// and there is the metadata.
func (c *Cluster) GetApplication(ctx context.Context, namespace, name string) (*oam.Application, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	obj, err := c.dynamic.Resource(applicationResource).Namespace(namespace).Get(ctx, name, getOptions)
	if err != nil {
		return nil, classify(applicationRef(namespace, name), "reading", err)
	}
	known := decodeApplication(obj)
	return known.Application, known.err
}

func applicationRef(namespace, name string) ObjectRef {
	return ObjectRef{Group: oam.Group, Version: oam.Version, Kind: oam.Kind, Namespace: namespace, Name: name}
}
