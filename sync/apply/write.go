package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/desired"
)

// write sends one object: one request, unless somebody else is in the way.
func (c *Cluster) write(ctx context.Context, t *task) (Action, error) {
	client, err := c.resource(ctx, t.ref)
	if err != nil {
		return Failed, classify(t.ref, "applying", err)
	}
	t.kind.Writing(t.ref.Namespace, t.ref.Name)
	applied, action, err := c.send(ctx, client, t)
	if err != nil {
		t.kind.Stopped(t.ref.Namespace, t.ref.Name)
		return Failed, err
	}
	if applied == nil {
		t.kind.Stopped(t.ref.Namespace, t.ref.Name)
		return action, nil
	}
	t.kind.remember(t.want, t.kind.Wrote(applied))
	return action, nil
}

// remember keeps the form that the server gave an object, if it is not the one wanted.
func (k *liveKind) remember(want *desired.Object, applied *unstructured.Unstructured) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := formKey(applied)
	if left := k.left[key]; len(left) > 0 {
		if less, ok := want.Without(left...); ok {
			want = less
		}
	}
	if want.IsIn(applied) {
		delete(k.forms, key)
	} else {
		k.forms[key] = want.Form(applied)
	}
}

// send applies, taking care of whose the object is. It returns no object when there was
// nothing to send.
func (c *Cluster) send(ctx context.Context, client dynamic.ResourceInterface, t *task) (*unstructured.Unstructured, Action, error) {
	if t.live == nil {
		applied, err := c.create(ctx, client, t)
		if err != nil || applied != nil {
			return c.created(ctx, client, t, applied, err)
		}
		if t.mode == modeIfAbsent {
			return nil, Skipped, nil
		}
	}
	if err := c.mayWrite(t); err != nil {
		return nil, Failed, err
	}
	if t.item.Shared {
		if err := c.join(ctx, client, t); err != nil {
			return nil, Failed, err
		}
		if !t.sends() {
			return t.live, Configured, nil
		}
	}
	applied, err := c.update(ctx, client, t)
	switch {
	case err != nil:
		return nil, Failed, err
	case applied.GetUID() != t.live.GetUID():
		return applied, Created, nil
	case sameContent(withoutStatus(t.live), withoutStatus(applied)):
		return applied, Unchanged, nil // its version may have moved with its status
	}
	return applied, Configured, nil
}

// created names the Application on a shared object that it has just made.
func (c *Cluster) created(ctx context.Context, client dynamic.ResourceInterface, t *task, applied *unstructured.Unstructured, err error) (*unstructured.Unstructured, Action, error) {
	if err != nil || !t.item.Shared {
		return applied, Created, err
	}
	t.live = applied
	if err := c.join(ctx, client, t); err != nil {
		return nil, Failed, err
	}
	return t.live, Created, nil
}

func withoutStatus(o *unstructured.Unstructured) *unstructured.Unstructured {
	body := maps.Clone(o.Object)
	delete(body, "status")
	return &unstructured.Unstructured{Object: body}
}

