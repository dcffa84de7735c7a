package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// accountTrust is how late it may be noticed that a service account went.
const accountTrust = 30 * time.Second

// checkedAccount is a service account that was there.
type checkedAccount struct {
	name string
	at   time.Time
}

// actAs makes the look act as the service account that the Application names. There is no
// way back to Tradewind's own rights: an account that cannot be used ends the look.
func (x *run) actAs(ctx context.Context) error {
	fail := func(err error) error {
		return applyProblem(oam.ConditionReady, "FailedApply", fmt.Errorf("annotation %s: %w", oam.AnnotationServiceAccount, err))
	}
	name, given := x.app.Annotations[oam.AnnotationServiceAccount]
	if !given && !x.needsAccount {
		return nil
	}
	if name == "" {
		return fail(&apply.Error{Reason: apply.ReasonFailedApply, Err: fmt.Errorf("it names no service account, and one is required"),
			Advice: "name a service account of namespace " + x.app.Namespace})
	}
	as, err := x.cluster.As(x.app.Namespace, name)
	if err != nil {
		return fail(err)
	}
	if known := x.memo.account; known.name != name || x.now().Sub(known.at) > accountTrust {
		if err := x.cluster.HasAccount(ctx, x.app.Namespace, name); err != nil {
			return fail(err)
		}
		x.memo.account = checkedAccount{name, x.now()}
	}
	x.cluster, x.account = as, name
	return nil
}

// mayUse refuses a source whose credentials the account may not read. What was fetched with
// them is shared by all who name them.
func (x *run) mayUse(ctx context.Context, src *render.Source) error {
	if x.account == "" || src.SecretName == "" {
		return nil
	}
	_, err := x.text(ctx, kindSecret, src.SecretName)
	return err
}

// sourceTree is the tree of a Git source.
func (x *run) sourceTree(ctx context.Context, src *render.Source) (*git.Tree, error) {
	if err := x.mayUse(ctx, src); err != nil {
		return nil, err
	}
	return x.tree(ctx, x.app.Namespace, src, x.newerThan)
}

// text is a Secret or ConfigMap in the namespace of the Application.
func (x *run) text(ctx context.Context, kind, name string) (map[string][]byte, error) {
	return x.texts.read(ctx, textReader{x.cluster, x.account}, kind, x.app.Namespace, name, x.now())
}

// mayRead refuses what the Application's account may not read. What the watches know was
// read with Tradewind's own rights.
func (x *run) mayRead(ctx context.Context, ref apply.ObjectRef) error {
	if err := x.mayTouch(ref); err != nil || x.account == "" {
		return err
	}
	_, err := x.cluster.Read(ctx, ref)
	return err
}
