package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// maxInventory bounds one ResourceTracker; etcd takes no more than 1.5 MiB.
const maxInventory = 512 << 10

// Entry is one object in an inventory.
type Entry struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	Component  string `json:"component,omitempty"`
}

func (e Entry) ref() ObjectRef {
	group, version, ok := strings.Cut(e.APIVersion, "/")
	if !ok {
		group, version = "", e.APIVersion
	}
	return ObjectRef{Group: group, Version: version, Kind: e.Kind, Namespace: e.Namespace, Name: e.Name}
}

func entryOf(item Item) Entry {
	o := item.Object
	return Entry{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Component: item.Component}
}

// Inventory is what one Application owns in the cluster, stored as a ResourceTracker. It
// grows before anything is applied and shrinks only after a confirmed delete, so it may
// name too much after a crash, never too little.
type Inventory struct {
	Owner   Owner
	Entries []Entry

	cluster *Cluster
	version string // of the stored object; "" when there is none
}

// trackers watches the stored inventories.
type trackers struct {
	informer cache.SharedIndexInformer

	mu    sync.Mutex
	fresh map[string]*unstructured.Unstructured
}

func newTrackers(c *Cluster) *trackers {
	t := &trackers{fresh: map[string]*unstructured.Unstructured{}}
	t.informer = dynamicinformer.NewFilteredDynamicInformer(c.dynamic, trackerResource, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	if err := t.informer.SetTransform(dropManagedFields); err != nil {
		panic(err) // only after Run
	}
	return t
}

func (t *trackers) get(name string) *unstructured.Unstructured {
	var found *unstructured.Unstructured
	if obj, exists, err := t.informer.GetStore().GetByKey(name); err == nil && exists {
		found, _ = obj.(*unstructured.Unstructured)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if own := t.fresh[name]; own != nil {
		if found == nil || newer(own, found) {
			return own
		}
		delete(t.fresh, name)
	}
	return found
}

func (t *trackers) wrote(name string, o *unstructured.Unstructured) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o == nil {
		delete(t.fresh, name)
		return
	}
	t.fresh[name] = o
}

// trackerName is readable and still one per Application: names joined by a dash alone
// would be ambiguous.
func trackerName(o Owner) string {
	sum := sha256.Sum256([]byte(o.Namespace + "/" + o.Name))
	name := o.Name + "-" + o.Namespace
	return name[:min(len(name), 200)] + "-" + hex.EncodeToString(sum[:4])
}

// LoadInventory returns the Application's inventory; one that cannot be read is an
// error, never an empty one.
func (c *Cluster) LoadInventory(owner Owner) (*Inventory, error) {
	inv := &Inventory{Owner: owner, cluster: c}
	stored := c.trackers.get(trackerName(owner))
	if stored == nil {
		return inv, nil
	}
	inv.version = stored.GetResourceVersion()
	managed, _, err := unstructured.NestedSlice(stored.Object, "spec", "managedResources")
	if err != nil {
		return nil, fmt.Errorf("reading ResourceTracker %s: %w", stored.GetName(), err)
	}
	raw, err := json.Marshal(managed)
	if err != nil {
		return nil, fmt.Errorf("reading ResourceTracker %s: %w", stored.GetName(), err)
	}
	if err := json.Unmarshal(raw, &inv.Entries); err != nil {
		return nil, fmt.Errorf("reading ResourceTracker %s: %w", stored.GetName(), err)
	}
	return inv, nil
}

// Widen stores the union of what is owned and what is about to be applied. It makes no
// request when nothing is new.
func (inv *Inventory) Widen(ctx context.Context, items []Item) error {
	known := map[ObjectRef]bool{}
	for _, e := range inv.Entries {
		known[e.ref().key()] = true
	}
	union := slices.Clone(inv.Entries)
	for _, item := range items {
		if e := entryOf(item); !known[e.ref().key()] {
			known[e.ref().key()] = true
			union = append(union, e)
		}
	}
	if len(union) == len(inv.Entries) {
		return nil
	}
	return inv.store(ctx, union)
}

// drop stores the inventory without the given objects.
func (inv *Inventory) drop(ctx context.Context, gone map[ObjectRef]bool) error {
	if len(gone) == 0 {
		return nil
	}
	left := slices.DeleteFunc(slices.Clone(inv.Entries), func(e Entry) bool { return gone[e.ref().key()] })
	return inv.store(ctx, left)
}

func (inv *Inventory) store(ctx context.Context, entries []Entry) error {
	name := trackerName(inv.Owner)
	ref := ObjectRef{Kind: "ResourceTracker", Name: name}
	client := inv.cluster.dynamic.Resource(trackerResource)
	if len(entries) == 0 && inv.version != "" {
		err := client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &inv.version}})
		if err != nil && !apierrors.IsNotFound(err) {
			return classify(ref, "deleting", err)
		}
		inv.cluster.trackers.wrote(name, nil)
		inv.Entries, inv.version = nil, ""
		return nil
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return strings.Compare(a.Kind+"\x00"+a.Namespace+"\x00"+a.Name, b.Kind+"\x00"+b.Namespace+"\x00"+b.Name)
	})
	obj, err := inv.object(name, entries)
	if err != nil {
		return err
	}
	verb := "creating"
	var stored *unstructured.Unstructured
	if inv.version == "" {
		stored, err = client.Create(ctx, obj, metav1.CreateOptions{FieldManager: FieldOwner})
	} else {
		verb = "updating"
		obj.SetResourceVersion(inv.version)
		stored, err = client.Update(ctx, obj, metav1.UpdateOptions{FieldManager: FieldOwner})
	}
	if apierrors.IsAlreadyExists(err) { // the watch is behind another worker's write
		err = apierrors.NewConflict(trackerResource.GroupResource(), name, err)
	}
	if err != nil {
		return classify(ref, verb, err)
	}
	inv.cluster.trackers.wrote(name, stored)
	inv.Entries, inv.version = entries, stored.GetResourceVersion()
	return nil
}

