package render

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
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
	if src, _ := SourceOf(c); src != nil || c.Type == typeHelm {
		treeHealth(&s, rendered, live)
		return s
	}
	if len(rendered.Objects) > 0 {
		w := rendered.Objects[0]
		s.Workload = &oam.WorkloadDefinition{APIVersion: w.GetAPIVersion(), Kind: w.GetKind()}
	}
	if r.elsewhere != nil && r.hasRules(c, rc) {
		return r.healthElsewhere(s, HealthWork{Component: c, Context: rc, Rendered: rendered}, live)
	}
	_ = r.engines.Do(context.Background(), func(e *template.Engine) error { // only the context could make it fail
		look := &look{engine: e, context: rc.data(c), rendered: rendered, live: live}
		workload := look.at(-1, r.rules(KindComponent, rc.home(), c.Type), c.Properties)
		s.WorkloadHealthy, s.Message, s.Details = workload.healthy, workload.message, workload.details
		s.Healthy = s.WorkloadHealthy
		for i, t := range c.Traits {
			seen := look.at(i, r.rules(KindTrait, rc.home(), t.Type), t.Properties)
			s.Traits = append(s.Traits, oam.TraitStatus{Type: t.Type, Healthy: seen.healthy, Message: seen.message, Details: seen.details})
			s.Healthy = s.Healthy && seen.healthy
			if s.Message == "" { // the component's own message says more, when it has one
				s.Message = strings.TrimSpace(seen.message)
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

// rules are the status rules of a type. One that went since it was rendered leaves those
// that all kinds share.
func (r *Renderer) rules(kind Kind, namespace, name string) *Definition {
	if def, err := r.usable(kind, namespace, name); err == nil {
		return def
	}
	return &Definition{}
}

// look is one reading of health.
type look struct {
	engine   *template.Engine
	context  map[string]any
	rendered *Component
	live     Live
}

// reading is what it found.
type reading struct {
	healthy bool
	message string
	details map[string]string
}

// at evaluates the rules of the component (trait -1) or of one of its traits: details,
// then health, then the message, which may speak of the two. A trait sees only what it
// made itself.
func (l *look) at(trait int, def *Definition, properties map[string]any) reading {
	in := template.Input{Parameter: properties, Context: maps.Clone(l.context)}
	outputs := map[string]any{}
	in.Context["outputs"], in.Context["parameter"] = outputs, properties
	for _, o := range l.rendered.Objects {
		for _, made := range o.outputs {
			if made.trait != trait {
				continue
			}
			found := l.live(o.Unstructured)
			if found == nil {
				return reading{message: standardID(o.Unstructured) + " is not there yet"}
			}
			if def.HealthPolicy == "" {
				if healthy, message := standard(o.Unstructured, found); !healthy {
					return reading{message: message}
				}
			}
			if made.key == "" {
				in.Context["output"] = found.Object
			} else {
				outputs[made.key] = found.Object
			}
		}
	}
	return l.evaluate(def, in)
}

func (l *look) evaluate(def *Definition, in template.Input) reading {
	rule := func(text string) template.Template { return template.Template{Name: def.Name, Text: text} }
	out := reading{healthy: def.HealthPolicy == ""}
	if def.Details != "" {
		out.details = l.engine.Details(rule(def.Details), in)
	}
	if !out.healthy {
		value, _ := l.engine.Value(rule(def.HealthPolicy), in, "isHealth")
		out.healthy = value == true
	}
	if def.CustomStatus != "" {
		details := make(map[string]any, len(out.details))
		for key, value := range out.details {
			details[key] = value
		}
		in.Context["status"] = map[string]any{"healthy": out.healthy, "details": details}
		value, _ := l.engine.Value(rule(def.CustomStatus), in, "message")
		out.message, _ = value.(string)
	}
	return out
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

// hasRules says whether the health of a component is read by rules of a definition, which
// are templates, rather than by those that all kinds share.
func (r *Renderer) hasRules(c oam.Component, rc Context) bool {
	rules := func(kind Kind, name string) bool {
		def := r.rules(kind, rc.home(), name)
		return def.HealthPolicy+def.CustomStatus+def.Details != ""
	}
	return rules(KindComponent, c.Type) || slices.ContainsFunc(c.Traits, func(t oam.Trait) bool { return rules(KindTrait, t.Type) })
}

// healthElsewhere sends the live objects along; s is what is known already.
func (r *Renderer) healthElsewhere(s oam.Service, work HealthWork, live Live) oam.Service {
	for _, o := range work.Rendered.Objects {
		var found map[string]any
		if l := live(o.Unstructured); l != nil {
			found = l.Object
		}
		work.Live = append(work.Live, found)
	}
	out, err := sendOut[oam.Service](context.Background(), r.elsewhere, Work{Health: &work}, nil)
	if err != nil {
		s.Healthy, s.WorkloadHealthy = false, false
		s.Message = problem.OneLine("the health rule could not be evaluated: " + err.Error())
		return s
	}
	return *out
}
