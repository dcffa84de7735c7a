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

// health reads a component's health off the live objects; child Applications answer for
// themselves.
func (x *run) health(ctx context.Context, c component, rc render.Context) oam.Service {
	service := x.renderer.Health(c.spec, rc, c.rendered, func(o *unstructured.Unstructured) *unstructured.Unstructured {
		live, err := x.cluster.Live(ctx, apply.RefOf(o))
		if err != nil {
			return nil
		}
		return live
	})
	if c.source == nil || !service.Healthy {
		return service
	}
	for _, o := range c.rendered.Objects {
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

// setService replaces or appends the component's health, in the order of the spec.
func (x *run) setService(s oam.Service) {
	i := slices.IndexFunc(x.status.Services, func(old oam.Service) bool { return old.Name == s.Name })
	if i >= 0 {
		x.status.Services[i] = s
		return
	}
	x.status.Services = append(x.status.Services, s)
	order := map[string]int{}
	for i, c := range x.app.Spec.Components {
		order[c.Name] = i
	}
	slices.SortFunc(x.status.Services, func(a, b oam.Service) int { return order[a.Name] - order[b.Name] })
}
