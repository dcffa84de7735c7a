package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
)

// doMore makes the calls that are about the Application itself and about clusters.
func (x *run) doMore(ctx context.Context, call string, p params) (value map[string]any, known bool, err error) {
	switch call {
	case "oam load":
		value, err = x.loadComponents(ctx, p.text("app"))
	case "oam component-render":
		value, err = x.componentRender(ctx, p)
	case "oam component-apply":
		value, err = x.componentApply(ctx, p)
	case "query searchEvents":
		value, err = x.searchEvents(ctx, p)
	case "query collectLogsInPod":
		value, err = x.podLogs(ctx, p)
	case "oam load-comps-in-order":
		var list []any
		list, err = listOf(x.app.Spec.Components)
		value = map[string]any{"value": list}
	case "oam load-policies":
		policies := map[string]any{}
		for _, pol := range x.app.Spec.Defaulted().Policies {
			if policies[pol.Name], err = plain(pol); err != nil {
				break
			}
		}
		value = map[string]any{"value": policies}
	case "multicluster list-clusters":
		value = map[string]any{"outputs": map[string]any{"clusters": []any{policy.Local}}}
	case "multicluster get-placements-from-topology-policies":
		value, err = x.placements(p.texts("policies"))
	case "query collectServiceEndpoints", "query listAppliedResources", "query listResourcesInApp", "query collectResources":
		value, err = x.query(ctx, call, p.object("app"))
	default:
		return nil, false, nil
	}
	return value, true, err
}

func appRef(app *oam.Application) apply.ObjectRef {
	return apply.ObjectRef{Group: oam.Group, Version: oam.Version, Kind: oam.Kind, Namespace: app.Namespace, Name: app.Name}
}

func listOf(v any) ([]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out []any
	return out, json.Unmarshal(raw, &out)
}

func (x *run) loadComponents(ctx context.Context, name string) (map[string]any, error) {
	app := x.app
	if name != "" && name != app.Name {
		other, found, err := x.cluster.Application(x.app.Namespace, name)
		if err != nil || !found {
			return nil, fmt.Errorf("reading Application %s/%s: it is not there", x.app.Namespace, name)
		}
		if err := x.mayRead(ctx, appRef(other)); err != nil {
			return nil, err
		}
		app = other
	}
	components := map[string]any{}
	for _, c := range app.Spec.Components {
		value, err := plain(c)
		if err != nil {
			return nil, err
		}
		components[c.Name] = value
	}
	return map[string]any{"value": components}, nil
}

func (x *run) placements(policies []string) (map[string]any, error) {
	for _, name := range policies {
		if !x.set.Has(name) {
			return nil, fmt.Errorf("policy %q is not in spec.policies", name)
		}
	}
	instances, err := x.set.Deploy(policies, []oam.Component{{Name: "any"}})
	if err != nil {
		return nil, err
	}
	var seen []policy.Placement
	list := []any{}
	for _, i := range instances {
		if slices.Contains(seen, i.Placement) {
			continue
		}
		seen = append(seen, i.Placement)
		namespace := i.Namespace
		if namespace == "" {
			namespace = x.app.Namespace
		}
		list = append(list, map[string]any{"cluster": i.Cluster, "namespace": namespace})
	}
	return map[string]any{"placements": list}, nil
}

// query lists what an Application has applied.
func (x *run) query(ctx context.Context, call string, about params) (map[string]any, error) {
	app, found, err := x.cluster.Application(about.text("namespace"), about.text("name"))
	if err != nil || !found {
		return nil, fmt.Errorf("reading Application %s/%s: it is not there", about.text("namespace"), about.text("name"))
	}
	if err := x.mayRead(ctx, appRef(app)); err != nil {
		return nil, err
	}
	filter := about.object("filter")
	list := []any{}
	for _, r := range app.Status.AppliedResources {
		ref := kindRef(r.APIVersion, r.Kind)
		ref.Namespace, ref.Name = r.Namespace, r.Name
		if x.mayRead(ctx, ref) != nil {
			continue
		}
		live, err := x.cluster.Live(ctx, ref)
		if err != nil || live == nil {
			continue
		}
		component := live.GetLabels()[oam.LabelComponent]
		if wanted := filter.texts("components"); len(wanted) > 0 && !slices.Contains(wanted, component) || filter.text("kind") != "" && filter.text("kind") != r.Kind {
			continue
		}
		if call == "query collectServiceEndpoints" {
			list = append(list, endpoints(live, component)...)
			continue
		}
		list = append(list, map[string]any{"cluster": policy.Local, "component": component, "object": live.DeepCopy().Object,
			"apiVersion": r.APIVersion, "kind": r.Kind, "namespace": r.Namespace, "name": r.Name})
	}
	return map[string]any{"list": list}, nil
}
