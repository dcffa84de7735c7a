package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	callTimeout  = 5 * time.Second // of one request
	inParallel   = 8               // more brings nothing on the server's side
	batchSize    = 50              // writes between two checks of the lease
	establishing = 10 * time.Second
)

// ApplyOptions tune one apply.
type ApplyOptions struct {
	// Check is called before each batch of writes; an error stops the apply.
	Check func(context.Context) error
	// Adopt takes over objects that exist and belong to no Application, as a Git syncer
	// does; without it they are a conflict.
	Adopt bool
}

// Apply makes the items so: definitions and namespaces first, then the rest. Objects that
// are so already cost no request. One that fails does not stop the others; the receipt
// lists every item. The error is about the apply as a whole (lease lost).
func (c *Cluster) Apply(ctx context.Context, inv *Inventory, items []Item, opts ApplyOptions) (ChangeSet, error) {
	begun := time.Now()
	var out ChangeSet
	for _, stage := range stages(items) {
		for len(stage) > 0 {
			batch := stage[:min(batchSize, len(stage))]
			stage = stage[len(batch):]
			if opts.Check != nil {
				if err := opts.Check(ctx); err != nil {
					return out, err
				}
			}
			out = append(out, c.applyBatch(ctx, inv.Owner, batch, opts)...)
		}
		if err := out.Err(); err != nil && stageMatters(out) {
			break
		}
	}
	c.metrics.observe(out, time.Since(begun))
	return out, nil
}

func (c *Cluster) applyBatch(ctx context.Context, owner Owner, batch []Item, opts ApplyOptions) ChangeSet {
	changes := make(ChangeSet, len(batch))
	var group errgroup.Group
	group.SetLimit(inParallel)
	for i, item := range batch {
		group.Go(func() error {
			ref := RefOf(item.Object)
			action, err := c.applyOne(ctx, owner, item, opts)
			if err != nil {
				action = Failed
			}
			changes[i] = Change{Ref: ref, Action: action, Err: err}
			return nil
		})
	}
	_ = group.Wait() // errors are in the receipt
	return changes
}

func (c *Cluster) applyOne(ctx context.Context, owner Owner, item Item, opts ApplyOptions) (Action, error) {
	ref := RefOf(item.Object)
	informer, err := c.live.kind(ctx, ref.gvk())
	if err != nil {
		return Failed, classify(ref, "applying", err)
	}
	live := c.live.get(informer, ref)
	wanted := item.Object.DeepCopy()
	hash := hashOf(wanted)
	if live != nil && live.GetDeletionTimestamp() == nil && live.GetLabels()[oam.LabelRenderHash] == hash {
		if c.isSo(ref, live, wanted) {
			return Unchanged, nil
		}
	}
	switch mode(item.Object, live) {
	case "disabled", "ignore":
		return Skipped, nil
	case "if-absent":
		if live != nil {
			return Skipped, nil
		}
	}
	labels := wanted.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[oam.LabelRenderHash] = hash
	wanted.SetLabels(labels)
	client, err := c.resource(ref.gvk(), ref.Namespace)
	if err != nil {
		return Failed, classify(ref, "applying", err)
	}
	if live, err = c.mayWrite(ctx, client, owner, ref, live, opts); err != nil {
		return Failed, err
	}
	applied, err := c.write(ctx, client, ref, wanted)
	if err != nil {
		return Failed, err
	}
	if !contains(applied.Object, item.Object.Object) {
		c.live.rememberForm(ref, applied, item.Object)
	}
	c.live.wrote(applied)
	if ref.Kind == "CustomResourceDefinition" {
		if err := c.established(ctx, client, ref); err != nil {
			return Failed, err
		}
	}
	switch {
	case live == nil:
		return Created, nil
	case live.GetResourceVersion() == applied.GetResourceVersion():
		return Unchanged, nil
	}
	return Configured, nil
}

// isSo says that the live object has everything that is wanted, in the form wanted or in
// the one the server gave it when we applied it.
func (c *Cluster) isSo(ref ObjectRef, live, wanted *unstructured.Unstructured) bool {
	labels := wanted.GetLabels()
	delete(labels, oam.LabelRevision)
	wanted = wanted.DeepCopy()
	wanted.SetLabels(labels)
	if contains(live.Object, wanted.Object) {
		return true
	}
	c.live.freshMu.Lock()
	defer c.live.freshMu.Unlock()
	form, known := c.live.forms[ref.key()]
	return known && form == fingerprint(projection(live.Object, withoutRevision(wanted)))
}

func withoutRevision(o *unstructured.Unstructured) map[string]any {
	out := o.DeepCopy()
	labels := out.GetLabels()
	delete(labels, oam.LabelRevision)
	out.SetLabels(labels)
	return out.Object
}

func (l *liveCache) rememberForm(ref ObjectRef, applied, wanted *unstructured.Unstructured) {
	form := fingerprint(projection(applied.Object, withoutRevision(wanted)))
	l.freshMu.Lock()
	defer l.freshMu.Unlock()
	l.forms[ref.key()] = form
}