func (inv *Inventory) object(name string, entries []Entry) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxInventory {
		return nil, &Error{Reason: ReasonFailedApply, Err: fmt.Errorf("the inventory of Application %s would take %d bytes, at most %d: split it", inv.Owner, len(raw), maxInventory)}
	}
	var managed []any
	if err := json.Unmarshal(raw, &managed); err != nil {
		return nil, err
	}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": oam.APIVersion, "kind": "ResourceTracker",
		"spec": map[string]any{"type": "root", "managedResources": managed},
	}}
	obj.SetName(name)
	obj.SetLabels(map[string]string{oam.LabelName: inv.Owner.Name, oam.LabelNamespace: inv.Owner.Namespace})
	return obj, nil
}

// SaveRevision records the Application as its revision; an equal record that is there
// already is fine.
func (c *Cluster) SaveRevision(ctx context.Context, app *oam.Application, rev oam.Revision) error {
	ref := ObjectRef{Kind: "ApplicationRevision", Namespace: app.Namespace, Name: rev.Name}
	record := app.DeepCopy()
	record.Status = oam.Status{}
	record.ObjectMeta = metav1.ObjectMeta{Name: app.Name, Namespace: app.Namespace, Labels: app.Labels, Annotations: app.Annotations}
	record.APIVersion, record.Kind = oam.APIVersion, oam.Kind
	raw, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", ref, err)
	}
	var spec map[string]any
	if err := json.Unmarshal(raw, &spec); err != nil {
		return fmt.Errorf("encoding %s: %w", ref, err)
	}
	delete(spec, "status")
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": oam.APIVersion, "kind": "ApplicationRevision", "spec": map[string]any{"application": spec},
	}}
	obj.SetName(rev.Name)
	obj.SetLabels(map[string]string{oam.LabelName: app.Name, "app.oam.dev/app-revision-hash": rev.Hash})
	obj.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: oam.APIVersion, Kind: oam.Kind, Name: app.Name, UID: app.UID, Controller: new(true)}})
	client := c.dynamic.Resource(revisionResource).Namespace(app.Namespace)
	_, err = client.Create(ctx, obj, metav1.CreateOptions{FieldManager: FieldOwner})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil // a crash between this and the status write; the number tells what it holds
	case err != nil:
		return classify(ref, "recording", err)
	}
	return c.dropOldRevision(ctx, app, rev.N-keptRevisions)
}

// keptRevisions is how many ApplicationRevisions stay, as in KubeVela.
const keptRevisions = 10

func (c *Cluster) dropOldRevision(ctx context.Context, app *oam.Application, n int64) error {
	if n < 1 {
		return nil
	}
	name := fmt.Sprintf("%s-v%d", app.Name, n)
	err := c.dynamic.Resource(revisionResource).Namespace(app.Namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return classify(ObjectRef{Kind: "ApplicationRevision", Namespace: app.Namespace, Name: name}, "deleting", err)
	}
	return nil
}
