package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The prune budget: more than this many objects and more than this share of the
// inventory at once is held until somebody approves it.
const (
	budgetObjects = 10
	budgetPercent = 30
)

// PruneOptions tune one prune.
type PruneOptions struct {
	// Check is called before each batch of deletes; an error stops the prune.
	Check func(context.Context) error
	// Approved lifts the budget.
	Approved bool
	// Keep says which entries stay although they are not wanted (prune: false).
	Keep func(Entry) bool
}

// Prune deletes what the inventory holds and wanted does not. The caller has read its
// sources completely and applied everything; with nothing wanted it refuses, because
// emptiness is more often a mistake than a wish.
func (c *Cluster) Prune(ctx context.Context, inv *Inventory, wanted []Item, opts PruneOptions) (ChangeSet, error) {
	keep := map[ObjectRef]bool{}
	for _, item := range wanted {
		keep[RefOf(item.Object).key()] = true
	}
	var gone []Entry
	for _, e := range inv.Entries {
		if !keep[e.ref().key()] && (opts.Keep == nil || !opts.Keep(e)) {
			gone = append(gone, e)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	if len(wanted) == 0 {
		return nil, &Error{Reason: ReasonFailedPrune, Err: errors.New("nothing is wanted any more; to delete everything, delete the Application")}
	}
	if len(gone) > budgetObjects && len(gone)*100 > budgetPercent*len(inv.Entries) && !opts.Approved {
		c.metrics.held.Inc()
		return nil, &Error{
			Reason: ReasonPruneHeld,
			Err:    fmt.Errorf("%d of %d objects would be deleted (%s, …): held until approved", len(gone), len(inv.Entries), gone[0].ref()),
			Advice: "annotate the Application with tradewind.dev/prune: approved, or bring the files back",
		}
	}
	return c.remove(ctx, inv, gone, opts.Check, needsAllowance)
}

// DeleteAll deletes everything an Application owns, because the Application itself is
// being deleted.
func (c *Cluster) DeleteAll(ctx context.Context, inv *Inventory, check func(context.Context) error) (ChangeSet, error) {
	return c.remove(ctx, inv, slices.Clone(inv.Entries), check, holdsData)
}

// remove deletes entries, what others stand on last, and shrinks the inventory by what
// is confirmed.
func (c *Cluster) remove(ctx context.Context, inv *Inventory, entries []Entry, check func(context.Context) error, guarded func(string) bool) (ChangeSet, error) {
	begun := time.Now()
	slices.SortStableFunc(entries, func(a, b Entry) int { return stageOf(b.ref()) - stageOf(a.ref()) })
	gone := map[ObjectRef]bool{}
	var out ChangeSet
	for i, e := range entries {
		if i%batchSize == 0 && check != nil {
			if err := check(ctx); err != nil {
				return out, err
			}
		}
		action, err := c.removeOne(ctx, inv.Owner, e.ref(), guarded)
		out = append(out, Change{Ref: e.ref(), Action: action, Err: err})
		if err == nil {
			gone[e.ref().key()] = true
		}
	}
	c.metrics.observe(out, time.Since(begun))
	return out, inv.drop(ctx, gone)
}

// removeOne deletes an object if the cluster agrees that it is the owner's. Otherwise it
// is only forgotten.
func (c *Cluster) removeOne(ctx context.Context, owner Owner, ref ObjectRef, guarded func(string) bool) (Action, error) {
	client, err := c.resource(ref.gvk(), ref.Namespace)
	if meta.IsNoMatchError(err) {
		return Skipped, nil // its kind is gone, and so is it
	}
	if err != nil {
		return Failed, classify(ref, "deleting", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := client.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Skipped, nil
	}
	if err != nil {
		return Failed, classify(ref, "reading", err)
	}
	if other, owned := ownerOf(live); !owned || !other.same(owner) {
		return Skipped, nil // handed over to another Application, or taken out of ours by hand
	}
	if protected(live, guarded) {
		return Skipped, nil
	}
	background, uid := metav1.DeletePropagationBackground, live.GetUID()
	err = client.Delete(ctx, ref.Name, metav1.DeleteOptions{PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return Failed, classify(ref, "deleting", err)
	}
	return Deleted, nil
}

func protected(live *unstructured.Unstructured, guarded func(kind string) bool) bool {
	annotations := live.GetAnnotations()
	choice := strings.ToLower(annotations["tradewind.dev/prune"] + annotations["kustomize.toolkit.fluxcd.io/prune"])
	return choice == "disabled" || guarded(live.GetKind()) && choice != "allowed"
}

// needsAllowance lists the kinds whose deletion takes other people's objects or data
// with it: leaving Git is not enough to delete them.
func needsAllowance(kind string) bool { return holdsData(kind) || kind == "StatefulSet" }

// holdsData lists the kinds that outlive even their Application.
func holdsData(kind string) bool {
	return kind == "Namespace" || kind == "CustomResourceDefinition" || kind == "PersistentVolumeClaim"
}
