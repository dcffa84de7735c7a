package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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

// Ref is the object that the entry names.
func (e Entry) Ref() ObjectRef {
	group, version, ok := strings.Cut(e.APIVersion, "/")
	if !ok {
		group, version = "", e.APIVersion
	}
	return ObjectRef{Group: group, Version: version, Kind: e.Kind, Namespace: e.Namespace, Name: e.Name}
}

func (e Entry) compare(o Entry) int {
	return cmp.Or(cmp.Compare(e.Kind, o.Kind), cmp.Compare(e.Namespace, o.Namespace), cmp.Compare(e.Name, o.Name), cmp.Compare(e.APIVersion, o.APIVersion))
}

// Inventory is what one Application owns in the cluster, stored as a ResourceTracker. It
// grows before anything is applied and shrinks only after a confirmed delete, so it may
// name too much after a crash, never too little.
type Inventory struct {
	Owner   Owner
	Entries []Entry

	cluster *Cluster
	stored  *tracker // nil when there is none
	name    string
}

// LoadInventory returns the Application's inventory; one that cannot be read is an
// error, never an empty one.
func (c *Cluster) LoadInventory(owner Owner) (*Inventory, error) {
	if !c.trackers.watch.Synced() {
		return nil, &Error{Reason: ReasonFailedApply, Retryable: true, Err: errors.New("reading the inventory: the ResourceTrackers of the cluster are not known yet")}
	}
	inv := &Inventory{Owner: owner, cluster: c}
	inv.stored, inv.name = c.trackers.find(owner)
	if inv.stored == nil {
		return inv, nil
	}
	if inv.stored.err != nil {
		return nil, &Error{Reason: ReasonFailedApply, Ref: trackerRef(inv.name), Err: fmt.Errorf("reading ResourceTracker %s: %w", inv.name, inv.stored.err),
			Advice: "repair it, or delete it if the Application owns nothing"}
	}
	inv.Entries = slices.Clone(inv.stored.entries)
	return inv, nil
}

// Widen stores the union of what is owned and what is about to be applied. It makes no
// request when nothing is new. Apply does it, too; a caller that applies in several parts
// may do it once for all of them.
func (inv *Inventory) Widen(ctx context.Context, items []Item) error {
	union, changed := inv.union(items)
	if !changed {
		return nil
	}
	return inv.store(ctx, union)
}

func (inv *Inventory) lacks(items []Item) bool {
	_, changed := inv.union(items)
	return changed
}

func (inv *Inventory) union(items []Item) (union []Entry, changed bool) {
	union = slices.Clone(inv.Entries)
	at := map[ObjectRef]int{}
	for i, e := range union {
		at[inv.key(e.Ref())] = i
	}
	for _, item := range items {
		if item.ReadOnly {
			continue // never ours to delete
		}
		o := item.Object
		key := inv.key(RefOf(o))
		e := Entry{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: key.Namespace, Name: o.GetName(), Component: item.Component}
		i, known := at[key]
		switch {
		case !known:
			at[key] = len(union)
			union = append(union, e)
		case union[i] != e: // another component or version of the same object
			union[i] = e
		default:
			continue
		}
		changed = true
	}
	return union, changed
}

// key names an object whatever version or needless namespace it was written down with.
func (inv *Inventory) key(ref ObjectRef) ObjectRef { return inv.cluster.canonical(ref).key() }

// drop stores the inventory without the given objects.
func (inv *Inventory) drop(ctx context.Context, gone map[ObjectRef]bool) error {
	left := slices.DeleteFunc(slices.Clone(inv.Entries), func(e Entry) bool { return gone[inv.key(e.Ref())] })
	if len(left) == len(inv.Entries) {
		return nil
	}
	return inv.store(ctx, left)
}

// Forget deletes the inventory and leaves the objects where they are.
func (inv *Inventory) Forget(ctx context.Context) error { return inv.store(ctx, nil) }

func (inv *Inventory) store(ctx context.Context, entries []Entry) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if len(entries) == 0 {
		return inv.remove(ctx)
	}
	slices.SortFunc(entries, Entry.compare)
	obj, err := inv.object(entries)
	if err != nil {
		return err
	}
	client := inv.cluster.dynamic.Resource(trackerResource)
	verb := "creating"
	var written *unstructured.Unstructured
	if inv.stored == nil {
		written, err = client.Create(ctx, obj, metav1.CreateOptions{FieldManager: FieldOwner})
	} else {
		verb = "updating"
		obj.SetResourceVersion(inv.stored.ResourceVersion) // whoever read it earlier loses
		obj.SetUID(inv.stored.UID)
		written, err = client.Update(ctx, obj, metav1.UpdateOptions{FieldManager: FieldOwner})
	}
	if err != nil {
		return inv.failed(verb, err)
	}
	inv.stored, inv.Entries = inv.cluster.trackers.watch.Wrote(written), entries
	return nil
}

func (inv *Inventory) remove(ctx context.Context) error {
	if inv.stored == nil {
		return nil
	}
	uid, version := inv.stored.UID, inv.stored.ResourceVersion
	err := inv.cluster.dynamic.Resource(trackerResource).Delete(ctx, inv.name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return inv.failed("deleting", err)
	}
	inv.cluster.trackers.watch.Deleted(inv.stored)
	inv.stored, inv.Entries = nil, nil
	return nil
}

// failed makes every disagreement about what is stored a matter of looking again.
func (inv *Inventory) failed(verb string, err error) error {
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) && statusCode(err) == 404 && inv.stored != nil {
		err = apierrors.NewConflict(trackerResource.GroupResource(), inv.name, err)
	}
	return classify(trackerRef(inv.name), verb, err)
}

func (inv *Inventory) object(entries []Entry) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxInventory {
		return nil, &Error{Reason: ReasonFailedApply, Ref: trackerRef(inv.name), Advice: "split the Application into several",
			Err: fmt.Errorf("the inventory of Application %s would take %d KiB, at most %d KiB", inv.Owner, len(raw)>>10, maxInventory>>10)}
	}
	var managed []any
	if err := json.Unmarshal(raw, &managed); err != nil {
		return nil, err
	}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": oam.APIVersion, "kind": "ResourceTracker",
		"spec": map[string]any{"type": "root", "managedResources": managed},
	}}
	obj.SetName(inv.name)
	obj.SetLabels(map[string]string{oam.LabelName: inv.Owner.Name, oam.LabelNamespace: inv.Owner.Namespace})
	return obj, nil
}
