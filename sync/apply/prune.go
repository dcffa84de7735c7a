package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	// AllowEmpty permits to delete everything that is left when nothing is wanted.
	AllowEmpty bool
	// Fate says what becomes of an entry that is not wanted, by its live object; nil
	// deletes them all.
	Fate func(Entry, *unstructured.Unstructured) Fate
}

// Fate is what becomes of an object that is not wanted any more. The zero value: it is
// deleted, and what depends on it.
type Fate struct {
	Keep   bool // it stays
	Orphan bool // what depends on it stays
	// Rank orders deletions: one is begun when all of a higher rank are gone.
	Rank int
}

// Prune deletes what the inventory holds and wanted does not. The caller has read its
// sources completely and applied everything; with nothing wanted it refuses, because
// emptiness is more often a mistake than a wish.
func (c *Cluster) Prune(ctx context.Context, inv *Inventory, wanted []Item, opts PruneOptions) (ChangeSet, error) {
	keep := map[ObjectRef]bool{}
	for _, item := range wanted {
		keep[inv.key(RefOf(item.Object))] = true
	}
	var unwanted []Entry
	for _, e := range inv.Entries {
		if !keep[inv.key(e.Ref())] {
			unwanted = append(unwanted, e)
		}
	}
	if len(unwanted) == 0 {
		return nil, nil
	}
	r := &removal{cluster: c, inv: inv, check: opts.Check, fate: opts.Fate, guarded: needsAllowance}
	r.look(ctx, unwanted)
	var doomed []ObjectRef
	for _, v := range r.victims {
		if v.live != nil && v.action == "" && len(v.left) == 0 {
			doomed = append(doomed, v.ref)
		}
	}
	if len(doomed) > 0 && len(wanted) == 0 && !opts.AllowEmpty {
		return nil, &Error{Reason: ReasonFailedPrune, Objects: doomed, Err: errors.New("nothing is wanted any more, so nothing was pruned"),
			Advice: "to delete everything, delete the Application"}
	}
	if len(doomed) > budgetObjects && len(doomed)*100 > budgetPercent*len(inv.Entries) && !opts.Approved {
		c.metrics.held.Inc()
		return nil, &Error{
			Reason: ReasonPruneHeld, Objects: doomed,
			Err:    fmt.Errorf("%d of %d objects would be deleted, held until approved: %s", len(doomed), len(inv.Entries), names(doomed)),
			Advice: "bring the files back, or annotate the Application with " + annotationPrune + ": approved",
		}
	}
	return r.run(ctx)
}

// names lists the first few.
func names(refs []ObjectRef) string {
	const most = 10
	parts := make([]string, 0, most+1)
	for i, ref := range refs {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(refs)-most))
			break
		}
		parts = append(parts, ref.String())
	}
	return strings.Join(parts, ", ")
}

// DeleteAll deletes everything an Application owns, because the Application itself is
// being deleted, and then the inventory. Until all is gone it returns an error with
// [ReasonWaiting]. What must outlive the Application stays and is forgotten. Of the
// options, Check and Fate count.
func (c *Cluster) DeleteAll(ctx context.Context, inv *Inventory, opts PruneOptions) (ChangeSet, error) {
	r := &removal{cluster: c, inv: inv, check: opts.Check, fate: opts.Fate, guarded: holdsData, release: true}
	r.look(ctx, inv.Entries)
	changes, err := r.run(ctx)
	if err != nil || changes.Err() != nil {
		return changes, err
	}
	if left := inv.Entries; len(left) > 0 {
		refs := make([]ObjectRef, 0, len(left))
		for _, e := range left {
			refs = append(refs, e.Ref())
		}
		return changes, &Error{Reason: ReasonWaiting, Objects: refs, Retryable: true, Err: fmt.Errorf("waiting until these are gone: %s", names(refs)),
			Advice: "an object that stays has a finalizer that nobody removes"}
	}
	return changes, nil
}

// Prunes says that a live object which nobody wants any more would be deleted: nothing on
// it, nor its kind, asks for more than leaving Git.
func Prunes(live *unstructured.Unstructured) bool { return !protected(live, needsAllowance) }
