package reconcile

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// settled remembers of each Application that was found as it should be what its last look
// read of Git. A commit in which all of it is the same asks for no look. A look that is
// under way is not settled, so what is pushed meanwhile causes another.
type settled struct {
	mu   sync.Mutex
	apps map[events.Key][]settledSource
}

// settledSource is what one component read.
type settledSource struct {
	namespace string
	source    *render.Source
	reads     git.ReadSet
}

func newSettled() *settled { return &settled{apps: map[events.Key][]settledSource{}} }

func (s *settled) set(key events.Key, sources []settledSource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(sources) == 0 {
		delete(s.apps, key)
		return
	}
	s.apps[key] = sources
}

func (s *settled) of(key events.Key) []settledSource {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apps[key]
}

// settle is called at the end of a look.
func (x *run) settle(p *problem) {
	w := x.status.Workflow
	if p != nil || w == nil || !w.Finished || w.Phase != oam.WorkflowSucceeded {
		return
	}
	var sources []settledSource
	for _, part := range x.parts {
		if part.spec.Type == "" || part.source == nil && part.release == nil {
			continue
		}
		known, ok := x.memo.rendered[x.memoKey(part)]
		if !ok || part.source == nil || part.source.Type != render.SourceGit || part.source.Decryption != nil {
			return // it reads more than the files of a commit
		}
		sources = append(sources, settledSource{x.app.Namespace, part.source, known.from.reads})
	}
	x.settled.set(x.job.Key, sources)
}

// deciding bounds how long a router waits for the forge; when it is slow, everyone looks.
const deciding = 5 * time.Second

// affected leaves out the Applications for which a push to repo changed nothing that
// they read.
func (r *Reconciler) affected(ctx context.Context, keys []events.Key, repos []string) []events.Key {
	if !r.sole {
		return keys // another worker may have read something else since
	}
	ctx, cancel := context.WithTimeout(ctx, deciding)
	defer cancel()
	decided := make(chan []events.Key, 1)
	go func() { decided <- r.decide(ctx, keys, repos) }()
	select {
	case left := <-decided:
		return left
	case <-ctx.Done():
		return keys
	}
}

func (r *Reconciler) decide(ctx context.Context, keys []events.Key, repos []string) []events.Key {
	left := make([]events.Key, 0, len(keys))
	for _, key := range keys {
		if !r.unaffected(ctx, r.settled.of(key), repos) {
			left = append(left, key)
		}
	}
	return left
}

func (r *Reconciler) unaffected(ctx context.Context, sources []settledSource, repos []string) bool {
	if len(sources) == 0 {
		return false
	}
	for _, s := range sources {
		if !isAbout(s.source, repos) {
			continue
		}
		tree, err := r.tree(ctx, s.namespace, s.source, time.Time{})
		if err != nil || !s.reads.Unchanged(tree) {
			return false // a look says what is wrong
		}
	}
	return true
}

func isAbout(source *render.Source, repos []string) bool {
	key, err := events.RepoKey(source.URL)
	if err != nil {
		return true
	}
	return slices.Contains(repos, key)
}

// requests remembers when each Application was last asked to be looked at anew, by the
// clock of this worker.
type requests struct {
	mu sync.Mutex
	at map[events.Key]time.Time
}

func newRequests() *requests { return &requests{at: map[events.Key]time.Time{}} }

func (q *requests) note(key events.Key, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.at[key] = now
}

func (q *requests) forget(key events.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.at, key)
}

// since is when the request was heard; one that this worker did not hear is as new as
// now.
func (q *requests) since(key events.Key, now time.Time) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at, ok := q.at[key]; ok {
		return at
	}
	return now
}