// create applies an object that must not exist. If it does, it is read instead and
// nothing is returned: our watch does not see what does not carry our label.
func (c *Cluster) create(ctx context.Context, client dynamic.ResourceInterface, t *task) (*unstructured.Unstructured, error) {
	body, err := t.want.BodyIfAbsent()
	if err != nil {
		return nil, classify(t.ref, "encoding", err)
	}
	applied, err := patch(ctx, client, t.ref, body, false)
	if err == nil || !apierrors.IsConflict(err) {
		return applied, classifyIf(t.ref, "applying", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if t.live, err = client.Get(ctx, t.ref.Name, getOptions); err != nil {
		e := classify(t.ref, "reading", err)
		if known, ok := errors.AsType[*Error](e); ok && apierrors.IsNotFound(err) {
			known.Retryable = true // was there a moment ago
		}
		return nil, e
	}
	return nil, nil
}

func classifyIf(ref ObjectRef, verb string, err error) error {
	if err == nil {
		return nil
	}
	return classify(ref, verb, err)
}

// maxObject bounds what is sent; etcd takes no more than 1.5 MiB.
const maxObject = 1 << 20

func patch(ctx context.Context, client dynamic.ResourceInterface, ref ObjectRef, body []byte, force bool) (*unstructured.Unstructured, error) {
	if len(body) > maxObject {
		return nil, &Error{Reason: ReasonFailedApply, Ref: ref, Err: fmt.Errorf("applying %s: it takes %d KiB, at most %d KiB", ref, len(body)>>10, maxObject>>10)}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return client.Patch(ctx, ref.Name, types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: FieldOwner, Force: &force, FieldValidation: metav1.FieldValidationStrict})
}

// mayWrite refuses objects of others.
func (c *Cluster) mayWrite(t *task) error {
	if t.live.GetDeletionTimestamp() != nil {
		return &Error{Reason: ReasonFailedApply, Ref: t.ref, Retryable: true, Err: fmt.Errorf("applying %s: the one that is there is being deleted", t.ref),
			Advice: "if it stays, look at its finalizers"}
	}
	other, owned := ownerOf(t.live)
	switch {
	case owned && other.same(t.owner), !owned && (t.opts.Adopt || t.item.TakeOver):
		return nil
	case t.item.Shared && len(sharersOf(t.live)) > 0:
		return nil
	case !owned:
		return &Error{Reason: ReasonConflictingOwner, Ref: t.ref, Err: fmt.Errorf("%s exists but not managed by any application now", t.ref),
			Advice: "delete it, rename the component, or take it over with a policy of type take-over"}
	case c.released(t.ref, other):
		return nil
	}
	return &Error{Reason: ReasonConflictingOwner, Ref: t.ref, Err: fmt.Errorf("%s is managed by other application %s", t.ref, other),
		Advice: "remove it from one of the two, or let both share it with a policy of type shared-resource in each"}
}

// released says that the Application whose mark an object carries does not want it any
// more: it is gone, or has let go of it.
func (c *Cluster) released(ref ObjectRef, owner Owner) bool {
	if !c.applications.watch.Synced() || !c.trackers.watch.Synced() {
		return false
	}
	if _, exists := c.applications.watch.Get(owner.Namespace, owner.Name); !exists {
		return true
	}
	stored, _ := c.trackers.find(owner)
	if stored == nil || stored.err != nil {
		return false // never heard of: of another controller, perhaps
	}
	for _, e := range stored.entries {
		if c.canonical(e.Ref()).key() == ref.key() {
			return false
		}
	}
	return true
}

// update sends one server-side apply. Fields that a person or an earlier deployer set are
// taken back; fields of a controller are a conflict that names it.
func (c *Cluster) update(ctx context.Context, client dynamic.ResourceInterface, t *task) (*unstructured.Unstructured, error) {
	if again, err := t.mustRecreate(); err != nil {
		return nil, err
	} else if again {
		return c.recreate(ctx, client, t)
	}
	if t.item.Replace {
		return c.replace(ctx, client, t)
	}
	force := forced(t.item.Object)
	want := t.want
	if t.mode == modeMerge {
		t.kind.mu.Lock()
		left := t.kind.left[formKey(t.live)]
		t.kind.mu.Unlock()
		if less, ok := want.Without(left...); ok {
			want = less
		}
	}
	for tries := 0; ; tries++ {
		body, err := want.Body()
		if err != nil {
			return nil, classify(t.ref, "encoding", err)
		}
		applied, err := patch(ctx, client, t.ref, body, force)
		found := conflicts(err)
		switch {
		case err == nil:
			return applied, nil
		case isImmutable(err) && forced(t.item.Object):
			return c.recreate(ctx, client, t)
		case len(found) == 0 || tries > 1:
			return nil, classify(t.ref, "applying", err)
		case t.mode == modeMerge:
			if want = t.leave(found); want == nil {
				return nil, classify(t.ref, "applying", err)
			}
			continue
		}
		if err := conflictError(t.ref, found); err != nil {
			c.metrics.conflicts.Inc()
			return nil, err
		}
		force = true
	}
}

// leave gives fields up to who owns them, and remembers it.
func (t *task) leave(found []conflict) *desired.Object {
	k, key := t.kind, formKey(t.live)
	k.mu.Lock()
	defer k.mu.Unlock()
	left := k.left[key]
	for _, f := range found {
		left = append(left, f.field)
	}
	less, ok := t.want.Without(left...)
	if !ok {
		return nil
	}
	k.left[key] = left
	return less
}

// recreate deletes an object whose fields cannot be changed, and creates it anew.
func (c *Cluster) recreate(ctx context.Context, client dynamic.ResourceInterface, t *task) (*unstructured.Unstructured, error) {
	if protected(t.live, holdsData) {
		return nil, &Error{Reason: ReasonFailedApply, Ref: t.ref, Err: fmt.Errorf("applying %s: a field cannot be changed, and deleting it would delete data", t.ref),
			Advice: "annotate it with " + annotationPrune + ": allowed if that is meant"}
	}
	if err := deleteObject(ctx, client, t.live, metav1.DeletePropagationBackground); err != nil {
		return nil, classify(t.ref, "deleting", err)
	}
	body, err := t.want.BodyIfAbsent()
	if err != nil {
		return nil, classify(t.ref, "encoding", err)
	}
	applied, err := patch(ctx, client, t.ref, body, false)
	if err != nil { // most often a conflict with the old one, which is still going
		return nil, classify(t.ref, "creating anew", err)
	}
	return applied, nil
}

// deleteObject deletes the very object that was looked at; propagation says what becomes
// of what depends on it.
func deleteObject(ctx context.Context, client dynamic.ResourceInterface, live *unstructured.Unstructured, propagation metav1.DeletionPropagation) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	uid, version := live.GetUID(), live.GetResourceVersion()
	err := client.Delete(ctx, live.GetName(), metav1.DeleteOptions{
		PropagationPolicy: &propagation, Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
