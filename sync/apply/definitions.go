package apply

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/watch"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// definitionKinds are the kinds that define types, and the one that keeps their earlier
// forms, with their resources.
var definitionKinds = []struct{ kind, resource string }{
	{"ComponentDefinition", "componentdefinitions"},
	{"TraitDefinition", "traitdefinitions"},
	{"PolicyDefinition", "policydefinitions"},
	{"WorkflowStepDefinition", "workflowstepdefinitions"},
	{"DefinitionRevision", "definitionrevisions"},
}

// definitions are the watches of those kinds that the cluster has. Nothing needs them to
// be there: the built-in types do without.
type definitions struct {
	cluster  *Cluster
	watched  []*definitionWatch
	onChange func(before, after *unstructured.Unstructured)
	look     chan struct{} // the kinds of the cluster changed
}

type definitionWatch struct {
	gvk     schema.GroupVersionKind
	watch   *watch.Watch[*unstructured.Unstructured]
	started bool // owned by run
}

func newDefinitions(c *Cluster) (*definitions, error) {
	d := &definitions{cluster: c, look: make(chan struct{}, 1)}
	for _, k := range definitionKinds {
		w, err := watch.New(watch.Config[*unstructured.Unstructured]{
			Client: c.dynamic, Resource: definitionResource(k.resource), Keep: keepDefinition,
			Changed: func(before, after *unstructured.Unstructured, _ bool) {
				if d.onChange != nil {
					d.onChange(before, after)
				}
			},
			Failed: func(err error) { c.log.Warn("watch broke", "resource", k.resource, "err", plain(err)) },
		})
		if err != nil {
			return nil, err
		}
		d.watched = append(d.watched, &definitionWatch{gvk: definitionGVK(k.kind), watch: w})
	}
	return d, nil
}

func definitionResource(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: oam.Group, Version: oam.Version, Resource: resource}
}

func definitionGVK(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: oam.Group, Version: oam.Version, Kind: kind}
}

// keepDefinition drops what nobody here reads and may be as large as the rest.
func keepDefinition(u *unstructured.Unstructured) *unstructured.Unstructured {
	u.SetManagedFields(nil)
	unstructured.RemoveNestedField(u.Object, "metadata", "annotations", lastApplied)
	unstructured.RemoveNestedField(u.Object, "status")
	return u
}

// OnDefinition calls fn for every ComponentDefinition, TraitDefinition, PolicyDefinition,
// WorkflowStepDefinition and DefinitionRevision that appears (before nil), changes or goes
// (after nil), in order for each kind. The objects must not be changed. It must be called
// before Run.
func (c *Cluster) OnDefinition(fn func(before, after *unstructured.Unstructured)) {
	c.definitions.onChange = fn
}

// definitionsAgain is how often kinds that are not there are asked for without a sign
// that they came.
const definitionsAgain = time.Minute

// run starts the watch of each kind when the cluster has it.
func (d *definitions) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	again := time.NewTicker(definitionsAgain)
	defer again.Stop()
	for missing := true; missing; {
		missing = false
		for _, w := range d.watched {
			if w.started {
				continue
			}
			if _, err := d.cluster.kinds.Find(ctx, w.gvk); err != nil {
				missing = true
				continue
			}
			w.started = true
			running.Go(func() { w.watch.Run(ctx) })
		}
		select {
		case <-ctx.Done():
			return
		case <-d.look:
		case <-again.C:
		}
	}
	<-ctx.Done()
}

// kindsChanged never blocks.
func (d *definitions) kindsChanged() {
	select {
	case d.look <- struct{}{}:
	default: // is about to look
	}
}

// wait returns when all definitions there are have been told. A kind that the cluster
// does not have, or lets go meanwhile, is not waited for.
func (d *definitions) wait(ctx context.Context) error {
	for _, w := range d.watched {
		switch _, err := d.cluster.kinds.Find(ctx, w.gvk); {
		case meta.IsNoMatchError(err):
			continue
		case err != nil:
			return listError(w.gvk.Kind+"s", err)
		}
		d.kindsChanged() // what came a moment ago is not left to the ticker
		if err := w.watch.Wait(ctx); err != nil && !apierrors.IsNotFound(err) {
			return listError(w.gvk.Kind+"s", err)
		}
		if err := told(ctx, w.watch.Synced); err != nil {
			return listError(w.gvk.Kind+"s", err)
		}
	}
	return nil
}

// told returns when synced says that everything listed was told.
func told(ctx context.Context, synced func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !synced() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// ListDefinitions reads the definitions of one kind from the server, sorted by namespace
// and name; an empty namespace means all. A kind that the cluster does not have is an
// empty list.
func (c *Cluster) ListDefinitions(ctx context.Context, kind, namespace string) ([]unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, firstSync)
	defer cancel()
	var out []unstructured.Unstructured
	page := metav1.ListOptions{Limit: 100}
	for {
		list, err := c.dynamic.Resource(resourceOfDefinition(kind)).Namespace(namespace).List(ctx, page)
		switch {
		case apierrors.IsNotFound(err):
			return nil, nil
		case err != nil:
			return nil, listError(kind+"s", err)
		}
		for i := range list.Items {
			out = append(out, *keepDefinition(&list.Items[i]))
		}
		if page.Continue = list.GetContinue(); page.Continue == "" {
			return out, nil // the server lists by namespace and name
		}
	}
}

func resourceOfDefinition(kind string) schema.GroupVersionResource {
	for _, k := range definitionKinds {
		if k.kind == kind {
			return definitionResource(k.resource)
		}
	}
	return definitionResource(kind) // the server says that there is no such thing
}

// definitionOwner is the field manager of definitions that a person applies; those that
// come from Git belong to FieldOwner.
const definitionOwner = "tradewind-def"

// ApplyDefinition writes a definition and says what became of it: created, configured or
// unchanged. force takes fields over from other managers.
func (c *Cluster) ApplyDefinition(ctx context.Context, object *unstructured.Unstructured, force bool) (Action, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref := RefOf(object)
	client := c.dynamic.Resource(resourceOfDefinition(object.GetKind())).Namespace(object.GetNamespace())
	before, err := client.Get(ctx, object.GetName(), getOptions)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", classify(ref, "reading", err)
	}
	after, applyErr := client.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: definitionOwner, Force: force})
	switch {
	case applyErr != nil:
		return "", classify(ref, "applying", applyErr)
	case err != nil:
		return Created, nil
	case before.GetResourceVersion() == after.GetResourceVersion():
		return Unchanged, nil
	}
	return Configured, nil
}
