package apply

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// removal deletes entries of an inventory, what others stand on last.
type removal struct {
	cluster *Cluster
	inv     *Inventory
	check   func(context.Context) error
	fate    func(Entry, *unstructured.Unstructured) Fate // nil: delete
	guarded func(ObjectRef) bool
	release bool // forget what may not be deleted
	victims []*victim
}

// victim is an entry and what is to become of its object.
type victim struct {
	entry  Entry
	ref    ObjectRef
	live   *unstructured.Unstructured
	kind   *liveKind // nil when there is no watch
	action Action    // decided; empty means: delete
	gone   bool      // leaves the inventory
	err    error
	heir   Owner // gets the object
	fate   Fate
	left   []string // who goes on sharing it; not empty: only our name is taken off
}

// look finds out, mostly from the watches, what is to become of each entry.
func (r *removal) look(ctx context.Context, entries []Entry) {
	for _, e := range entries {
		v := &victim{entry: e, ref: r.cluster.canonical(e.Ref())}
		r.victims = append(r.victims, v)
		if v.live, v.kind, v.err = r.cluster.find(ctx, v.ref); v.err != nil {
			v.action = Failed
			continue
		}
		r.judge(v)
	}
	slices.SortStableFunc(r.victims, func(a, b *victim) int {
		return cmp.Or(stageOf(b.ref)-stageOf(a.ref), b.fate.Rank-a.fate.Rank)
	})
}

// judge deletes an object only if the cluster agrees that it is the owner's.
func (r *removal) judge(v *victim) {
	if v.live == nil {
		v.action, v.gone = Skipped, true
		return
	}
	if r.fate != nil {
		v.fate = r.fate(v.entry, v.live)
	}
	left, shared := sharersWithout(v.live, r.inv.Owner)
	if v.left = left; shared && len(left) > 0 && !v.fate.Keep {
		v.heir = sharer(left[0])
		return
	}
	v.left = nil
	owner, owned := ownerOf(v.live)
	if shared { // the last of several
		owner, owned = r.inv.Owner, true
	}
	heir, claimed := r.cluster.trackers.claims(v.ref, r.inv.Owner, r.inv.key)
	switch {
	case !owned || !owner.same(r.inv.Owner): // somebody took it, or took our mark off
		v.action, v.gone = Skipped, true
	case claimed: // it moved to another Application, which takes it over as it is
		v.action, v.gone, v.heir = Skipped, true, heir
	case v.fate.Keep, protected(v.live, r.guarded):
		v.action, v.gone = Skipped, r.release
	case v.live.GetDeletionTimestamp() != nil:
		v.action = Skipped
	}
}

// find returns the live object, whether it carries our label or not; nil when it is not
// there, or its kind is not.
func (c *Cluster) find(ctx context.Context, ref ObjectRef) (*unstructured.Unstructured, *liveKind, error) {
	kind, err := c.live.kind(ctx, ref.gvk())
	if meta.IsNoMatchError(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, classify(ref, "looking for", err)
	}
	if live, ok := kind.Get(ref.Namespace, ref.Name); ok {
		return live, kind, nil
	}
	live, err := c.Read(ctx, ref)
	switch {
	case apierrors.IsNotFound(err):
		return nil, kind, nil
	case err != nil:
		return nil, nil, err
	}
	return live, kind, nil
}

// run deletes stage by stage and shrinks the inventory by what is confirmed.
func (r *removal) run(ctx context.Context) (out ChangeSet, err error) {
	begun := time.Now()
	defer func() { r.cluster.metrics.observe(out, time.Since(begun)) }()
	for stage := lastStage; stage >= firstStage && err == nil; stage-- {
		var done bool
		if done, err = r.runStage(ctx, stage); !done {
			break // what is below may still be needed
		}
	}
	gone := map[ObjectRef]bool{}
	for _, v := range r.victims {
		if v.action == "" {
			v.action = Skipped
		}
		out = append(out, Change{Ref: v.ref, Action: v.action, Err: v.err})
		if v.gone {
			gone[r.inv.key(v.ref)] = true
		}
	}
	if dropErr := r.inv.drop(ctx, gone); err == nil {
		err = dropErr
	}
	for _, v := range r.victims {
		if v.heir != (Owner{}) && err == nil {
			r.cluster.live.tell(v.heir, v.ref, false)
		}
	}
	return out, err
}

