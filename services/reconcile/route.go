package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// index answers which Applications look at a repository and ref. It is fed by the watch
// of Applications and read for every event.
type index struct {
	mu     sync.RWMutex
	byRepo map[string]map[watch]bool
	byApp  map[events.Key][]watched
}

// watch is one component's interest in one repository: a full ref, or "" for any
// (the default branch, a version range, a fixed commit's repository).
type watch struct {
	key events.Key
	ref string
}

type watched struct {
	repo string
	watch
}

func newIndex() *index {
	return &index{byRepo: map[string]map[watch]bool{}, byApp: map[events.Key][]watched{}}
}

// set replaces what is known of one Application; no components forgets it.
func (x *index) set(key events.Key, components []oam.Component) {
	interests := interestsOf(key, components)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, old := range x.byApp[key] {
		delete(x.byRepo[old.repo], old.watch)
		if len(x.byRepo[old.repo]) == 0 {
			delete(x.byRepo, old.repo)
		}
	}
	delete(x.byApp, key)
	if len(interests) == 0 {
		return
	}
	x.byApp[key] = interests
	for _, w := range interests {
		if x.byRepo[w.repo] == nil {
			x.byRepo[w.repo] = map[watch]bool{}
		}
		x.byRepo[w.repo][w.watch] = true
	}
}

// interestsOf leaves out components whose source is not valid: the run of their
// Application says why.
func interestsOf(key events.Key, components []oam.Component) []watched {
	var out []watched
	for _, c := range components {
		src, err := sourceOf(c)
		if err != nil || src == nil {
			continue
		}
		if repo, ref, ok := interestOf(src); ok {
			out = append(out, watched{repo: repo, watch: watch{key: key, ref: ref}})
		}
	}
	return out
}

// fixedRef is the full ref a source names, or "" when which ref it means is decided by
// the repository (default branch, version range).
func fixedRef(src *render.Source) string {
	switch {
	case src.Commit != "":
		return "" // never moves; a push can only make it appear
	case src.RefName != "":
		return src.RefName
	case src.SemVer != "":
		return ""
	case src.Tag != "":
		return "refs/tags/" + src.Tag
	case src.Branch != "":
		return "refs/heads/" + src.Branch
	default:
		return ""
	}
}

// match returns the keys interested in any of the repos at ref, sorted.
func (x *index) match(repos []string, ref string) []events.Key {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := map[events.Key]bool{}
	for _, repo := range repos {
		for w := range x.byRepo[repo] {
			if w.ref == "" || w.ref == ref {
				found[w.key] = true
			}
		}
	}
	keys := make([]events.Key, 0, len(found))
	for k := range found {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// interested counts the Applications that look at any of the repos, whatever the ref.
func (x *index) interested(repos []string) int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := map[events.Key]bool{}
	for _, repo := range repos {
		for w := range x.byRepo[repo] {
			found[w.key] = true
		}
	}
	return len(found)
}

// Watching counts the Applications that look at any of the repositories at ref.
func (r *Reconciler) Watching(repos []string, ref string) int {
	return len(r.index.match(repos, ref))
}

// Route turns an event into the looks it asks for.
func (r *Reconciler) Route(ctx context.Context, ev events.Event) ([]events.Trigger, error) {
	push, err := ev.Pushed()
	if err != nil {
		return nil, events.Drop(fmt.Errorf("routing: %w", err))
	}
	cause := events.CauseWebhook
	switch {
	case strings.HasPrefix(ev.Source, "/poll"):
		cause = events.CausePoll
	case strings.HasPrefix(ev.Source, "/bump"):
		cause = events.CauseImage
	}
	matched := r.index.match(push.Repos, push.Ref)
	if len(matched) > 0 && r.warm != nil {
		go r.warm() // while it is found out whom of them it concerns
	}
	keys := r.affected(ctx, matched, push.Repos)
	triggers := make([]events.Trigger, 0, len(keys))
	for _, key := range keys {
		triggers = append(triggers, events.Trigger{Key: key, Cause: cause, Event: ev.ID, Time: ev.Time})
	}
	r.log.Info("event routed", "event", ev.ID, "type", string(ev.Type), "repo", cmp.Or(push.Repos...),
		"ref", push.Ref, "commit", push.After, "cause", string(cause), "matched", len(matched), "affected", len(keys))
	return triggers, nil
}
