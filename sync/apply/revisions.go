package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	// keptRevisions is how many ApplicationRevisions stay, as in KubeVela.
	keptRevisions     = 10
	labelRevisionHash = "app.oam.dev/app-revision-hash"
	// annotationPrevious is on a record and says how the delivery of the one before it
	// ended. That is known when the next begins, and costs no request of its own there.
	annotationPrevious = "tradewind.dev/previous-revision"
)

var revisionResource = schema.GroupVersionResource{Group: oam.Group, Version: oam.Version, Resource: "applicationrevisions"}

// Revision is a recorded state of an Application.
type Revision struct {
	oam.Revision
	Created     time.Time
	Application *oam.Application // as it was; nil when it does not decode
	Size        int              // of the record, in bytes
	Ended       *Delivery        // nil when nothing is recorded: of the latest, the status says
}

// Delivery is what came of a revision.
type Delivery struct {
	Revision string            `json:"revision"`
	Phase    oam.WorkflowPhase `json:"phase"`
	Begun    *metav1.Time      `json:"begun,omitempty"`
}

// DeliveryOf is what the status of an Application says about its latest revision; nil
// when it says nothing.
func DeliveryOf(app *oam.Application) *Delivery {
	w := app.Status.Workflow
	if w == nil || w.AppRevision == "" {
		return nil
	}
	return &Delivery{Revision: w.AppRevision, Phase: w.Phase, Begun: w.StartTime}
}

// SaveRevision records the Application as its revision and drops the one that is too old.
// An equal record that is there already is fine: a worker may die before it has stored
// the status that names it. Keep says how many revisions stay; 0 means as in KubeVela.
func (c *Cluster) SaveRevision(ctx context.Context, app *oam.Application, rev oam.Revision, keep int) error {
	ref := revisionRef(app.Namespace, rev.Name)
	obj, err := revisionObject(app, rev)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", ref, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := c.dynamic.Resource(revisionResource).Namespace(app.Namespace)
	_, err = client.Create(ctx, obj, metav1.CreateOptions{FieldManager: FieldOwner})
	if apierrors.IsAlreadyExists(err) {
		err = replaceRevision(ctx, client, obj)
	}
	if err != nil {
		return classify(ref, "recording", err)
	}
	if keep > 0 {
		return c.trimRevisions(ctx, app, rev.N-int64(keep))
	}
	if old := rev.N - keptRevisions; old >= 1 {
		return c.deleteRevision(ctx, app.Namespace, fmt.Sprintf("%s-v%d", app.Name, old))
	}
	return nil
}

// trimRevisions drops all revisions up to a number: a limit that was lowered leaves more
// than one.
func (c *Cluster) trimRevisions(ctx context.Context, app *oam.Application, upTo int64) error {
	all, err := c.Revisions(ctx, app.Namespace, app.Name)
	for _, r := range all {
		if err == nil && r.N <= upTo {
			err = c.deleteRevision(ctx, app.Namespace, r.Name)
		}
	}
	return err
}

// replaceRevision keeps a record that says the same; another is of a state that was never
// delivered, or of an Application of the same name that is gone.
func replaceRevision(ctx context.Context, client dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
	found, err := client.Get(ctx, obj.GetName(), getOptions)
	if err != nil {
		return err
	}
	owners, wanted := found.GetOwnerReferences(), obj.GetOwnerReferences()
	if found.GetLabels()[labelRevisionHash] == obj.GetLabels()[labelRevisionHash] && len(owners) == 1 && owners[0].UID == wanted[0].UID {
		return nil
	}
	uid := found.GetUID()
	if err := client.Delete(ctx, obj.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	_, err = client.Create(ctx, obj, metav1.CreateOptions{FieldManager: FieldOwner})
	return err
}

func revisionObject(app *oam.Application, rev oam.Revision) (*unstructured.Unstructured, error) {
	record := oam.Application{
		ObjectMeta: metav1.ObjectMeta{Name: app.Name, Namespace: app.Namespace, Labels: app.Labels, Annotations: app.Annotations},
		Spec:       app.Spec,
	}
	record.APIVersion, record.Kind = oam.APIVersion, oam.Kind
	raw, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	var recorded map[string]any
	if err := json.Unmarshal(raw, &recorded); err != nil {
		return nil, err
	}
	delete(recorded, "status")
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": oam.APIVersion, "kind": "ApplicationRevision", "spec": map[string]any{"application": recorded},
	}}
	obj.SetName(rev.Name)
	obj.SetNamespace(app.Namespace)
	obj.SetLabels(map[string]string{oam.LabelName: app.Name, labelRevisionHash: rev.Hash})
	if before := DeliveryOf(app); before != nil && before.Revision != rev.Name {
		raw, err := json.Marshal(before)
		if err != nil {
			return nil, err
		}
		obj.SetAnnotations(map[string]string{annotationPrevious: string(raw)})
	}
	obj.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: oam.APIVersion, Kind: oam.Kind, Name: app.Name, UID: app.UID, Controller: new(true)}})
	return obj, nil
}

func (c *Cluster) deleteRevision(ctx context.Context, namespace, name string) error {
	err := c.dynamic.Resource(revisionResource).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return classify(revisionRef(namespace, name), "deleting", err)
	}
	return nil
}

// Revisions reads the recorded revisions of an Application, newest first.
func (c *Cluster) Revisions(ctx context.Context, namespace, app string) ([]Revision, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := c.dynamic.Resource(revisionResource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: oam.LabelName + "=" + app})
	if err != nil {
		return nil, listError("ApplicationRevisions", err)
	}
	var out []Revision
	ended := map[string]*Delivery{}
	for i := range list.Items {
		o := &list.Items[i]
		n, err := strconv.ParseInt(strings.TrimPrefix(o.GetName(), app+"-v"), 10, 64)
		if err != nil {
			continue // of another tool
		}
		var before Delivery
		if json.Unmarshal([]byte(o.GetAnnotations()[annotationPrevious]), &before) == nil {
			ended[before.Revision] = &before
		}
		out = append(out, decodeRevision(o, n))
	}
	for i := range out {
		out[i].Ended = ended[out[i].Name]
	}
	slices.SortFunc(out, func(a, b Revision) int { return cmp.Compare(b.N, a.N) })
	return out, nil
}

func decodeRevision(o *unstructured.Unstructured, n int64) Revision {
	r := Revision{Revision: oam.Revision{Name: o.GetName(), N: n, Hash: o.GetLabels()[labelRevisionHash]}, Created: o.GetCreationTimestamp().Time}
	if raw, err := json.Marshal(o.Object["spec"]); err == nil {
		r.Size = len(raw)
	}
	if recorded, ok, err := unstructured.NestedMap(o.Object, "spec", "application"); ok && err == nil {
		if was, err := oam.FromObject(recorded); err == nil {
			r.Application = was
		}
	}
	return r
}

func revisionRef(namespace, name string) ObjectRef {
	return ObjectRef{Group: oam.Group, Version: oam.Version, Kind: "ApplicationRevision", Namespace: namespace, Name: name}
}
