package reconcile

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// collect deletes what is not wanted any more, after a rollout that succeeded.
func (x *run) collect(ctx context.Context) error {
	w := x.status.Workflow
	over := w.Finished && (w.Phase == oam.WorkflowSucceeded || w.Phase == oam.WorkflowFailed && x.set.Collect.ContinueOnFailure)
	if !over {
		return nil
	}
	changes, err := x.cluster.Prune(ctx, x.inv, x.wanted(), apply.PruneOptions{
		Check: x.job.Check, Approved: x.app.Annotations[AnnotationPrune] == "approved", Fate: x.fate(false),
	})
	x.changes = append(x.changes, changes...)
	if err = errors.Join(err, changes.Err()); err != nil {
		return applyProblem(oam.ConditionReady, "FailedPrune", err)
	}
	return nil
}

// fate says what becomes of an object that is not wanted, by the policies and by the
// source it came from. Deleting means that the Application itself goes.
func (x *run) fate(deleting bool) func(apply.Entry, *unstructured.Unstructured) apply.Fate {
	ranks := map[string]int{}
	if x.set.Collect.Dependency {
		ranks = depths(x.app.Spec.Components)
	}
	return func(e apply.Entry, live *unstructured.Unstructured) apply.Fate {
		o := policy.ObjectOf(e.Kind, e.Name, e.Component, live.GetLabels())
		life, orphan := x.set.Collect.Rule(o)
		keep := x.set.Keeps(o) || life == policy.Never || !deleting && (life == policy.OnAppDelete || x.unpruned(e.Component))
		return apply.Fate{Keep: keep, Orphan: orphan, Rank: ranks[e.Component]}
	}
}

// unpruned says that a component's source has prune switched off.
func (x *run) unpruned(component string) bool {
	i := slices.IndexFunc(x.app.Spec.Components, func(c oam.Component) bool { return c.Name == component })
	if i < 0 {
		return false
	}
	src, err := render.SourceOf(x.app.Spec.Components[i])
	return err == nil && src != nil && !src.Prune
}

// depths ranks components: each above all that it depends on.
func depths(components []oam.Component) map[string]int {
	out := map[string]int{}
	for range components { // a chain is at most that long
		for _, c := range components {
			for _, d := range c.DependsOn {
				out[c.Name] = max(out[c.Name], out[d]+1)
			}
		}
	}
	return out
}
