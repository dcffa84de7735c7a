package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// Standing is told how an Application stands with the commits that its sources are at,
// whenever that may have changed. It must not block.
type Standing func(app *oam.Application, sources []oam.Source, state forge.State, text string)

// saw notes the commit that a component is about to be rendered from, also when that fails.
func (x *run) saw(component string, src *render.Source, commit string) {
	source := oam.Source{Component: component, URL: src.URL, Ref: refText(src), Commit: commit}
	if !slices.Contains(x.seen, source) {
		x.seen = append(x.seen, source)
	}
}

func (x *run) stands(state forge.State, text string) {
	if x.standing != nil && len(x.seen) > 0 {
		x.standing(x.app, x.seen, state, text)
	}
}

// judge tells what a run came to. The platform's own troubles say nothing of a commit.
func (x *run) judge(p *problem) {
	switch {
	case p != nil && p.result == events.Failure:
		x.stands(forge.Failure, p.reason+": "+p.err.Error())
		return
	case p != nil:
		return
	}
	switch x.status.Phase {
	case oam.PhaseRunning:
		x.stands(forge.Success, "healthy")
	case oam.PhaseWorkflowFailed, oam.PhaseWorkflowTerminated:
		x.stands(forge.Failure, strings.TrimSuffix(fmt.Sprintf("%s: %s", x.status.Phase, x.status.Workflow.Message), ": "))
	case oam.PhaseUnhealthy, oam.PhaseRunningWorkflow, oam.PhaseWorkflowSuspending:
		text := string(x.status.Phase)
		if c := meta.FindStatusCondition(x.status.Conditions, oam.ConditionHealthy); c != nil && c.Message != "" {
			text, _, _ = strings.Cut(c.Message, ", since ")
		}
		x.stands(forge.Pending, text)
	}
}
