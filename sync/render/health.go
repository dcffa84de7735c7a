package render

import (
	"fmt"
	"strings"

	"cuelang.org/go/cue"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Live finds the live copy of a rendered object; nil means it is not there.
type Live func(*unstructured.Unstructured) *unstructured.Unstructured

// Health reads a rendered component's health off the live objects: by the definition's
// own policy where there is one, by the rules all Kubernetes kinds share otherwise.
func (r *Renderer) Health(c oam.Component, rc Context, rendered *Component, live Live) oam.Service {
	s := oam.Service{Name: c.Name, Namespace: rc.Namespace, Cluster: "local", Healthy: true, WorkloadHealthy: true}
	if src, _ := SourceOf(c); src != nil {
		r.treeHealth(&s, rendered, live)
		return s
	}
	if len(rendered.Objects) > 0 {
		w := rendered.Objects[0]
		s.Workload = &oam.WorkloadDefinition{APIVersion: w.GetAPIVersion(), Kind: w.GetKind()}
	}
	e := <-r.engines
	defer func() { r.engines <- e }()
	e = e.usable()

	data := rc.data(c)
	def, _ := r.definitions.Definition(KindComponent, c.Type)
	healthy, message := e.health(def, c.Properties, data, rendered, live, "")
	s.WorkloadHealthy, s.Healthy, s.Message = healthy, healthy, message
	for _, t := range c.Traits {
		tdef, _ := r.definitions.Definition(KindTrait, t.Type)
		healthy, message := e.health(tdef, t.Properties, data, rendered, live, t.Type)
		s.Traits = append(s.Traits, oam.TraitStatus{Type: t.Type, Healthy: healthy, Message: message})
		s.Healthy = s.Healthy && healthy
		if s.Message == "" { // the component's own message says more, when it has one
			s.Message = strings.TrimSpace(message)
		}
	}
	return s
}

// treeHealth says which object of a Git path is not there yet or not well. Applications
// among them answer for themselves, so they are left to the caller.
func (r *Renderer) treeHealth(s *oam.Service, rendered *Component, live Live) {
	for _, o := range rendered.Objects {
		if o.GroupVersionKind().Group == oam.Group {
			continue
		}
		if healthy, message := standard(o.Unstructured, live(o.Unstructured)); !healthy {
			s.Healthy, s.WorkloadHealthy, s.Message = false, false, message
			return
		}
	}
}

// health evaluates a definition's policy; trait "" means the component's own.
func (e *engine) health(def *Definition, properties, data map[string]any, rendered *Component, live Live, trait string) (bool, string) {
	context := make(map[string]any, len(data)+2)
	for k, v := range data {
		context[k] = v
	}
	outputs := map[string]any{}
	for _, o := range rendered.Objects {
		if trait == "" && o.Trait != "" && o.Trait != auxiliary || trait != "" && o.Trait != trait {
			continue
		}
		found := live(o.Unstructured)
		if found == nil {
			return false, fmt.Sprintf("%s %s is not there yet", o.GetKind(), o.GetName())
		}
		if def.HealthPolicy == "" {
			if healthy, message := standard(o.Unstructured, found); !healthy {
				return false, message
			}
		}
		if o.Role == oam.ResourceWorkload {
			context["output"] = found.Object
		} else {
			outputs[o.Key] = found.Object
		}
	}
	context["outputs"] = outputs
	healthy := def.HealthPolicy == "" || e.policy(def, def.HealthPolicy, "isHealth", properties, context) == true
	message, _ := e.policy(def, def.CustomStatus, "message", properties, context).(string)
	return healthy, message
}

// policy evaluates one status template. Any error reads as "not known": status fields
// are simply absent until a controller wrote them.
func (e *engine) policy(def *Definition, template, field string, properties, context map[string]any) any {
	if template == "" {
		return nil
	}
	v, err := e.compile(&Definition{Kind: def.Kind + "-" + Kind(field), Name: def.Name, Template: template})
	if err != nil {
		return nil
	}
	if v, err = e.fill(v, "context", context); err != nil {
		return nil
	}
	if v, err = e.fill(v, "parameter", properties); err != nil {
		return nil
	}
	value, exportErr := export(v.LookupPath(cue.ParsePath(field)))
	if exportErr != nil {
		return nil
	}
	return value
}

// standard is kstatus, the reading of status that kubectl, Flux and kpt share.
func standard(wanted, live *unstructured.Unstructured) (bool, string) {
	id := wanted.GetKind() + " " + wanted.GetName()
	if live == nil {
		return false, id + " is not there yet"
	}
	result, err := status.Compute(live)
	switch {
	case err != nil:
		return false, fmt.Sprintf("%s: %v", id, err)
	case result.Status == status.CurrentStatus:
		return true, ""
	default:
		return false, fmt.Sprintf("%s: %s", id, result.Message)
	}
}