// mayWrite refuses objects of others. What our watch does not know may still exist
// without our label, so an object's first apply asks for it.
func (c *Cluster) mayWrite(ctx context.Context, client dynamic.ResourceInterface, owner Owner, ref ObjectRef,
	live *unstructured.Unstructured, opts ApplyOptions,
) (*unstructured.Unstructured, error) {
	if live == nil {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		found, err := client.Get(ctx, ref.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, classify(ref, "reading", err)
		}
		live = found
	}
	other, owned := ownerOf(live)
	switch {
	case owned && !other.same(owner):
		return live, &Error{Reason: ReasonConflictingOwner, Err: fmt.Errorf("%s is managed by another Application, %s", ref, other),
			Advice: "remove it from one of the two"}
	case !owned && !opts.Adopt:
		return live, &Error{Reason: ReasonConflictingOwner, Err: fmt.Errorf("%s exists but is not managed by any Application", ref),
			Advice: "delete it, or rename the component"}
	}
	return live, nil
}

// write sends one server-side apply. Fields that a person or an earlier deployer set are
// taken back; fields of a controller are a conflict that names it.
func (c *Cluster) write(ctx context.Context, client dynamic.ResourceInterface, ref ObjectRef, wanted *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(wanted.Object)
	if err != nil {
		return nil, classify(ref, "encoding", err)
	}
	force := wanted.GetAnnotations()["tradewind.dev/force"] == "enabled" || wanted.GetAnnotations()["kustomize.toolkit.fluxcd.io/force"] == "enabled"
	send := func(force bool) (*unstructured.Unstructured, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return client.Patch(ctx, ref.Name, types.ApplyPatchType, body,
			metav1.PatchOptions{FieldManager: FieldOwner, Force: &force, FieldValidation: metav1.FieldValidationStrict})
	}
	applied, err := send(force)
	if causes := conflicts(err); len(causes) > 0 {
		for _, cause := range causes {
			if manager := managerOf(cause); !yields(manager) {
				c.metrics.conflicts.Inc()
				return nil, &Error{Reason: ReasonFailedApply, Err: fmt.Errorf("applying %s: field %s is owned by %q", ref, cause.Field, manager),
					Advice: "leave the field out of the manifest, or annotate the object with tradewind.dev/force: enabled"}
			}
		}
		applied, err = send(true)
	}
	if err != nil {
		return nil, classify(ref, "applying", err)
	}
	return applied, nil
}

// established waits until the API server serves a new kind.
func (c *Cluster) established(ctx context.Context, client dynamic.ResourceInterface, ref ObjectRef) error {
	ctx, cancel := context.WithTimeout(ctx, establishing)
	defer cancel()
	for {
		crd, err := client.Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return classify(ref, "waiting for", err)
		}
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, condition := range conditions {
			if m, ok := condition.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
				c.live.wrote(crd)
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return &Error{Reason: ReasonFailedApply, Retryable: true, Err: fmt.Errorf("%s was not established within %s", ref, establishing)}
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stages groups items by what must be there before what.
func stages(items []Item) [][]Item {
	var out [3][]Item
	for _, item := range items {
		n := stageOf(RefOf(item.Object))
		out[n] = append(out[n], item)
	}
	return out[:]
}

func stageOf(ref ObjectRef) int {
	switch ref.Kind {
	case "CustomResourceDefinition", "Namespace", "ClusterRole":
		return 0
	case "StorageClass", "IngressClass", "PriorityClass", "RuntimeClass", "GatewayClass", "ServiceAccount", "Role", "ClusterRoleBinding", "RoleBinding":
		return 1
	}
	return 2
}

// stageMatters says that going on makes no sense: what failed is what the next stages
// stand on.
func stageMatters(changes ChangeSet) bool {
	for _, ch := range changes {
		if ch.Err != nil && stageOf(ch.Ref) == 0 {
			return true
		}
	}
	return false
}

// mode reads the annotations that take an object out of our hands, ours and Flux's.
func mode(wanted, live *unstructured.Unstructured) string {
	const flux = "kustomize.toolkit.fluxcd.io/"
	annotations := wanted.GetAnnotations()
	if annotations["tradewind.dev/reconcile"] == "disabled" || annotations[flux+"reconcile"] == "disabled" {
		return "disabled"
	}
	if live != nil && (live.GetAnnotations()["tradewind.dev/reconcile"] == "disabled" || live.GetAnnotations()[flux+"reconcile"] == "disabled") {
		return "disabled"
	}
	switch {
	case annotations["tradewind.dev/apply"] != "":
		return annotations["tradewind.dev/apply"]
	case annotations[flux+"ssa"] == "IfNotPresent":
		return "if-absent"
	case annotations[flux+"ssa"] == "Ignore":
		return "ignore"
	}
	return ""
}

// IsRetryable says that time may mend the error.
func IsRetryable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Retryable
}
