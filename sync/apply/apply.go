// Package apply makes a cluster agree with rendered objects: server-side apply of what
// differs, an inventory written before the first write, pruning only of what the
// inventory says is ours, and watches that tell when the cluster moved by itself.
//
// It is the only package that uses a Kubernetes client. What it promises: an object that
// is already so costs no request; a crash at any point leaves no object that nobody
// knows of; nothing is deleted because something could not be read. It refuses objects
// of others, and fields that a controller owns, unless the object says otherwise.
package apply

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/desired"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	inParallel = 8  // more brings nothing on the server's side
	batchSize  = 50 // writes between two checks of the lease
)

// ApplyOptions tune one apply.
type ApplyOptions struct {
	// Check is called before each batch of writes; an error stops the apply.
	Check func(context.Context) error
	// Adopt takes over objects that exist and belong to no Application, as a Git syncer
	// does; without it they are a conflict.
	Adopt bool
	// Allow, when set, decides by kind and effective namespace whether the Application
	// may have an object there; its error is the object's failure.
	Allow func(ObjectRef) error
}

func (o ApplyOptions) check(ctx context.Context) error {
	if o.Check == nil {
		return nil
	}
	return o.Check(ctx)
}

// task is one object on its way to the cluster.
type task struct {
	item  Item
	ref   ObjectRef
	kind  *liveKind
	want  *desired.Object
	live  *unstructured.Unstructured // nil when our watch does not know it
	mode  mode
	known bool // was in the inventory before
	at    int  // in the receipt
	owner Owner
	opts  ApplyOptions
}

// Apply makes the items so: definitions and namespaces first, then the rest. Objects that
// are so already cost no request. One that fails does not stop the others of its stage;
// the receipt lists every item. The error is about the apply as a whole: the lease is
// lost, or the inventory could not be written.
func (c *Cluster) Apply(ctx context.Context, inv *Inventory, items []Item, opts ApplyOptions) (out ChangeSet, err error) {
	begun := time.Now()
	defer func() { c.metrics.observe(out, time.Since(begun)) }()
	known := inv.known(items)
	if err := c.widen(ctx, inv, items, opts); err != nil {
		return nil, err
	}
	broken := false
	for n, stage := range stages(items) {
		at := len(out)
		for _, item := range stage {
			out = append(out, Change{Ref: RefOf(item.Object), Action: Skipped})
		}
		if broken {
			continue // it would stand on what failed
		}
		var todo []*task
		for i, item := range stage {
			t := &task{item: item, ref: c.canonical(RefOf(item.Object)), at: at + i, owner: inv.Owner, opts: opts}
			t.known = known[t.ref.key()]
			action, err := c.look(ctx, t)
			if action == Configured {
				todo = append(todo, t) // until it is written, it was skipped
			} else {
				out[t.at].Action, out[t.at].Err = action, err
			}
		}
		if err := c.applyStage(ctx, todo, out, opts); err != nil {
			return out, err
		}
		broken = n == firstStage && out.Err() != nil
	}
	return out, nil
}

// Holds says, without a request, that the watches know every item as it is wanted: an
// Apply of them would write nothing.
func (c *Cluster) Holds(ctx context.Context, owner Owner, items []Item) bool {
	for _, item := range items {
		t := &task{item: item, ref: c.canonical(RefOf(item.Object)), owner: owner}
		if item.ReadOnly {
			return false // no watch of ours knows it
		}
		if action, err := c.look(ctx, t); err != nil || action == Configured {
			return false
		}
	}
	return true
}

// widen puts the items into the inventory before anything is written; not those that the
// Application may not have, lest it claims objects of others.
func (c *Cluster) widen(ctx context.Context, inv *Inventory, items []Item, opts ApplyOptions) error {
	if opts.Allow != nil {
		items = slices.DeleteFunc(slices.Clone(items), func(item Item) bool { return opts.Allow(c.canonical(RefOf(item.Object))) != nil })
	}
	if !inv.lacks(items) {
		return nil
	}
	if err := opts.check(ctx); err != nil {
		return err
	}
	return inv.Widen(ctx, items)
}

