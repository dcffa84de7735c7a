package apply

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// removal deletes entries of an inventory, what others stand on last.
type removal struct {
	cluster *Cluster
	inv     *Inventory
	check   func(context.Context) error
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
	slices.SortStableFunc(r.victims, func(a, b *victim) int { return stageOf(b.ref) - stageOf(a.ref) })
}

// judge deletes an object only if the cluster agrees that it is the owner's.
func (r *removal) judge(v *victim) {
	if v.live == nil {
		v.action, v.gone = Skipped, true
		return
	}
	owner, owned := ownerOf(v.live)
	heir, claimed := r.cluster.trackers.claims(v.ref, r.inv.Owner, r.inv.key)
	switch {
	case !owned || !owner.same(r.inv.Owner): // somebody took it, or took our mark off
		v.action, v.gone = Skipped, true
	case claimed: // it moved to another Application, which takes it over as it is
		v.action, v.gone, v.heir = Skipped, true, heir
	case protected(v.live, r.guarded):
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
		var todo []*victim
		for _, v := range r.victims {
			if v.action == "" && stageOf(v.ref) == stage {
				todo = append(todo, v)
			}
		}
		err = r.deleteAll(ctx, todo)
		if slices.ContainsFunc(r.victims, func(v *victim) bool { return stageOf(v.ref) == stage && !v.gone && !r.stays(v) }) {
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
		if gone && watched {
			v.kind.Deleted(v.live)
		} else {
			v.kind.Stopped(v.ref.Namespace, v.ref.Name)
		}
	}()
	err = deleteObject(ctx, client, v.live)
	if apierrors.IsConflict(err) { // it changed since we saw it: look again, once
		if v.live, err = r.cluster.Read(ctx, v.ref); err != nil {
			return resultOf(err, v.ref)
		}
		if r.judge(v); v.action != "" {
			return v.action, v.gone, nil
		}
		err = deleteObject(ctx, client, v.live)
	}
	if err != nil {
		return resultOf(err, v.ref)
	}
	if len(v.live.GetFinalizers()) > 0 || v.live.GetKind() == "Namespace" || v.live.GetKind() == "Pod" {
		return Deleted, false, nil // the watch tells when
	}
	return Deleted, r.confirm(ctx, v, watched), nil
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
