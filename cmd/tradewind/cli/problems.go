package cli

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// problems lists the conditions that say what is wrong. Ready only repeats the one that
// made it false, so it counts when it is alone.
func problems(app *oam.Application) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range app.Status.Conditions {
		bad := c.Status == metav1.ConditionFalse
		if c.Type == oam.ConditionStalled {
			bad = c.Status == metav1.ConditionTrue
		}
		if bad {
			out = append(out, c)
		}
	}
	if len(out) < 2 {
		return out
	}
	return slices.DeleteFunc(out, func(c metav1.Condition) bool {
		repeated := slices.ContainsFunc(out, func(o metav1.Condition) bool { return o.Type != c.Type && o.Message == c.Message })
		return (c.Type == oam.ConditionReady || c.Type == oam.ConditionStalled) && repeated
	})
}

// hintFor is the next step for a reason of the conventions, or for a condition whose
// reason is KubeVela's one for all of them.
func hintFor(c metav1.Condition) string {
	switch c.Reason {
	case "FailedParse", "FailedRender":
		return "mend the manifest and push; tradewind render -f <file> shows the same error before that"
	case "FailedFetch":
		return "check url, ref and secretRef of the component; the next push or pullInterval tries again"
	case "FailedApply":
		return "mend what the message names; the delivery is tried again by itself"
	case "ConflictingOwner":
		return "an object has one owner: rename it here, or remove it there"
	case "PruneHeld":
		return "if the deletion is meant, approve it as the message says; if not, restore the files"
	case "FailedPrune", "FailedGC":
		return "see what keeps the object from going: its finalizers, or a missing right"
	case "FailedHealth":
		return "kubectl describe and kubectl logs of the object that the message names say more"
	case "DependencyNotReady":
		return "tradewind status of what it waits for says why"
	case "FailedVerify":
		return "the commit is not signed by a trusted key: sign and push again"
	case "FailedWorkflow":
		return "the step that failed is listed above with its message"
	}
	switch c.Type {
	case oam.ConditionParsed, oam.ConditionRender:
		return hintFor(metav1.Condition{Reason: "FailedRender"})
	case oam.ConditionFetched:
		return hintFor(metav1.Condition{Reason: "FailedFetch"})
	case oam.ConditionWorkflow:
		return hintFor(metav1.Condition{Reason: "FailedWorkflow"})
	}
	return ""
}