// look says what has to be done with an object, without a request: Configured means that
// it has to be written.
func (c *Cluster) look(ctx context.Context, t *task) (Action, error) {
	if err := t.allowed(); err != nil {
		return Failed, err
	}
	var err error
	if t.kind, err = c.live.kind(ctx, t.ref.gvk()); err != nil {
		if meta.IsNoMatchError(err) {
			c.missing.add(t.ref.gvk(), t.owner)
		}
		return Failed, classify(t.ref, "applying", err)
	}
	if live, ok := t.kind.Get(t.ref.Namespace, t.ref.Name); ok {
		t.live = live
	}
	if t.item.ReadOnly {
		return c.mustExist(ctx, t)
	}
	t.mode = t.modeOf()
	if t.mode == modeIgnore || t.mode == modeIfAbsent && t.live != nil {
		return Skipped, nil
	}
	if t.ref.Namespace != t.item.Object.GetNamespace() { // rendered before its kind was known
		t.item.Object = t.item.Object.DeepCopy()
		t.item.Object.SetNamespace(t.ref.Namespace)
	}
	t.want = desired.New(t.item.Object)
	if err := t.keepLive(); err != nil {
		return Failed, err
	}
	if t.lets() {
		return Unchanged, nil
	}
	if t.live == nil || t.live.GetLabels()[oam.LabelRenderHash] != t.want.Hash || t.joins() || !t.isSo() {
		return Configured, nil
	}
	return Unchanged, nil
}

// allowed refuses what the Application may not have.
func (t *task) allowed() error {
	if t.opts.Allow == nil {
		return nil
	}
	if err := t.opts.Allow(t.ref); err != nil {
		return &Error{Reason: ReasonFailedApply, Ref: t.ref, Err: fmt.Errorf("applying %s: %w", t.ref, err)}
	}
	return nil
}

// isSo says that the live object has everything that is wanted, in the form wanted or in
// the one the server gave it when we applied it.
func (t *task) isSo() bool {
	k, key := t.kind, formKey(t.live)
	k.mu.Lock()
	form, left := k.forms[key], k.left[key]
	k.mu.Unlock()
	want := t.want
	if t.mode == modeMerge && len(left) > 0 {
		less, ok := want.Without(left...)
		if !ok {
			return false
		}
		want = less
	}
	return want.IsIn(t.live) || form != "" && form == want.Form(t.live)
}

// applyStage writes what has to be written and waits until new kinds can be used.
func (c *Cluster) applyStage(ctx context.Context, todo []*task, out ChangeSet, opts ApplyOptions) error {
	for from := 0; from < len(todo); from += batchSize {
		if err := opts.check(ctx); err != nil {
			return err
		}
		var group errgroup.Group
		group.SetLimit(inParallel)
		for _, t := range todo[from:min(from+batchSize, len(todo))] {
			group.Go(func() error {
				change := &out[t.at]
				change.Action, change.Err = c.write(ctx, t)
				change.Drift = change.Action == Configured && t.live.GetLabels()[oam.LabelRenderHash] == t.want.Hash
				return nil
			})
		}
		_ = group.Wait() // errors are in the receipt
	}
	for _, t := range todo {
		if change := &out[t.at]; t.ref.Kind == "CustomResourceDefinition" && change.Err == nil {
			change.Err = c.established(ctx, t)
		}
	}
	return nil
}

// establishing bounds how long a new kind may take until it is served.
const establishing = 10 * time.Second

// established waits until the API server serves what a CustomResourceDefinition defines.
func (c *Cluster) established(ctx context.Context, t *task) error {
	ctx, cancel := context.WithTimeout(ctx, establishing)
	defer cancel()
	late := func(why string) error {
		return &Error{Reason: ReasonFailedApply, Ref: t.ref, Retryable: true, Err: fmt.Errorf("%s is not established after %s: %s", t.ref, establishing, why)}
	}
	why := "the API server has not looked at it"
	if err := t.kind.Await(ctx, "", t.ref.Name, func(o *unstructured.Unstructured, ok bool) bool {
		if ok {
			why = conditionMessage(o, "NamesAccepted")
		}
		return ok && hasCondition(o, "Established")
	}); err != nil {
		return late(why)
	}
	for _, gvk := range servedKinds(t.item.Object) {
		if err := c.kinds.AwaitServed(ctx, gvk); err != nil {
			return late(gvk.Kind + " is not served yet")
		}
	}
	return nil
}
