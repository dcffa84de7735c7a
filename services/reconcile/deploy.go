package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// deployProperties are those of a deploy step. How many components go out at once is not
// among them: each is applied in parallel already.
type deployProperties struct {
	Auto        *bool    `json:"auto"`
	Policies    []string `json:"policies"`
	Parallelism int      `json:"parallelism"`
}

func readDeploy(step oam.Step) (deployProperties, error) {
	var p deployProperties
	err := oam.Decode("properties", step.Properties, &p)
	return p, err
}

// deployAll is a step of type deploy: every component goes to its places, after those it
// depends on are healthy there.
func (x *run) deployAll(ctx context.Context, step oam.Step) (workflow.Observation, error) {
	properties, err := readDeploy(step)
	if err != nil {
		return workflow.Observation{}, err
	}
	state := workflow.State(x.status.Workflow, step.Name)
	if properties.Auto != nil && !*properties.Auto && (state == nil || state.Phase != oam.StepRunning) {
		return workflow.Observation{
			Phase: oam.StepSuspending, Reason: workflow.ReasonSuspend, Message: fmt.Sprintf("Waiting approval to the deploy step %q", step.Name),
		}, nil
	}
	parts := x.partsOf(step.Name)
	for progress := true; progress; {
		progress = false
		for _, p := range parts {
			if p.applied || x.missing(p) != "" || !dependenciesDelivered(p, parts) {
				continue
			}
			progress = true
			if err := x.applyPart(ctx, p, policy.OnUpdate); err != nil {
				return workflow.Observation{}, err
			}
			if p.delivered() {
				if err := x.output(ctx, p.Outputs, x.valueOf(ctx, p)); err != nil {
					return workflow.Observation{Phase: oam.StepFailed, Reason: workflow.ReasonOutput, Message: err.Error()}, nil
				}
			}
		}
	}
	if message := x.unhealthy(parts); message != "" {
		return x.waiting(step, message), nil
	}
	return workflow.Observation{Phase: oam.StepSucceeded}, nil
}

// dependenciesDelivered looks at what a part depends on in the same place; what the step
// does not send there is not waited for.
func dependenciesDelivered(p *part, parts []*part) bool {
	return !slices.ContainsFunc(parts, func(other *part) bool {
		needed := slices.Contains(p.DependsOn, other.Name) && other.Placement == p.Placement
		return needed && (other.service == nil || !other.delivered())
	})
}

// unhealthy lists what is not there yet, as KubeVela does, and why; "" when all is well.
func (x *run) unhealthy(parts []*part) string {
	var out []string
	for _, p := range parts {
		id := p.id(x.app.Namespace)
		switch {
		case p.service == nil && x.missing(p) != "":
			out = append(out, fmt.Sprintf("%s is not healthy: it waits for input %s", id, x.missing(p)))
		case p.service == nil:
			out = append(out, fmt.Sprintf("%s is not healthy: it waits for what it depends on", id))
		case !p.delivered():
			out = append(out, strings.TrimSuffix(fmt.Sprintf("%s is not healthy: %s", id, p.service.Message), ": "))
		}
	}
	return strings.Join(out, "; ")
}
