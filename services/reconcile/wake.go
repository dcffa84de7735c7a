package reconcile

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// wakes gathers, without ever blocking a watch, which Applications deserve a look; one
// goroutine hands them to the queue. A key that is gathered twice is asked for once.
type wakes struct {
	mu      sync.Mutex
	pending map[events.Key]events.Cause
	signal  chan struct{}
}

func newWakes() *wakes {
	return &wakes{pending: map[events.Key]events.Cause{}, signal: make(chan struct{}, 1)}
}

func (w *wakes) add(key events.Key, cause events.Cause) {
	w.mu.Lock()
	if old, ok := w.pending[key]; !ok || old == events.CauseDrift {
		w.pending[key] = cause
	}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default: // a hand-over is due already
	}
}

func (w *wakes) take() map[events.Key]events.Cause {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.pending
	w.pending = map[events.Key]events.Cause{}
	return taken
}

// wakeRetry is how long a hand-over that was refused waits for the next try.
const wakeRetry = time.Second

// each hands over what is gathered until ctx ends; what is refused is kept.
func (w *wakes) each(ctx context.Context, hand func(events.Key, events.Cause) error, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.signal:
		}
		var refused error
		for key, cause := range w.take() {
			if err := hand(key, cause); err != nil {
				refused = err
				w.add(key, cause)
			}
		}
		if refused == nil || ctx.Err() != nil {
			continue
		}
		log.Warn("queue refused a trigger", "err", refused)
		select {
		case <-ctx.Done():
		case <-time.After(wakeRetry):
		}
	}
}

// Wake hands over what the watches saw to the queue until ctx ends. Who asks for a look of
// what is as it was is answered without one.
func (r *Reconciler) Wake(ctx context.Context) error {
	var both sync.WaitGroup
	both.Go(func() {
		r.wakes.each(ctx, func(key events.Key, cause events.Cause) error {
			return r.queue.Trigger(ctx, events.Trigger{Key: key, Cause: cause, Time: time.Now()})
		}, r.log)
	})
	both.Go(func() {
		r.asked.each(ctx, func(key events.Key, cause events.Cause) error {
			if !r.asItWas(ctx, key) {
				r.wakes.add(key, cause)
			}
			return nil
		}, r.log)
	})
	both.Wait()
	return nil
}

// onApplication keeps the index and wakes the Application itself when something a run
// depends on changed, and its parent when its own state did. A write of our own status
// alone wakes nobody.
func (r *Reconciler) onApplication(before, after *oam.Application) {
	if after == nil {
		key := events.AppKey(before.Namespace, before.Name)
		r.index.set(key, nil)
		r.types.set(key, oam.Spec{})
		r.changed.broadcast()
		r.wakeParent(before)
		return
	}
	key := events.AppKey(after.Namespace, after.Name)
	asked := before != nil && before.Annotations[oam.AnnotationRequestedAt] != after.Annotations[oam.AnnotationRequestedAt]
	if asked {
		r.requests.note(key, r.now())
	}
	if before == nil || before.Generation != after.Generation {
		r.index.set(key, after.Spec.Components)
		r.types.set(key, after.Spec)
		r.changed.broadcast()
	}
	switch {
	case before == nil:
		r.wakes.add(key, events.CauseManual)
	case before.Generation != after.Generation,
		before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero(),
		before.Labels[oam.LabelPause] != after.Labels[oam.LabelPause],
		annotated(before, after), editedWorkflow(after.Status.Workflow):
		r.wakes.add(key, events.CauseManual)
	case asked:
		r.asked.add(key, events.CauseManual)
	}
	if before == nil || summarize(before) != summarize(after) {
		r.wakeParent(after)
	}
}

// annotated says that an annotation changed that a look has to heed.
func annotated(before, after *oam.Application) bool {
	return slices.ContainsFunc([]string{
		oam.AnnotationPublishVersion, oam.AnnotationWorkflow, oam.AnnotationRestartWorkflow, oam.AnnotationInterval, oam.AnnotationServiceAccount, AnnotationPrune,
	}, func(name string) bool { return before.Annotations[name] != after.Annotations[name] })
}

// editedWorkflow says that another client wrote into the state of a run: what we write
// ourselves agrees with its phase.
func editedWorkflow(w *oam.WorkflowStatus) bool {
	return w != nil && !w.Finished && (w.Terminated || w.Suspend != (w.Phase == oam.WorkflowSuspending))
}

// summarize is the part of a child's state that its parent shows.
func summarize(app *oam.Application) string {
	parts := []string{string(app.Status.Phase)}
	for _, s := range app.Status.Services {
		if !s.Healthy {
			parts = append(parts, s.Name, s.Message)
		}
	}
	return strings.Join(parts, "\x00")
}

// wakeParent wakes the Application whose Git path holds app.
func (r *Reconciler) wakeParent(app *oam.Application) {
	namespace, name, ok := strings.Cut(app.Labels[oam.LabelSource], ".")
	if ok {
		r.wakes.add(events.AppKey(namespace, name), events.CauseDrift)
	}
}

// onObject wakes the owner of an object that changed in the cluster.
func (r *Reconciler) onObject(owner apply.Owner, _ apply.ObjectRef, _ bool) {
	r.wakes.add(events.AppKey(owner.Namespace, owner.Name), events.CauseDrift)
}

// broadcaster tells any number of listeners that something changed, without saying what.
type broadcaster struct {
	mu sync.Mutex
	ch chan struct{}
}

func newBroadcaster() *broadcaster { return &broadcaster{ch: make(chan struct{})} }

func (b *broadcaster) broadcast() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ch)
	b.ch = make(chan struct{})
}

// next is closed at the next change.
func (b *broadcaster) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ch
}
