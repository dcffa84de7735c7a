package apply

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/watch"
)

// packed is a live object as it is kept: a fraction of the size of the decoded one, with
// nothing in it for the garbage collector to walk through.
type packed struct {
	metav1.ObjectMeta // name, namespace, uid, version; no more
	owner             Owner
	owned             bool
	metadata, rest    []byte // JSON
	content           [sha256.Size]byte
}

// pack drops what only the server needs and what is a copy of the rest, from o, too.
func pack(o *unstructured.Unstructured) *packed {
	strip(o)
	p := &packed{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()},
		metadata:   encoded(o.Object["metadata"]), rest: restOf(o),
	}
	p.owner, p.owned = ownerOf(o)
	p.content = contentOf(o, p.rest)
	return p
}

func strip(o *unstructured.Unstructured) *unstructured.Unstructured {
	o.SetManagedFields(nil)
	unstructured.RemoveNestedField(o.Object, "metadata", "annotations", lastApplied)
	return o
}

// restOf is all but the metadata.
func restOf(o *unstructured.Unstructured) []byte {
	rest := maps.Clone(o.Object)
	delete(rest, "metadata")
	return encoded(rest)
}

// contentOf tells apart objects that differ in more than the bookkeeping of the API server.
func contentOf(o *unstructured.Unstructured, rest []byte) [sha256.Size]byte {
	said := encoded([]any{o.GetGeneration(), o.GetDeletionTimestamp() != nil, o.GetLabels(), o.GetAnnotations(), o.GetFinalizers()})
	return sha256.Sum256(append(said, rest...))
}

func sameContent(a, b *unstructured.Unstructured) bool {
	return contentOf(a, restOf(a)) == contentOf(b, restOf(b))
}

// unpack returns the object; it is the caller's.
func (p *packed) unpack() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	decoded(p.rest, &o.Object)
	var metadata map[string]any
	decoded(p.metadata, &metadata)
	o.Object["metadata"] = metadata
	return o
}

// encoded and decoded cannot fail: what is kept came as JSON.
func encoded(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("apply: an object of the API server does not encode: " + err.Error())
	}
	return raw
}

func decoded(raw []byte, into *map[string]any) {
	if err := utiljson.Unmarshal(raw, into); err != nil {
		panic("apply: an object that was encoded does not decode: " + err.Error())
	}
}

// liveWatch is a watch of live objects, decoded for who asks for one.
type liveWatch struct{ *watch.Watch[*packed] }

// Get returns the newest copy known.
func (w liveWatch) Get(namespace, name string) (*unstructured.Unstructured, bool) {
	p, ok := w.Watch.Get(namespace, name)
	if !ok {
		return nil, false
	}
	return p.unpack(), true
}

// Wrote remembers what a write returned, and returns what is kept of it.
func (w liveWatch) Wrote(o *unstructured.Unstructured) *unstructured.Unstructured {
	w.Watch.Wrote(o)
	return o
}

// Await is [watch.Watch.Await] over decoded objects.
func (w liveWatch) Await(ctx context.Context, namespace, name string, done func(*unstructured.Unstructured, bool) bool) error {
	return w.Watch.Await(ctx, namespace, name, func(p *packed, ok bool) bool {
		if !ok {
			return done(nil, false)
		}
		return done(p.unpack(), true)
	})
}
