package apply

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/desired"
)

// Preview is what an apply would make of one object.
type Preview struct {
	Ref    ObjectRef
	Action Action
	Live   *unstructured.Unstructured // nil when there is none
	// Applied is the object as the server would store it. Of one that stands on another
	// which is not there yet (its namespace, its kind) it is the object as rendered.
	Applied *unstructured.Unstructured
	Err     error // why it would fail; Action is Failed then
}

// DryRun asks the server what it would make of the items and changes nothing. It sees
// what Apply would see, without watches: one read for each object, and a dry run for each
// that differs. Adopt is that of [ApplyOptions].
func (c *Cluster) DryRun(ctx context.Context, owner Owner, items []Item, adopt bool) []Preview {
	d := rehearsal{Cluster: c, owner: owner, adopt: adopt, coming: map[ObjectRef]bool{}, kinds: map[schema.GroupVersionKind]bool{}}
	out := make([]Preview, 0, len(items))
	for _, stage := range stages(items) {
		for _, item := range stage {
			out = append(out, d.preview(ctx, item.Object))
		}
	}
	return out
}

// rehearsal is one question about many objects.
type rehearsal struct {
	*Cluster
	owner  Owner
	adopt  bool
	coming map[ObjectRef]bool               // namespaces that do not exist yet
	kinds  map[schema.GroupVersionKind]bool // that do not exist yet
}

func (d *rehearsal) preview(ctx context.Context, o *unstructured.Unstructured) Preview {
	p := Preview{Ref: RefOf(o), Action: Created, Applied: o}
	client, err := d.resource(ctx, p.Ref)
	if meta.IsNoMatchError(err) && d.kinds[p.Ref.gvk()] {
		return p
	}
	if err != nil {
		return p.fail(classify(p.Ref, "looking for", err))
	}
	p.Ref = d.canonical(p.Ref)
	if p.Live, err = d.read(ctx, client, p.Ref); err != nil {
		return p.fail(err)
	}
	if p.Live == nil {
		return d.create(ctx, client, p, desired.New(o))
	}
	return d.update(ctx, client, p, o)
}

func (p Preview) fail(err error) Preview {
	p.Action, p.Err, p.Applied = Failed, err, nil
	return p
}

// read returns nil for an object that is not there.
func (d *rehearsal) read(ctx context.Context, client dynamic.ResourceInterface, ref ObjectRef) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := client.Get(ctx, ref.Name, getOptions)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, classifyIf(ref, "reading", err)
}

func (d *rehearsal) create(ctx context.Context, client dynamic.ResourceInterface, p Preview, want *desired.Object) Preview {
	body, err := want.Body()
	if err != nil {
		return p.fail(classify(p.Ref, "encoding", err))
	}
	switch p.Ref.Kind {
	case "Namespace":
		d.coming[ObjectRef{Namespace: p.Ref.Name}] = true
	case "CustomResourceDefinition":
		for _, gvk := range servedKinds(p.Applied) {
			d.kinds[gvk] = true
		}
	}
	applied, err := dryPatch(ctx, client, p.Ref, body, false)
	switch {
	case isMissingNamespace(p.Ref, err) && d.coming[ObjectRef{Namespace: p.Ref.Namespace}]:
		return p
	case err != nil:
		return p.fail(classify(p.Ref, "applying", err))
	}
	p.Applied = applied
	return p
}

func (d *rehearsal) update(ctx context.Context, client dynamic.ResourceInterface, p Preview, o *unstructured.Unstructured) Preview {
	want, mode := desired.New(o), modeOf(o, p.Live)
	if mode == modeIgnore || mode == modeIfAbsent || want.IsIn(p.Live) {
		p.Action, p.Applied = Unchanged, p.Live
		return p
	}
	if err := d.mayTake(p); err != nil {
		return p.fail(err)
	}
	for force := forced(o); ; force = true {
		body, err := want.Body()
		if err != nil {
			return p.fail(classify(p.Ref, "encoding", err))
		}
		applied, err := dryPatch(ctx, client, p.Ref, body, force)
		found := conflicts(err)
		switch {
		case err == nil && sameContent(withoutStatus(p.Live), withoutStatus(applied)):
			p.Action, p.Applied = Unchanged, p.Live
			return p
		case err == nil:
			p.Action, p.Applied = Configured, applied
			return p
		case len(found) == 0 || force:
			return p.fail(classify(p.Ref, "applying", err))
		}
		if mode == modeMerge {
			fields := make([]string, 0, len(found))
			for _, f := range found {
				fields = append(fields, f.field)
			}
			less, ok := want.Without(fields...)
			if !ok {
				return p.fail(classify(p.Ref, "applying", err))
			}
			want = less
		} else if err := conflictError(p.Ref, found); err != nil {
			return p.fail(err)
		}
	}
}

// mayTake refuses objects of others. Whether another Application has let go of one is
// known to those who watch all of them, so here its mark counts.
func (d *rehearsal) mayTake(p Preview) error {
	other, owned := ownerOf(p.Live)
	switch {
	case owned && other.same(d.owner), !owned && d.adopt:
		return nil
	case !owned:
		return &Error{Reason: ReasonConflictingOwner, Ref: p.Ref, Err: fmt.Errorf("%s exists but is not managed by any Application", p.Ref),
			Advice: "delete it, or rename the component"}
	}
	return &Error{Reason: ReasonConflictingOwner, Ref: p.Ref, Err: fmt.Errorf("%s is managed by another Application, %s", p.Ref, other),
		Advice: "remove it from one of the two; the other keeps it"}
}

func dryPatch(ctx context.Context, client dynamic.ResourceInterface, ref ObjectRef, body []byte, force bool) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return client.Patch(ctx, ref.Name, types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: FieldOwner, Force: &force, FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll},
	})
}
