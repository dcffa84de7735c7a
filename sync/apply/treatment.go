package apply

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// everything stands for the whole object among the fields that are kept.
const everything = "*"

// known says which of the items were in the inventory before.
func (inv *Inventory) known(items []Item) map[ObjectRef]bool {
	out := map[ObjectRef]bool{}
	if !slices.ContainsFunc(items, func(i Item) bool { return i.Once }) {
		return out // nobody asks
	}
	for _, e := range inv.Entries {
		out[inv.key(e.Ref())] = true
	}
	return out
}

// mustExist looks for an object that only others write.
func (c *Cluster) mustExist(ctx context.Context, t *task) (Action, error) {
	live, _, err := c.find(ctx, t.ref)
	switch {
	case err != nil:
		return Failed, err
	case live == nil:
		return Failed, &Error{Reason: ReasonFailedApply, Ref: t.ref, Retryable: true, Err: fmt.Errorf("%s does not exist, and a read-only policy forbids to create it", t.ref),
			Advice: "create it by other means, or take it out of the read-only policy"}
	}
	return Unchanged, nil
}

// modeOf is how the object is applied by its annotations and by policy.
func (t *task) modeOf() mode {
	m := modeOf(t.item.Object, t.live)
	if m == modeUsual && slices.Contains(t.item.Kept, everything) {
		return modeIfAbsent
	}
	return m
}

// keepLive puts the live values of the fields that are kept into what is wanted. Its
// hash stays: it is of what was rendered.
func (t *task) keepLive() error {
	for _, field := range t.item.Kept {
		if field == everything || t.live == nil {
			continue
		}
		path, err := oam.ParsePath(field)
		if err != nil {
			return &Error{Reason: ReasonFailedApply, Ref: t.ref, Err: fmt.Errorf("applying %s: kept field: %w", t.ref, err)}
		}
		t.want = t.want.Keeping(path, t.live)
	}
	return nil
}

// lets says that an object is let be: as it is after it was applied once, or because
// another of the Applications that share it writes it.
func (t *task) lets() bool {
	if t.item.Once && t.known && (t.live == nil || t.live.GetLabels()[oam.LabelRenderHash] == t.want.Hash) {
		return true
	}
	if !t.item.Shared || t.live == nil {
		return false
	}
	sharers := sharersOf(t.live)
	return len(sharers) > 0 && sharers[0] != t.owner.String() && slices.Contains(sharers, t.owner.String())
}

// joins says that the Application is not yet named among those that share the object.
func (t *task) joins() bool {
	return t.item.Shared && !slices.Contains(sharersOf(t.live), t.owner.String())
}

// mustRecreate says that a field changed whose change needs another object.
func (t *task) mustRecreate() (bool, error) {
	for _, field := range t.item.Recreate {
		path, err := oam.ParsePath(field)
		if err != nil {
			return false, &Error{Reason: ReasonFailedApply, Ref: t.ref, Err: fmt.Errorf("applying %s: recreateFields: %w", t.ref, err)}
		}
		if t.want.Differs(path, t.live) {
			return true, nil
		}
	}
	return false, nil
}

// replace writes the object as a whole.
func (c *Cluster) replace(ctx context.Context, client dynamic.ResourceInterface, t *task) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	options := metav1.UpdateOptions{FieldManager: FieldOwner, FieldValidation: metav1.FieldValidationStrict}
	applied, err := client.Update(ctx, t.want.Replacing(t.live), options)
	return applied, classifyIf(t.ref, "replacing", err)
}