// runStage deletes the victims of a stage, those of a higher rank first, and says whether
// all of them are gone.
func (r *removal) runStage(ctx context.Context, stage int) (done bool, err error) {
	all := slices.DeleteFunc(slices.Clone(r.victims), func(v *victim) bool { return stageOf(v.ref) != stage })
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(v *victim) bool { return v.fate.Rank != all[0].fate.Rank })
		if n < 0 {
			n = len(all)
		}
		todo := slices.DeleteFunc(slices.Clone(all[:n]), func(v *victim) bool { return v.action != "" })
		if err := r.deleteAll(ctx, todo); err != nil {
			return false, err
		}
		if slices.ContainsFunc(all[:n], func(v *victim) bool { return !v.gone && !r.stays(v) }) {
			return false, nil
		}
		all = all[n:]
	}
	return true, nil
}

// stays says that an object is there on purpose.
func (r *removal) stays(v *victim) bool {
	return v.action == Skipped && v.live != nil && v.live.GetDeletionTimestamp() == nil
}

func (r *removal) deleteAll(ctx context.Context, todo []*victim) error {
	for from := 0; from < len(todo); from += batchSize {
		if r.check != nil {
			if err := r.check(ctx); err != nil {
				return err
			}
		}
		var group errgroup.Group
		group.SetLimit(inParallel)
		for _, v := range todo[from:min(from+batchSize, len(todo))] {
			group.Go(func() error {
				v.action, v.gone, v.err = r.delete(ctx, v)
				return nil
			})
		}
		_ = group.Wait() // errors are in the receipt
	}
	return nil
}

// confirming is how long an object without a finalizer may take to go.
const confirming = 2 * time.Second

// delete deletes one object; gone says that it is confirmed.
func (r *removal) delete(ctx context.Context, v *victim) (action Action, gone bool, err error) {
	client, err := r.cluster.resource(ctx, v.ref)
	if err != nil {
		return Failed, false, classify(v.ref, "deleting", err)
	}
	_, watched := v.kind.Get(v.ref.Namespace, v.ref.Name)
	v.kind.Writing(v.ref.Namespace, v.ref.Name)
	defer func() {
		if gone && watched && len(v.left) == 0 {
			v.kind.Deleted(v.live)
		} else {
			v.kind.Stopped(v.ref.Namespace, v.ref.Name)
		}
	}()
	err = r.send(ctx, client, v)
	if apierrors.IsConflict(err) { // it changed since we saw it: look again, once
		if v.live, err = r.cluster.Read(ctx, v.ref); err != nil {
			return resultOf(err, v.ref)
		}
		if r.judge(v); v.action != "" {
			return v.action, v.gone, nil
		}
		err = r.send(ctx, client, v)
	}
	if err != nil {
		return resultOf(err, v.ref)
	}
	if len(v.left) > 0 {
		return Skipped, true, nil
	}
	if len(v.live.GetFinalizers()) > 0 || v.fate.Orphan || v.live.GetKind() == "Namespace" || v.live.GetKind() == "Pod" {
		return Deleted, false, nil // the watch tells when
	}
	return Deleted, r.confirm(ctx, v, watched), nil
}

// send takes our name off a shared object, or deletes it.
func (r *removal) send(ctx context.Context, client dynamic.ResourceInterface, v *victim) error {
	if len(v.left) > 0 {
		_, err := setSharers(ctx, client, v.live, v.left)
		return err
	}
	propagation := metav1.DeletePropagationBackground
	if v.fate.Orphan {
		propagation = metav1.DeletePropagationOrphan
	}
	return deleteObject(ctx, client, v.live, propagation)
}

func resultOf(err error, ref ObjectRef) (Action, bool, error) {
	if apierrors.IsNotFound(err) {
		return Deleted, true, nil
	}
	return Failed, false, classify(ref, "deleting", err)
}

// confirm waits for the watch to see the object go; one that the watch never saw is asked
// for.
func (r *removal) confirm(ctx context.Context, v *victim, watched bool) bool {
	if !watched {
		_, err := r.cluster.Read(ctx, v.ref)
		return apierrors.IsNotFound(err)
	}
	ctx, cancel := context.WithTimeout(ctx, confirming)
	defer cancel()
	err := v.kind.Await(ctx, v.ref.Namespace, v.ref.Name, func(o *unstructured.Unstructured, ok bool) bool {
		return !ok || o.GetUID() != v.live.GetUID()
	})
	return err == nil
}
