package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// typeDeploy is the step type that sends components to places.
const typeDeploy = "deploy"

// read makes policies and steps of the spec, and finds out which components each step
// applies where.
func (x *run) read(ctx context.Context) error {
	fail := func(err error) error { return parseProblem(err, nil) }
	for _, c := range x.app.Spec.Components {
		if err := x.renderer.CheckTypes(x.app.Namespace, c); err != nil {
			return fail(err)
		}
	}
	if err := x.external(ctx); err != nil {
		return err
	}
	spec := x.app.Spec.Defaulted()
	var err error
	if x.set, err = x.parsePolicies(spec); err != nil {
		return fail(err)
	}
	types, err := x.stepTypes(spec)
	if err != nil {
		return fail(err)
	}
	if x.plan, err = workflow.NewPlan(x.app, types...); err != nil {
		return fail(err)
	}
	if x.parts, err = x.placeAll(spec); err != nil {
		return fail(err)
	}
	x.revision = x.nextRevision()
	if err := x.loadStore(ctx); err != nil {
		return applyProblem(oam.ConditionWorkflow, "FailedWorkflow", err)
	}
	x.good(oam.ConditionParsed)
	return x.evaluation(ctx)
}

func (x *run) parsePolicies(spec oam.Spec) (*policy.Set, error) {
	return policy.Parse(spec.Policies, func(name string) bool { return x.renderer.Defined(render.KindPolicy, x.app.Namespace, name) })
}

// stepTypes lists the types of steps that can be run: those of the workflow itself, and
// those that a definition defines.
func (x *run) stepTypes(spec oam.Spec) ([]string, error) {
	types := []string{workflow.TypeApplyComponent, typeDeploy}
	if spec.Workflow == nil {
		return types, nil
	}
	var all []oam.Step
	for _, s := range spec.Workflow.Steps {
		all = append(append(all, s), s.SubSteps...)
	}
	for _, s := range all {
		if native(s.Type) || slices.Contains(types, s.Type) {
			continue
		}
		if _, err := x.renderer.StepDefinition(x.app.Namespace, s.Type); err != nil {
			return nil, fmt.Errorf("workflow step %q: %w", s.Name, err)
		}
		types = append(types, s.Type)
	}
	return types, nil
}

func native(stepType string) bool {
	switch stepType {
	case workflow.TypeApplyComponent, typeDeploy, oam.TypeSuspend, oam.TypeStepGroup:
		return true
	}
	return false
}

// evaluation gives the plan the values that there are and the language of its conditions.
func (x *run) evaluation(ctx context.Context) error {
	x.plan.Values = maps.Clone(x.store.Values)
	about := x.about()
	for name, value := range about {
		x.plan.Values["context."+name] = value
	}
	x.plan.Eval = func(expr string, vars workflow.Vars) (bool, error) {
		status, err := plain(vars.Status)
		if err != nil {
			return false, err
		}
		properties := vars.Step.Properties
		if properties == nil {
			properties = map[string]any{}
		}
		return x.renderer.Condition(ctx, expr, map[string]any{"status": status, "inputs": vars.Inputs, "context": about, "parameter": properties})
	}
	return nil
}

// about is the context that inputs, conditions and outputs may speak of.
func (x *run) about() map[string]any {
	labels, annotations := map[string]any{}, map[string]any{}
	for k, v := range x.app.Labels {
		labels[k] = v
	}
	for k, v := range x.app.Annotations {
		annotations[k] = v
	}
	return map[string]any{
		"name": x.app.Name, "appName": x.app.Name, "namespace": x.app.Namespace,
		"appRevision": x.revision.Name, "appRevisionNum": x.revision.N, "workflowName": x.app.Name,
		"publishVersion": x.app.Annotations[oam.AnnotationPublishVersion], "appLabels": labels, "appAnnotations": annotations,
	}
}

// plain is a value as JSON decoders leave it.
func plain(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	return out, json.Unmarshal(raw, &out)
}

// placeAll lists what the steps apply, in the order of the plan.
func (x *run) placeAll(spec oam.Spec) ([]*part, error) {
	var out []*part
	for _, step := range x.plan.All() {
		instances, err := x.place(step, spec)
		if err != nil {
			return nil, fmt.Errorf("workflow step %q: %w", step.Name, err)
		}
		for _, i := range instances {
			p := &part{Instance: i, step: step.Name, inputs: i.Inputs}
			if step.Type == workflow.TypeApplyComponent {
				p.inputs = step.Inputs // with those of the component
			}
			out = append(out, p)
		}
	}
	return out, nil
}

func (x *run) place(step oam.Step, spec oam.Spec) ([]policy.Instance, error) {
	switch step.Type {
	case workflow.TypeApplyComponent:
		var p struct{ Cluster, Namespace string }
		if err := oam.Decode("properties", step.Properties, &p); err != nil {
			return nil, err
		}
		if cmp.Or(p.Cluster, policy.Local) != policy.Local {
			return nil, fmt.Errorf("properties.cluster: cluster %q is not known yet: only %q, the cluster Tradewind runs in, is", p.Cluster, policy.Local)
		}
		at := slices.IndexFunc(spec.Components, func(c oam.Component) bool { return c.Name == workflow.Component(step) })
		place := policy.Placement{Cluster: policy.Local, Namespace: p.Namespace}
		return []policy.Instance{{Component: spec.Components[at], Placement: place}}, nil // validated: it exists
	case typeDeploy:
		properties, err := readDeploy(step)
		if err != nil {
			return nil, err
		}
		for _, name := range properties.Policies {
			if !slices.ContainsFunc(spec.Policies, func(p oam.Policy) bool { return p.Name == name }) {
				return nil, fmt.Errorf("properties.policies: %q is neither in spec.policies nor a Policy object in namespace %s", name, x.app.Namespace)
			}
		}
		return x.set.Deploy(properties.Policies, spec.Components)
	}
	return nil, nil
}
