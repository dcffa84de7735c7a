package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	kindDefinitionRevision = "DefinitionRevision"
	// keptDefinitions is how many earlier forms of a definition stay, as in KubeVela.
	keptDefinitions = 20
)

// SaveDefinitions records definitions of one namespace, in the order of their changes, as
// DefinitionRevisions <name>-v<N>: each gets the next number when it says something else
// than its newest record. Any number of workers may do so at once: a name is given once,
// and who comes second finds his form recorded. Records beyond the newest 20 go, unless
// they are in use.
func (c *Cluster) SaveDefinitions(ctx context.Context, namespace string, changed []*unstructured.Unstructured, inUse func(revision string) bool) error {
	listed, err := c.ListDefinitions(ctx, kindDefinitionRevision, namespace)
	if err != nil {
		return err
	}
	var failed error
	for _, object := range changed {
		form := &definitionForm{object: object, field: lowerFirst(object.GetKind())}
		for tries := 0; ; tries++ {
			form.read(listed)
			if form.recorded() {
				break
			}
			made, err := c.createDefinitionRevision(ctx, form)
			if apierrors.IsAlreadyExists(err) && tries < inParallel { // another worker was faster: what did it write?
				if listed, err = c.ListDefinitions(ctx, kindDefinitionRevision, namespace); err == nil {
					continue
				}
			}
			if err == nil {
				listed = append(listed, *made)
				form.read(listed)
				err = c.trimDefinitions(ctx, form, inUse)
			}
			failed = errors.Join(failed, classifyIf(RefOf(object), "recording", err))
			break
		}
	}
	return failed
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// definitionForm is a definition to be recorded, among the records that there are.
type definitionForm struct {
	object *unstructured.Unstructured
	field  string // of a record's spec
	last   int64  // the highest number that any definition of the name has
	newest *unstructured.Unstructured
	own    map[int64]string // the records of this definition
}

func (f *definitionForm) read(listed []unstructured.Unstructured) {
	f.last, f.newest, f.own = 0, nil, map[int64]string{}
	newest := int64(0)
	for i := range listed {
		o := &listed[i]
		n, err := strconv.ParseInt(strings.TrimPrefix(o.GetName(), f.object.GetName()+"-v"), 10, 64)
		if err != nil || !strings.HasPrefix(o.GetName(), f.object.GetName()+"-v") {
			continue
		}
		f.last = max(f.last, n)
		if held, _, _ := unstructured.NestedString(o.Object, "spec", f.field, "metadata", "name"); held != f.object.GetName() {
			continue // a trait of the name of a component
		}
		if f.own[n] = o.GetName(); n > newest {
			f.newest, newest = o, n
		}
	}
}

func (f *definitionForm) recorded() bool {
	if f.newest == nil {
		return false
	}
	held, _, _ := unstructured.NestedFieldNoCopy(f.newest.Object, "spec", f.field, "spec")
	return reflect.DeepEqual(held, f.object.Object["spec"])
}

func (c *Cluster) createDefinitionRevision(ctx context.Context, f *definitionForm) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(f.object.Object["spec"])
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	copied := f.object.DeepCopy()
	held := map[string]any{
		"apiVersion": copied.GetAPIVersion(), "kind": copied.GetKind(), "spec": copied.Object["spec"],
		"metadata": map[string]any{"name": copied.GetName(), "namespace": copied.GetNamespace()},
	}
	if annotations := copied.GetAnnotations(); len(annotations) > 0 {
		_ = unstructured.SetNestedStringMap(held, annotations, "metadata", "annotations") // metadata is a map
	}
	record := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": oam.APIVersion, "kind": kindDefinitionRevision,
		"spec": map[string]any{
			"revision": f.last + 1, "revisionHash": hex.EncodeToString(sum[:8]),
			"definitionType": strings.TrimSuffix(copied.GetKind(), "Definition"), f.field: held,
		},
	}}
	record.SetName(fmt.Sprintf("%s-v%d", copied.GetName(), f.last+1))
	record.SetNamespace(copied.GetNamespace())
	record.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: copied.GetAPIVersion(), Kind: copied.GetKind(), Name: copied.GetName(), UID: copied.GetUID(), Controller: new(true),
	}})
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.dynamic.Resource(resourceOfDefinition(kindDefinitionRevision)).Namespace(copied.GetNamespace()).
		Create(ctx, record, metav1.CreateOptions{FieldManager: FieldOwner})
}

func (c *Cluster) trimDefinitions(ctx context.Context, f *definitionForm, inUse func(string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := c.dynamic.Resource(resourceOfDefinition(kindDefinitionRevision)).Namespace(f.object.GetNamespace())
	for n, name := range f.own {
		if n > f.last-keptDefinitions || inUse(name) {
			continue
		}
		if err := client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
