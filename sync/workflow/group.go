package workflow

import (
	"slices"
	"strings"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// judgeGroup derives the state of a group from its sub-steps.
func (r *run) judgeGroup(group *node) Observation {
	subs := r.state(group).SubSteps
	count := map[oam.StepPhase]int{}
	var failed, reasons []string
	for _, s := range subs {
		count[s.Phase]++
		if s.Phase == oam.StepFailed {
			failed, reasons = append(failed, s.Name), append(reasons, s.Reason)
		}
	}
	switch total := len(group.SubSteps); {
	case len(subs) < total || count[oam.StepRunning] > 0:
		return Observation{Phase: oam.StepRunning}
	case count[oam.StepSuspending] > 0:
		return Observation{Phase: oam.StepSuspending}
	case count[oam.StepPending] > 0: // a group that began stays begun
		return Observation{Phase: oam.StepRunning}
	case len(failed) > 0:
		return Observation{oam.StepFailed, gravest(reasons), "failed: " + strings.Join(failed, ", ")}
	case total > 0 && count[oam.StepSkipped] == total:
		return Observation{Phase: oam.StepSkipped, Reason: ReasonSkip}
	default:
		return Observation{Phase: oam.StepSucceeded}
	}
}

// gravest chooses the reason of a group among those of its sub-steps as KubeVela does.
func gravest(reasons []string) string {
	for _, r := range []string{ReasonRetries, ReasonTimeout, ReasonAction, ReasonTerminate} {
		if slices.Contains(reasons, r) {
			return r
		}
	}
	return reasons[0]
}
