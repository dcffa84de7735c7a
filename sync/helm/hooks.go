package helm

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"helm.sh/helm/v4/pkg/release/common"
	rspb "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// annotationVersion on the object of a hook says for which version of the release it ran.
const annotationVersion = "helm.tradewind.dev/version"

// Hook is one object that has to run to its end at a moment in the life of a release.
type Hook struct {
	Object  *unstructured.Unstructured
	release *Release
	hook    *rspb.Hook
}

// Hooks are the hooks of the latest version before (or after) its objects are applied,
// in the order in which they run.
func (r *Release) Hooks(before bool) ([]Hook, error) {
	event := r.event(before)
	var out []Hook
	for _, h := range r.last().Hooks {
		if !slices.Contains(h.Events, event) {
			continue
		}
		objects, err := parse(h.Manifest)
		if err != nil {
			return nil, fmt.Errorf("hook %s: %w", h.Path, err)
		}
		for _, o := range objects {
			own(o, r.Name, r.Namespace)
			annotations := o.GetAnnotations()
			annotations[annotationVersion] = strconv.Itoa(r.last().Version)
			o.SetAnnotations(annotations)
			out = append(out, Hook{Object: o, release: r, hook: h})
		}
	}
	slices.SortStableFunc(out, func(a, b Hook) int { return a.hook.Weight - b.hook.Weight })
	return out, nil
}

func (r *Release) event(before bool) rspb.HookEvent {
	last := r.last()
	switch {
	case last.Info.Status == common.StatusPendingRollback && before:
		return rspb.HookPreRollback
	case last.Info.Status == common.StatusPendingRollback:
		return rspb.HookPostRollback
	case last.Info.Status == common.StatusPendingUpgrade && before:
		return rspb.HookPreUpgrade
	case last.Info.Status == common.StatusPendingUpgrade:
		return rspb.HookPostUpgrade
	case before:
		return rspb.HookPreInstall
	}
	return rspb.HookPostInstall
}

// Unrun names the events of hooks that are never run here: those of an uninstall, which
// is a prune, and tests.
func (r *Release) Unrun() []string {
	var out []string
	for _, h := range r.last().Hooks {
		for _, e := range h.Events {
			if (e == rspb.HookPreDelete || e == rspb.HookPostDelete) && !slices.Contains(out, string(e)) {
				out = append(out, string(e))
			}
		}
	}
	return out
}

// Passed says that the hook has run to a good end.
func (h Hook) Passed() bool { return h.hook.LastRun.Phase == rspb.HookPhaseSucceeded }

// IsMine says that a live object is this run of the hook, and not one of an earlier
// version.
func (h Hook) IsMine(live *unstructured.Unstructured) bool {
	return live.GetAnnotations()[annotationVersion] == strconv.Itoa(h.release.last().Version)
}

// Started notes that the hook runs.
func (h Hook) Started(now time.Time) {
	h.hook.LastRun = rspb.HookExecution{StartedAt: now.UTC(), Phase: rspb.HookPhaseRunning}
	h.release.last().changed = true
}

// Ended notes how the hook went.
func (h Hook) Ended(now time.Time, well bool) {
	h.hook.LastRun.CompletedAt, h.hook.LastRun.Phase = now.UTC(), rspb.HookPhaseSucceeded
	if !well {
		h.hook.LastRun.Phase = rspb.HookPhaseFailed
	}
	h.release.last().changed = true
}

// Stays says that the object of a hook that has run is left in the cluster: it is, unless
// its delete policy says otherwise.
func (h Hook) Stays() bool {
	switch h.hook.LastRun.Phase {
	case rspb.HookPhaseSucceeded:
		return !slices.Contains(h.hook.DeletePolicies, rspb.HookSucceeded)
	case rspb.HookPhaseFailed:
		return !slices.Contains(h.hook.DeletePolicies, rspb.HookFailed)
	}
	return true
}

// Ran are the hooks of all kept versions that ran and whose objects stay.
func (r *Release) Ran() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	seen := map[string]bool{}
	for _, rec := range slices.Backward(r.records) {
		for _, h := range rec.Hooks {
			id := h.Kind + " " + h.Name
			if h.LastRun.StartedAt.IsZero() || seen[id] {
				continue
			}
			seen[id] = true                                                               // the latest run decides
			if objects, err := parse(h.Manifest); err == nil && (Hook{hook: h}).Stays() { // it was applied from it
				out = append(out, objects...)
			}
		}
	}
	return out
}

// End reads off a live object whether the hook is over: Jobs and Pods run to an end, all
// else is done when it is there.
func End(live *unstructured.Unstructured) (over, well bool, message string) {
	id := live.GetKind() + " " + live.GetName()
	switch live.GetKind() {
	case "Pod":
		phase, _, _ := unstructured.NestedString(live.Object, "status", "phase")
		message, _, _ = unstructured.NestedString(live.Object, "status", "message")
		return phase == "Succeeded" || phase == "Failed", phase == "Succeeded", fmt.Sprintf("%s is %s %s", id, phase, message)
	case "Job":
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, c := range conditions {
			condition, _ := c.(map[string]any)
			if condition["status"] != "True" {
				continue
			}
			switch condition["type"] {
			case "Complete":
				return true, true, ""
			case "Failed":
				return true, false, fmt.Sprintf("%s failed: %v (%v)", id, condition["message"], condition["reason"])
			}
		}
		return false, false, id + " is running"
	}
	return true, true, ""
}

// FailedContainer is the container of a pod that failed, or its first, and how it ended.
func FailedContainer(pod *unstructured.Unstructured) (name, how string) {
	specs, _, _ := unstructured.NestedSlice(pod.Object, "spec", "containers")
	if len(specs) > 0 {
		first, _ := specs[0].(map[string]any)
		name, _ = first["name"].(string)
	}
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		statuses, _, _ := unstructured.NestedSlice(pod.Object, "status", field)
		for _, s := range statuses {
			status, _ := s.(map[string]any)
			ended, ok, _ := unstructured.NestedMap(status, "state", "terminated")
			if code, _ := ended["exitCode"].(int64); !ok || code == 0 {
				continue
			}
			name, _ = status["name"].(string)
			how = fmt.Sprintf("ended with code %v", ended["exitCode"])
			for _, more := range []string{"reason", "message"} {
				if text, _ := ended[more].(string); text != "" {
					how += " " + text
				}
			}
			return name, how
		}
	}
	return name, ""
}
