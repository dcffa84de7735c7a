package render

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// Policy renders what a policy's definition makes: its output, where it has one, then its
// outputs. Templates see what the Application's components became as context.artifacts,
// from rc.Artifacts.
func (r *Renderer) Policy(ctx context.Context, policy oam.Policy, rc Context) (out *Component, err error) {
	defer func() {
		if p := recover(); p != nil { // see Component
			out, err = nil, &Error{Err: fmt.Errorf("the renderer panicked: %s", problem.OneLine(fmt.Sprint(p)))}
		}
		if e, ok := err.(*Error); ok && e.Policy == "" { //nolint:errorlint // only the outermost, fresh from this package
			e.Policy = policy.Name
		}
	}()
	def, err := r.usable(KindPolicy, rc.home(), policy.Type)
	if err != nil {
		return nil, err
	}
	if r.elsewhere != nil {
		return sendOut[Component](ctx, r.elsewhere, Work{Policy: &PolicyWork{policy, rc}}, nil)
	}
	out = &Component{Name: policy.Name, Type: policy.Type}
	err = r.engines.Do(ctx, func(e *template.Engine) error {
		a := &assembly{engine: e, context: rc.policyData(policy, def)}
		if err := a.policy(def, policy, rc); err != nil {
			return err
		}
		if err := a.identify(r, oam.Component{Name: policy.Name}, rc); err != nil {
			return err
		}
		out.Objects, out.Hints = a.objects, a.hints
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, o := range out.Objects {
		markPolicy(o, rc)
	}
	return out, checkDuplicates(out.Objects)
}

// PolicyHealth says what a policy whose definition has manageHealthCheck waits for: the
// first of its objects that is not there or not well. It is "" when all are, and for
// policies of other types.
func (r *Renderer) PolicyHealth(rendered *Component, rc Context, live Live) string {
	def, err := r.usable(KindPolicy, rc.home(), rendered.Type)
	if err != nil || !def.ManageHealthCheck {
		return ""
	}
	for _, o := range rendered.Objects {
		found := live(o.Unstructured)
		if found == nil {
			return standardID(o.Unstructured) + " is not there yet"
		}
		if healthy, message := standard(o.Unstructured, found); !healthy {
			return message
		}
	}
	return ""
}

func (a *assembly) policy(def *Definition, policy oam.Policy, rc Context) error {
	properties := policy.Properties
	if properties == nil {
		properties = map[string]any{}
	}
	result, err := a.evaluate(def, properties, rc)
	if err != nil {
		return err
	}
	main, err := result.Output()
	if err != nil {
		return err
	}
	if main != nil {
		a.objects = []Object{{Unstructured: &unstructured.Unstructured{Object: main}, Stage: StageDefault}}
	}
	return a.add(result, -1, auxiliary, StageDefault)
}

// policyData is the context as the template of a policy sees it.
func (rc Context) policyData(policy oam.Policy, def *Definition) map[string]any {
	data := rc.data(oam.Component{Name: policy.Name})
	for _, field := range []string{"componentType", "cluster", "clusterVersion", "replicaKey", "revision", "config", "custom"} {
		delete(data, field)
	}
	if strings.Contains(def.Template, "artifacts") {
		data["artifacts"] = artifacts(rc.Artifacts)
	}
	return data
}

// artifacts are the rendered components: <component>.workload and
// <component>.traits.<key>.
func artifacts(rendered []*Component) map[string]any {
	out := map[string]any{}
	for _, c := range rendered {
		traits := map[string]any{}
		made := map[string]any{"traits": traits}
		for _, o := range c.Objects {
			switch {
			case o.Role == oam.ResourceWorkload:
				made["workload"] = o.Object
			case o.Key != "":
				traits[o.Key] = o.Object
			}
		}
		out[c.Name] = made
	}
	return out
}

// markPolicy says whose object it is; it belongs to no component.
func markPolicy(o Object, rc Context) {
	mark(o, oam.Component{}, rc)
	labels := o.GetLabels()
	for _, key := range []string{oam.LabelComponent, oam.LabelResourceType, oam.LabelWorkloadType, oam.LabelTraitType, oam.LabelTraitKey} {
		delete(labels, key)
	}
	o.SetLabels(labels)
}
