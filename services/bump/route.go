package bump

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// source is where our own events enter.
const source = "/bump"

// OnApplication keeps the index and remembers which branches a change concerns; a write
// of a status concerns none. It never blocks: it is called by a watch.
func (b *Bumper) OnApplication(before, after *oam.Application) {
	var keys []events.Key
	switch {
	case after == nil:
		keys = b.index.set(events.AppKey(before.Namespace, before.Name), nil)
	case before == nil || before.Generation != after.Generation || before.Labels[oam.LabelPause] != after.Labels[oam.LabelPause] ||
		before.Annotations[oam.AnnotationRequestedAt] != after.Annotations[oam.AnnotationRequestedAt]:
		keys = b.index.set(events.AppKey(after.Namespace, after.Name), policiesOf(after))
	}
	if before != nil && len(keys) > 0 {
		b.forget()
	}
	b.wakes.add(keys)
}

// forget drops what is remembered of images that no policy looks at any more.
func (b *Bumper) forget() {
	b.images.mu.Lock()
	defer b.images.mu.Unlock()
	maps.DeleteFunc(b.images.known, func(id string, _ *image) bool {
		want, _, _ := strings.Cut(id, " ")
		return len(b.index.ofImages([]string{want})) == 0
	})
}

// wakes gathers keys that deserve a look until the queue has them.
type wakes struct {
	mu      sync.Mutex
	pending map[events.Key]bool
	signal  chan struct{}
}

func newWakes() *wakes { return &wakes{pending: map[events.Key]bool{}, signal: make(chan struct{}, 1)} }

func (w *wakes) add(keys []events.Key) {
	if len(keys) == 0 {
		return
	}
	w.mu.Lock()
	for _, key := range keys {
		w.pending[key] = true
	}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default: // a hand-over is due already
	}
}

func (w *wakes) take() []events.Key {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := slices.Sorted(maps.Keys(w.pending))
	clear(w.pending)
	return keys
}

// wakeRetry is how long a queue that refuses is left alone.
const wakeRetry = time.Second

// Wake hands over what changes of Applications asked for until ctx ends.
func (b *Bumper) Wake(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.wakes.signal:
		}
		var refused []events.Key
		for _, key := range b.wakes.take() {
			if err := b.cfg.Queue.Trigger(ctx, events.Trigger{Key: key, Cause: events.CauseManual, Time: b.now()}); err != nil {
				b.log.Warn("queue refused a trigger", "key", string(key), "err", err)
				refused = append(refused, key)
			}
		}
		if len(refused) == 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wakeRetry):
			b.wakes.add(refused)
		}
	}
}

// WatchingImage counts the policies that choose among the tags of any of the images.
func (b *Bumper) WatchingImage(imageKeys []string) int { return len(b.index.ofImages(imageKeys)) }

// Route turns an event into the looks it asks for: at the branches whose policies could
// choose a pushed tag, and at a branch that somebody else pushed to.
func (b *Bumper) Route(_ context.Context, ev events.Event) ([]events.Trigger, error) {
	switch ev.Type {
	case events.TypeArtifactPublished:
		return b.routeImage(ev)
	case events.TypeSourcePushed:
		return b.routePush(ev)
	}
	return nil, nil
}

func (b *Bumper) routeImage(ev events.Event) ([]events.Trigger, error) {
	image, err := ev.Published()
	if err != nil {
		return nil, events.Drop(fmt.Errorf("routing: %w", err))
	}
	keys, policies := map[events.Key]bool{}, b.index.ofImages(image.Images)
	for _, p := range policies {
		if p.auto.Policy.Matches(image.Tag) == nil {
			keys[p.key] = true
		}
	}
	b.log.Info("event routed", "event", ev.ID, "type", string(ev.Type), "image", ev.Subject,
		"cause", string(events.CauseImage), "policies", len(policies), "matched", len(keys))
	return triggers(keys, ev, events.CauseImage), nil
}

// routePush leaves out what we pushed ourselves: nothing can be left to do there.
func (b *Bumper) routePush(ev events.Event) ([]events.Trigger, error) {
	push, err := ev.Pushed()
	if err != nil {
		return nil, events.Drop(fmt.Errorf("routing: %w", err))
	}
	name, ok := strings.CutPrefix(push.Ref, "refs/heads/")
	if !ok || ev.Source == source || push.Deleted {
		return nil, nil
	}
	cause := events.CauseWebhook
	if strings.HasPrefix(ev.Source, "/poll") {
		cause = events.CausePoll
	}
	keys := map[events.Key]bool{}
	for _, repo := range push.Repos {
		key := events.BranchKey(repo, name)
		if len(b.index.ofBranch(key)) > 0 && !b.ours(key, git.Commit(push.After)) {
			keys[key] = true
		}
		for _, p := range b.index.ofMerge(key) { // it may have been the merge
			keys[p.key] = true
		}
	}
	return triggers(keys, ev, cause), nil
}

func (b *Bumper) ours(key events.Key, commit git.Commit) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.branches[key]
	return known != nil && commit != "" && known.pushed == commit
}

func triggers(keys map[events.Key]bool, ev events.Event, cause events.Cause) []events.Trigger {
	var out []events.Trigger
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		out = append(out, events.Trigger{Key: key, Cause: cause, Event: ev.ID, Time: ev.Time})
	}
	return out
}

// A burst is commits that follow each other within this time; maxWindow bounds how long
// one waits for the others.
const (
	burst     = 5 * time.Second
	maxWindow = 2 * time.Second
)

// gather waits until the images of a burst are announced, the longer the more commits
// there were already. It holds a slot of the worker meanwhile, but not for long; a branch
// that was quiet does not wait at all, unless a component asks for it.
func (b *Bumper) gather(ctx context.Context, key events.Key, policies []*policy) {
	window := b.window(key, policies)
	if window <= 0 {
		return
	}
	began, heard := b.now(), b.heard(ctx, policies)
	for b.now().Sub(began) < max(maxWindow, window) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(window):
		}
		now := b.heard(ctx, policies)
		if now == heard {
			return
		}
		heard = now
	}
}

// window is for how long nothing must be announced before the next commit.
func (b *Bumper) window(key events.Key, policies []*policy) time.Duration {
	var asked time.Duration
	for _, p := range policies {
		if p.auto != nil && p.auto.BatchWindow != nil {
			asked = max(asked, *p.auto.BatchWindow)
		}
	}
	last := b.branch(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now().Sub(last.at) > burst {
		last.inBurst = 0
		return asked
	}
	return max(asked, min(b.cfg.Window<<min(last.inBurst, 8), maxWindow))
}

// heard is a number that changes when an image is announced.
func (b *Bumper) heard(ctx context.Context, policies []*policy) (sum uint64) {
	for _, p := range policies {
		if p.err != nil {
			continue
		}
		news, _, err := b.cfg.Queue.Announced(ctx, p.want, b.images.mark(b.imageID(p)))
		if err != nil {
			continue // the look itself says so
		}
		sum += uint64(len(news))
	}
	return sum
}
