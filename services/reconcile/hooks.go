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
)

// runHooks runs one hook after the other; those that ran are not run again.
func (x *run) runHooks(ctx context.Context, p *part, before bool) (progress, error) {
	hooks, err := p.release.state.Hooks(before)
	if err != nil {
		return progress{}, x.renderProblem(err)
	}
	for _, h := range hooks {
		if h.Passed() {
			continue
		}
		if seen, err := x.runHook(ctx, p, h); err != nil || seen != (progress{}) {
			return seen, err
		}
	}
	return progress{}, nil
}

func (x *run) runHook(ctx context.Context, p *part, h helm.Hook) (progress, error) {
	item, err := x.chartItems(p, p.release.spec.Namespace, []*unstructured.Unstructured{h.Object})
	if err != nil {
		return progress{}, err
	}
	ref := apply.RefOf(item[0].Object)
	live, err := x.cluster.Live(ctx, ref)
	if err != nil {
		return progress{}, x.stepProblem(err)
	}
	if live != nil && !h.IsMine(live) {
		return progress{waiting: fmt.Sprintf("hook %s of an earlier version is going", ref)}, x.removeHook(ctx, ref)
	}
	if live == nil {
		h.Started(x.now())
		if err := x.apply(ctx, item, false); err != nil {
			return progress{}, x.stepProblem(fmt.Errorf("component %q: %w", p.Name, err))
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
func (x *run) removeHook(ctx context.Context, ref apply.ObjectRef) error {
	changes, err := x.cluster.Prune(ctx, x.inv, nil, apply.PruneOptions{
		Check: x.job.Check, Approved: true, AllowEmpty: true,
		Fate: func(e apply.Entry, _ *unstructured.Unstructured) apply.Fate {
			other := e.Ref()
			return apply.Fate{Keep: other.Kind != ref.Kind || other.Group != ref.Group || other.Namespace != ref.Namespace || other.Name != ref.Name}
		},
	})
	x.changes = append(x.changes, changes...)
	if err = errors.Join(err, changes.Err()); err != nil {
		return x.stepProblem(err)
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
