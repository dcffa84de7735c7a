package reconcile

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
)

// renderPolicies renders what policies of the user's own types make.
func (x *run) renderPolicies(ctx context.Context) error {
	if len(x.set.Custom) == 0 {
		return nil
	}
	rc := x.context(nil)
	for _, p := range x.parts {
		if p.rendered != nil {
			rc.Artifacts = append(rc.Artifacts, p.rendered)
		}
	}
	for _, p := range x.set.Custom {
		out, err := x.renderer.Policy(ctx, p, rc)
		if err != nil {
			return x.renderProblem(err)
		}
		x.policyMade = append(x.policyMade, out)
		for _, o := range out.Objects {
			about := policy.ObjectOf(o.GetKind(), o.GetName(), "", o.GetLabels())
			x.policyItems = append(x.policyItems, apply.Item{Object: o.Unstructured, Treatment: apply.Treatment(x.set.Rule(about, policy.OnUpdate))})
		}
	}
	return nil
}

// policies applies what policies make, before the first step, and finds out for which of
// it the steps have to wait.
func (x *run) policies(ctx context.Context) error {
	if err := x.apply(ctx, x.policyItems, false); err != nil {
		return applyProblem(oam.ConditionPolicy, "FailedApply", err)
	}
	x.good(oam.ConditionPolicy)
	for _, made := range x.policyMade {
		why := x.renderer.PolicyHealth(made, x.context(nil), func(o *unstructured.Unstructured) *unstructured.Unstructured {
			live, err := x.cluster.Live(ctx, apply.RefOf(o))
			if err != nil {
				return nil
			}
			return live
		})
		if why != "" && x.policyWaits == "" {
			x.policyWaits = fmt.Sprintf("waiting for policy %s: %s", made.Name, why)
		}
	}
	return nil
}
