package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// runHooks runs one hook after the other; those that ran are not run again.
func (x *run) runHooks(ctx context.Context, inv *apply.Inventory, c component, rc render.Context, before bool) (progress, error) {
	hooks, err := c.release.state.Hooks(before)
	if err != nil {
		return progress{}, x.renderProblem(err)
	}
	for _, h := range hooks {
		if h.Passed() {
			continue
		}
		p, err := x.runHook(ctx, inv, c, rc, h)
		if err != nil || p != (progress{}) {
			return p, err
		}
	}
	return progress{}, nil
}

func (x *run) runHook(ctx context.Context, inv *apply.Inventory, c component, rc render.Context, h helm.Hook) (progress, error) {
	made, err := x.renderer.Charted(c.spec, rc, c.release.spec.Namespace, []*unstructured.Unstructured{h.Object})
	if err != nil {
		return progress{}, x.renderProblem(err)
	}
	item := items(c.spec.Name, made)
	ref := apply.RefOf(item[0].Object)
	live, err := x.cluster.Live(ctx, ref)
	if err != nil {
		return progress{}, applyProblem(oam.ConditionWorkflow, "FailedApply", err)
	}
	if live != nil && !h.IsMine(live) {
		return progress{waiting: fmt.Sprintf("hook %s of an earlier version is going", ref)}, x.removeHook(ctx, inv, ref)
	}
	if live == nil {
		h.Started(x.now())
		if err := x.applyItems(ctx, inv, c, item); err != nil {
			return progress{}, err
		}
		if live, err = x.cluster.Live(ctx, ref); err != nil || live == nil {
			return progress{waiting: fmt.Sprintf("hook %s has started", ref)}, err
		}
	}
	over, well, message := helm.End(live)
	switch {
	case !over:
		return progress{waiting: "hook " + message}, nil
	case !well:
		h.Ended(x.now(), false)
		return progress{failed: "hook " + message + x.lastWords(ctx, live)}, nil
	}
	h.Ended(x.now(), true)
	return progress{}, nil
}

// removeHook deletes one object of the inventory, and nothing else.
func (x *run) removeHook(ctx context.Context, inv *apply.Inventory, ref apply.ObjectRef) error {
	changes, err := x.cluster.Prune(ctx, inv, nil, apply.PruneOptions{
		Check: x.job.Check, Approved: true, AllowEmpty: true,
		Keep: func(e apply.Entry) bool {
			other := e.Ref()
			return other.Kind != ref.Kind || other.Group != ref.Group || other.Namespace != ref.Namespace || other.Name != ref.Name
		},
	})
	x.changes = append(x.changes, changes...)
	if err = errors.Join(err, changes.Err()); err != nil {
		return applyProblem(oam.ConditionWorkflow, "FailedPrune", err)
	}
	x.wakeAt(x.now().Add(time.Second))
	return nil
}

// lastWords is the last line that the newest pod of a hook wrote, or how it ended; empty
// when neither can be read. A log may not be readable by us, so this is never an error.
func (x *run) lastWords(ctx context.Context, live *unstructured.Unstructured) string {
	pods := []*unstructured.Unstructured{live}
	if live.GetKind() != "Pod" {
		var err error
		if pods, err = x.cluster.Pods(ctx, live.GetNamespace(), "batch.kubernetes.io/job-name="+live.GetName()); err != nil || len(pods) == 0 {
			return ""
		}
	}
	pod := slices.MaxFunc(pods, func(a, b *unstructured.Unstructured) int {
		return a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time)
	})
	container, how := helm.FailedContainer(pod)
	const lines, most = 5, 4 << 10
	log, err := x.cluster.Logs(ctx, pod.GetNamespace(), pod.GetName(), apply.LogOptions{Container: container, Tail: lines})
	if err == nil {
		defer func() { _ = log.Close() }() // was read as far as it matters
		text, _ := io.ReadAll(io.LimitReader(log, most))
		if all := strings.Split(strings.TrimSpace(string(text)), "\n"); all[len(all)-1] != "" {
			return fmt.Sprintf(": %s said %q", container, all[len(all)-1])
		}
	}
	if how != "" {
		return fmt.Sprintf(": %s %s", container, how)
	}
	return ""
}
