package reconcile

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// Who made an applied resource.
const (
	byWorkflow = "workflow" // a component
	byPolicy   = "policy"
	byStep     = "step" // a step itself, such as apply-object
)

func resourceOf(o *unstructured.Unstructured, creator string) oam.AppliedResource {
	return oam.AppliedResource{
		Cluster: policy.Local, Creator: creator, APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(),
	}
}

// appliedBefore is what this run is known to have applied in earlier looks.
func (x *run) appliedBefore() map[oam.AppliedResource]bool {
	out := map[oam.AppliedResource]bool{}
	for _, r := range x.status.AppliedResources {
		out[r] = true
	}
	return out
}

func (p *part) isAmong(resources map[oam.AppliedResource]bool) bool {
	return p.rendered != nil && slices.ContainsFunc(p.rendered.Objects, func(o render.Object) bool {
		return resources[resourceOf(o.Unstructured, byWorkflow)]
	})
}

// stepMade lists what steps have made in this run: it is wanted, although nothing but the
// record of it is left.
func (x *run) stepMade() []oam.AppliedResource {
	out := slices.Clone(x.madeNow)
	for _, r := range x.status.AppliedResources {
		if r.Creator == byStep && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// tellApplied writes into the status what the run has applied so far.
func (x *run) tellApplied() {
	out := x.stepMade()
	for _, p := range x.parts {
		if !p.applied {
			continue
		}
		_, _, after := staged(p.rendered.Objects)
		for _, o := range p.rendered.Objects {
			pending := slices.ContainsFunc(after, func(a render.Object) bool { return a.Unstructured == o.Unstructured })
			if !pending || p.service == nil || p.service.WorkloadHealthy {
				out = append(out, resourceOf(o.Unstructured, byWorkflow))
			}
		}
	}
	for _, item := range x.policyItems {
		out = append(out, resourceOf(item.Object, byPolicy))
	}
	slices.SortFunc(out, func(a, b oam.AppliedResource) int {
		return cmp.Or(strings.Compare(a.Kind+"/"+a.Namespace+"/"+a.Name, b.Kind+"/"+b.Namespace+"/"+b.Name), strings.Compare(a.APIVersion, b.APIVersion), strings.Compare(a.Creator, b.Creator))
	})
	x.status.AppliedResources = slices.Compact(out)
}

// tellServices writes into the status how the parts are, in their order. What this look
// did not get to stays as it was.
func (x *run) tellServices() {
	old := x.status.Services
	x.status.Services = nil
	told := map[string]bool{}
	for _, p := range x.parts {
		namespace := cmp.Or(p.Namespace, x.app.Namespace)
		id := p.id(x.app.Namespace)
		if told[id] {
			continue
		}
		if p.service != nil {
			told[id] = true
			x.status.Services = append(x.status.Services, *p.service)
			continue
		}
		at := slices.IndexFunc(old, func(s oam.Service) bool { return s.Name == p.Name && s.Namespace == namespace })
		if at >= 0 && p.ReplicaKey == "" {
			told[id] = true
			x.status.Services = append(x.status.Services, old[at])
		}
	}
}

// wanted is everything that is to stay.
func (x *run) wanted() []apply.Item {
	failed := x.status.Workflow.Phase != oam.WorkflowSucceeded
	out := slices.Clone(x.policyItems)
	for _, p := range x.parts {
		if p.rendered != nil && (p.applied || failed) { // after a failure, what was to come is wanted still
			out = append(out, x.items(p, policy.OnStateKeep, p.rendered.Objects)...)
		}
		if p.release != nil {
			out = append(out, p.release.kept...)
		}
	}
	for _, r := range x.stepMade() {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion(r.APIVersion)
		o.SetKind(r.Kind)
		o.SetNamespace(r.Namespace)
		o.SetName(r.Name)
		out = append(out, apply.Item{Object: o})
	}
	return out
}
