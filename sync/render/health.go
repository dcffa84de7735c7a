package render

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// Live finds the live copy of a rendered object; nil means it is not there.
type Live func(*unstructured.Unstructured) *unstructured.Unstructured

// Health reads a rendered component's health off the live objects: by the definition's
// own policy where there is one, by the rules all Kubernetes kinds share otherwise.
func (r *Renderer) Health(c oam.Component, rc Context, rendered *Component, live Live) (s oam.Service) {
	s = oam.Service{Name: c.Name, Namespace: rc.Namespace, Cluster: rc.Cluster, Healthy: true, WorkloadHealthy: true}
	if s.Cluster == "" {
		s.Cluster = localCluster
	}
	defer func() {
		if p := recover(); p != nil { // a template over hostile data; see Component
			s.Healthy, s.WorkloadHealthy, s.Message = false, false, "the health rule panicked"
		}
	}()
	if src, _ := SourceOf(c); src != nil {
		treeHealth(&s, rendered, live)
		return s
	}
	if len(rendered.Objects) > 0 {
		w := rendered.Objects[0]
		s.Workload = &oam.WorkloadDefinition{APIVersion: w.GetAPIVersion(), Kind: w.GetKind()}
	}
	_ = r.engines.Do(context.Background(), func(e *template.Engine) error { // only the context could make it fail
		look := &look{engine: e, context: rc.data(c), rendered: rendered, live: live}
		def, _ := r.definitions.Definition(KindComponent, c.Type)
		s.WorkloadHealthy, s.Message = look.at(-1, def, c.Properties)
		s.Healthy = s.WorkloadHealthy
		for i, t := range c.Traits {
			tdef, _ := r.definitions.Definition(KindTrait, t.Type)
			healthy, message := look.at(i, tdef, t.Properties)
			s.Traits = append(s.Traits, oam.TraitStatus{Type: t.Type, Healthy: healthy, Message: message})
			s.Healthy = s.Healthy && healthy
			if s.Message == "" { // the component's own message says more, when it has one
				s.Message = strings.TrimSpace(message)
			}
		}
		return nil
	})
	return s
}

// treeHealth says which object of a Git path is not there yet or not well. Applications
// among them answer for themselves, so they are left to the caller.
func treeHealth(s *oam.Service, rendered *Component, live Live) {
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

// look is one reading of health.
type look struct {
	engine   *template.Engine
	context  map[string]any
	rendered *Component
	live     Live
}

// at evaluates the rules of the component (trait -1) or of one of its traits. A trait
// sees only what it made itself.
func (l *look) at(trait int, def *Definition, properties map[string]any) (healthy bool, message string) {
	in := template.Input{Parameter: properties, Context: maps.Clone(l.context)}
	outputs := map[string]any{}
	in.Context["outputs"] = outputs
	for _, o := range l.rendered.Objects {
		for _, made := range o.outputs {
			if made.trait != trait {
				continue
			}
			found := l.live(o.Unstructured)
			if found == nil {
				return false, standardID(o.Unstructured) + " is not there yet"
			}
			if def.HealthPolicy == "" {
				if healthy, message := standard(o.Unstructured, found); !healthy {
					return false, message
				}
			}
			if made.key == "" {
				in.Context["output"] = found.Object
			} else {
				outputs[made.key] = found.Object
			}
		}
	}
	healthy = def.HealthPolicy == ""
	if !healthy {
		value, _ := l.engine.Value(template.Template{Name: def.Name, Text: def.HealthPolicy}, in, "isHealth")
		healthy = value == true
	}
	if def.CustomStatus != "" {
		in.Context["status"] = map[string]any{"healthy": healthy, "details": map[string]any{}}
		value, _ := l.engine.Value(template.Template{Name: def.Name, Text: def.CustomStatus}, in, "message")
		message, _ = value.(string)
	}
	return healthy, message
}

func standardID(o *unstructured.Unstructured) string { return o.GetKind() + " " + o.GetName() }

// standard is kstatus, the reading of status that kubectl, Flux and kpt share.
func standard(wanted, live *unstructured.Unstructured) (bool, string) {
	id := standardID(wanted)
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
