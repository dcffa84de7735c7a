package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/watch"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

var trackerResource = schema.GroupVersionResource{Group: oam.Group, Version: oam.Version, Resource: "resourcetrackers"}

// trackers watches the stored inventories of all Applications.
type trackers struct{ watch *watch.Watch[*tracker] }

// tracker is a stored inventory, decoded once.
type tracker struct {
	metav1.ObjectMeta
	owner   Owner
	entries []Entry
	err     error // why it does not decode
}

func newTrackers(c *Cluster) (*trackers, error) {
	w, err := watch.New(watch.Config[*tracker]{
		Client: c.dynamic, Resource: trackerResource, Keep: decodeTracker,
		Failed: func(err error) { c.log.Warn("watch broke", "resource", "resourcetrackers", "err", plain(err)) },
	})
	return &trackers{watch: w}, err
}

func decodeTracker(u *unstructured.Unstructured) *tracker {
	t := &tracker{
		ObjectMeta: metav1.ObjectMeta{Name: u.GetName(), UID: u.GetUID(), ResourceVersion: u.GetResourceVersion()},
		owner:      Owner{Namespace: u.GetLabels()[oam.LabelNamespace], Name: u.GetLabels()[oam.LabelName]},
	}
	managed, _, err := unstructured.NestedSlice(u.Object, "spec", "managedResources")
	if err != nil {
		t.err = err
		return t
	}
	raw, err := json.Marshal(managed)
	if err == nil {
		err = json.Unmarshal(raw, &t.entries)
	}
	t.err = err
	return t
}

// find returns the stored inventory of an Application, or the name it will have.
func (t *trackers) find(owner Owner) (stored *tracker, name string) {
	plain, exact := owner.Name+"-"+owner.Namespace, exactTrackerName(owner)
	for _, name := range []string{plain, exact} {
		if stored, ok := t.watch.Get("", name); ok && stored.owner.same(owner) {
			return stored, name
		}
	}
	// A dash joins "a-b" in "c" and "a" in "b-c" to the same: the second gets the longer.
	if _, taken := t.watch.Get("", plain); taken || len(plain) > 253 {
		return nil, exact
	}
	return nil, plain
}

func exactTrackerName(o Owner) string {
	sum := sha256.Sum256([]byte(o.Namespace + "/" + o.Name))
	name := o.Name + "-" + o.Namespace
	return name[:min(len(name), 200)] + "-" + hex.EncodeToString(sum[:4])
}

// claims returns who, other than owner, has an object in its inventory.
func (t *trackers) claims(ref ObjectRef, owner Owner, key func(ObjectRef) ObjectRef) (Owner, bool) {
	wanted := key(ref)
	for _, other := range t.watch.List() {
		if other.owner.same(owner) || other.owner.Name == "" {
			continue
		}
		if slices.ContainsFunc(other.entries, func(e Entry) bool { return e.Name == wanted.Name && e.Kind == wanted.Kind && key(e.Ref()) == wanted }) {
			return other.owner, true
		}
	}
	return Owner{}, false
}

func trackerRef(name string) ObjectRef {
	return ObjectRef{Group: oam.Group, Version: oam.Version, Kind: "ResourceTracker", Name: name}
}
