package reconcile

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// live is a part's object as it is in the cluster; nil when it is not there. What is
// read-only is not ours, so no watch of ours knows it.
func (x *run) live(ctx context.Context, p *part, o render.Object) *unstructured.Unstructured {
	ref := apply.RefOf(o.Unstructured)
	look := x.cluster.Live
	if x.set.Keeps(objectOf(p, o)) {
		look = x.cluster.Read
	}
	live, err := look(ctx, ref)
	if err != nil {
		return nil
	}
	return live
}

// health reads a part's health off the live objects; child Applications answer for
// themselves.
func (x *run) health(ctx context.Context, p *part) oam.Service {
	service := x.renderer.Health(p.spec, x.context(p), p.rendered, func(o *unstructured.Unstructured) *unstructured.Unstructured {
		at := slices.IndexFunc(p.rendered.Objects, func(r render.Object) bool { return r.Unstructured == o })
		if at < 0 {
			return nil
		}
		return x.live(ctx, p, p.rendered.Objects[at])
	})
	if p.source == nil || !service.Healthy {
		return service
	}
	for _, o := range p.rendered.Objects {
		if o.GetKind() != oam.Kind || o.GroupVersionKind().Group != oam.Group {
			continue
		}
		child, found, err := x.cluster.Application(o.GetNamespace(), o.GetName())
		if why := childTrouble(child, found, err); why != "" {
			service.Healthy, service.WorkloadHealthy, service.Message = false, false, fmt.Sprintf("Application %s: %s", o.GetName(), why)
			return service
		}
	}
	return service
}

// childTrouble says what is wrong with a child Application. One that is still rolling
// out is not in trouble.
func childTrouble(child *oam.Application, found bool, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case !found:
		return "" // applied a moment ago
	}
	for _, condition := range child.Status.Conditions {
		if condition.Status == "False" && condition.Type != oam.ConditionHealthy && condition.Message != "" {
			return condition.Message
		}
	}
	switch child.Status.Phase {
	case oam.PhaseUnhealthy, oam.PhaseWorkflowFailed, oam.PhaseWorkflowTerminated:
		for _, s := range child.Status.Services {
			if !s.Healthy {
				return fmt.Sprintf("%s (%s: %s)", child.Status.Phase, s.Name, s.Message)
			}
		}
		return string(child.Status.Phase)
	}
	return ""
}
