package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// pendingTrait is what KubeVela shows of a trait that waits for its component.
const pendingTrait = "⏳ Waiting for component to be healthy"

// applyComponent is a step of type apply-component.
func (x *run) applyComponent(ctx context.Context, step oam.Step) (workflow.Observation, map[string]any, error) {
	parts := x.partsOf(step.Name) // one: overrides and places belong to deploy
	if len(parts) == 0 {
		return workflow.Observation{Phase: oam.StepSucceeded}, map[string]any{}, nil
	}
	p := parts[0]
	if err := x.applyPart(ctx, p, policy.OnUpdate); err != nil {
		return workflow.Observation{}, nil, err
	}
	if !p.delivered() {
		return x.waiting(step, "wait healthy: "+p.service.Message), nil, nil
	}
	return workflow.Observation{Phase: oam.StepSucceeded}, x.valueOf(ctx, p), nil
}

// waiting says for what a step waits, and since when.
func (x *run) waiting(step oam.Step, message string) workflow.Observation {
	since := x.now()
	if s := workflow.State(x.status.Workflow, step.Name); s != nil && s.FirstExecuteTime != nil {
		since = s.FirstExecuteTime.Time
	}
	message = strings.TrimSuffix(message, ": ") + ", since " + since.UTC().Format(time.RFC3339)
	return workflow.Observation{Phase: oam.StepRunning, Reason: workflow.ReasonWait, Message: message}
}

// delivered says that nobody has to wait for the part. A Git path counts as delivered
// once it is applied: it must not hold back the first sync because of something in it
// that waits for another path.
func (p *part) delivered() bool { return p.service.Healthy || p.source != nil }

// applyPart applies one part, what is to come after its workload only when that is
// healthy, and looks at its health.
func (x *run) applyPart(ctx context.Context, p *part, stage policy.Stage) error {
	if p.rendered == nil {
		if err := x.renderPart(ctx, p); err != nil {
			return err
		}
	}
	if p.release != nil {
		return x.applyRelease(ctx, p, stage)
	}
	before, usual, after := staged(p.rendered.Objects)
	for _, objects := range [][]render.Object{before, usual} {
		if err := x.applyObjects(ctx, p, stage, objects); err != nil {
			return err
		}
	}
	p.applied = true
	service := x.health(ctx, p)
	if len(after) > 0 && service.WorkloadHealthy {
		if err := x.applyObjects(ctx, p, stage, after); err != nil {
			return err
		}
		service = x.health(ctx, p)
	} else if len(after) > 0 {
		postpone(&service, after)
	}
	p.service = &service
	return nil
}

func (x *run) applyObjects(ctx context.Context, p *part, stage policy.Stage, objects []render.Object) error {
	err := x.apply(ctx, x.items(p, stage, objects), p.source != nil)
	if err == nil {
		return nil
	}
	return x.stepProblem(fmt.Errorf("component %q: %w", p.Name, err))
}

// stepProblem is a problem of a step. One that is no answer of the API server is the end
// of this look.
func (x *run) stepProblem(err error) *problem {
	p, ok := errors.AsType[*problem](applyProblem(oam.ConditionWorkflow, "FailedApply", err))
	if !ok {
		return &problem{stage: events.StageApply, condition: oam.ConditionWorkflow, reason: "FailedApply", result: events.Failure, err: err}
	}
	_, known := errors.AsType[*apply.Error](err)
	p.fatal = !known
	return p
}

// postpone shows the traits that wait for the workload.
func postpone(s *oam.Service, after []render.Object) {
	for i := range s.Traits {
		t := &s.Traits[i]
		if slices.ContainsFunc(after, func(o render.Object) bool { return o.Trait == t.Type }) {
			t.Pending, t.Healthy, t.Message = true, false, pendingTrait
		}
	}
}

// valueOf is what the outputs of a component speak of: its live objects.
func (x *run) valueOf(ctx context.Context, p *part) map[string]any {
	outputs := map[string]any{}
	value := map[string]any{"outputs": outputs, "context": x.about()}
	for i, o := range p.rendered.Objects {
		live := x.live(ctx, p, o)
		if live == nil {
			live = o.Unstructured
		}
		o.Unstructured = live // of this copy of the render.Object
		place(value, outputs, o, i == 0)
	}
	return value
}

// place puts an object where templates and outputs look for it.
func place(value, outputs map[string]any, o render.Object, first bool) {
	switch {
	case o.Role == oam.ResourceWorkload || first && o.Role == "":
		value["output"] = o.Object
	case o.Key != "":
		outputs[o.Key] = o.Object
	}
}

// output evaluates the outputs of a step or component.
func (x *run) output(ctx context.Context, outputs []oam.Output, value map[string]any) error {
	for _, o := range outputs {
		v, err := x.renderer.ValueFrom(ctx, o.ValueFrom, value)
		if err != nil {
			return fmt.Errorf("output %q: valueFrom %q: %w", o.Name, o.ValueFrom, err)
		}
		x.setValue(o.Name, v)
	}
	return nil
}
