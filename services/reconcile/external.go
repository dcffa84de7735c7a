package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// externalTrust is how late a change of a Policy or Workflow object may be noticed.
const externalTrust = 30 * time.Second

// fetched is an object that the spec refers to, as it was read.
type fetched struct {
	object map[string]any
	at     time.Time
}

// external puts the Policy and Workflow objects that the spec refers to into its place.
func (x *run) external(ctx context.Context) error {
	w := x.app.Spec.Workflow
	if w == nil {
		return nil
	}
	if w.Ref != "" {
		object, err := x.object(ctx, "Workflow", w.Ref)
		if err != nil {
			return parseProblem(fmt.Errorf("spec.workflow.ref: %w", err), err)
		}
		var found oam.Workflow
		if err := oam.Decode("Workflow "+w.Ref, object, &found); err != nil {
			return parseProblem(err, nil)
		}
		found.Ref = ""
		x.app.Spec.Workflow = &found
		if err := oam.Validate(x.app); err != nil {
			return parseProblem(fmt.Errorf("with Workflow %s: %w", w.Ref, err), nil)
		}
	}
	spec := x.app.Spec.Defaulted()
	for _, name := range x.missingPolicies(spec) {
		object, err := x.object(ctx, "Policy", name)
		if apply.IsNotFound(err) {
			continue // placing the step that names it says so
		}
		if err != nil {
			return parseProblem(fmt.Errorf("policy %q: %w", name, err), err)
		}
		p := oam.Policy{Name: name}
		p.Type, _ = object["type"].(string)
		p.Properties, _ = object["properties"].(map[string]any)
		x.app.Spec.Policies = append(spec.Policies, p)
		spec = x.app.Spec
	}
	return nil
}

// missingPolicies lists what deploy steps name and the spec does not have.
func (x *run) missingPolicies(spec oam.Spec) []string {
	var out []string
	for _, s := range spec.Workflow.Steps {
		for _, step := range append([]oam.Step{s}, s.SubSteps...) {
			if step.Type != typeDeploy {
				continue
			}
			properties, err := readDeploy(step)
			if err != nil {
				continue // placing it says so
			}
			for _, name := range properties.Policies {
				if !slices.Contains(out, name) && !slices.ContainsFunc(spec.Policies, func(p oam.Policy) bool { return p.Name == name }) {
					out = append(out, name)
				}
			}
		}
	}
	return out
}

// object reads an object of KubeVela's v1alpha1 in the Application's namespace.
func (x *run) object(ctx context.Context, kind, name string) (map[string]any, error) {
	key := kind + "/" + name
	if known, ok := x.memo.external[key]; ok && x.now().Sub(known.at) < externalTrust {
		return known.object, nil
	}
	o, err := x.cluster.Read(ctx, apply.ObjectRef{Group: oam.Group, Version: "v1alpha1", Kind: kind, Namespace: x.app.Namespace, Name: name})
	if err != nil {
		return nil, err
	}
	x.memo.external[key] = fetched{object: o.Object, at: x.now()}
	return o.Object, nil
}
