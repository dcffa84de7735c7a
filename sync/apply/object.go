package apply

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// ObjectRef names an object. The version is not part of its identity.
type ObjectRef struct {
	Group, Version, Kind, Namespace, Name string
}

// RefOf is the reference to an object.
func RefOf(o *unstructured.Unstructured) ObjectRef {
	gvk := o.GroupVersionKind()
	return ObjectRef{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (r ObjectRef) gvk() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}

// key leaves the version out: one object is served under several.
func (r ObjectRef) key() ObjectRef {
	r.Version = ""
	return r
}

func (r ObjectRef) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Owner is the Application that objects belong to.
type Owner struct {
	Namespace, Name string
	UID             types.UID
}

func (o Owner) String() string { return o.Namespace + "/" + o.Name }

// ownerOf reads who owns a live object from the labels we wrote on it. The label of a Git
// source counts first: an Application from Git is its parent's, whatever it is labelled.
func ownerOf(o *unstructured.Unstructured) (Owner, bool) {
	labels := o.GetLabels()
	// Namespaces hold no dots, names may.
	if namespace, name, ok := strings.Cut(labels[oam.LabelSource], "."); ok {
		return Owner{Namespace: namespace, Name: name}, true
	}
	owner := Owner{Namespace: labels[oam.LabelNamespace], Name: labels[oam.LabelName]}
	return owner, owner.Name != "" && owner.Namespace != ""
}

func (o Owner) same(other Owner) bool { return o.Namespace == other.Namespace && o.Name == other.Name }

// Item is one object to apply and the component it belongs to.
type Item struct {
	Object    *unstructured.Unstructured
	Component string
	Treatment
}

// Treatment is what policies say about applying an object. The zero value is the usual.
type Treatment struct {
	ReadOnly bool // never written; it must be there
	TakeOver bool // adopted if it belongs to nobody
	Shared   bool // several Applications may have it; the first of them writes it
	Replace  bool // written as a whole (PUT), which removes what others added
	// Recreate are fields whose change deletes the object and creates it anew.
	Recreate []string
	// Kept are fields whose live value stays; "*" is the whole object.
	Kept []string
	// Once says that an object that was applied before is not brought back, and not
	// corrected: only what is newly wanted is written.
	Once bool
}

// Action is what was done with an object.
type Action string

// The actions, as metric labels and in output.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	Deleted    Action = "deleted"
	Skipped    Action = "skipped"
	Failed     Action = "failed"
)

// Change is the receipt of one object.
type Change struct {
	Ref    ObjectRef
	Action Action
	Drift  bool  // Configured because somebody else had changed it
	Err    error // set when Failed
}

// ChangeSet is the receipt of an apply or a prune.
type ChangeSet []Change

// Written counts the objects that were created, changed or deleted.
func (cs ChangeSet) Written() int {
	n := 0
	for _, c := range cs {
		if c.Action == Created || c.Action == Configured || c.Action == Deleted {
			n++
		}
	}
	return n
}

// Err is the first failure, and how many more there are; nil when all went well.
func (cs ChangeSet) Err() error {
	var first error
	more := -1
	for _, c := range cs {
		if c.Err != nil {
			first = cmp.Or(first, c.Err)
			more++
		}
	}
	if more > 0 {
		return fmt.Errorf("%w (and %d more objects)", first, more)
	}
	return first
}

// hasCondition says that a condition is True.
func hasCondition(o *unstructured.Unstructured, kind string) bool {
	condition := conditionOf(o, kind)
	return condition["status"] == "True"
}

func conditionMessage(o *unstructured.Unstructured, kind string) string {
	message, _ := conditionOf(o, kind)["message"].(string)
	return message
}

func conditionOf(o *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return nil
	}
	for _, c := range conditions {
		if condition, ok := c.(map[string]any); ok && condition["type"] == kind {
			return condition
		}
	}
	return nil
}

// servedKinds are the kinds that a CustomResourceDefinition defines.
func servedKinds(crd *unstructured.Unstructured) []schema.GroupVersionKind {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var out []schema.GroupVersionKind
	for _, v := range versions {
		version, ok := v.(map[string]any)
		name, _ := version["name"].(string)
		if served, _ := version["served"].(bool); ok && served {
			out = append(out, schema.GroupVersionKind{Group: group, Version: name, Kind: kind})
		}
	}
	return out
}
