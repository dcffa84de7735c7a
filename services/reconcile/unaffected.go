package reconcile

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// settled remembers of each Application that was found as it should be what that rests on.
// A commit in which all that was read is the same asks for no look, and somebody who asks
// for one anyway can be answered without. A look that is under way is not settled, so what
// is pushed meanwhile causes another.
type settled struct {
	mu   sync.Mutex
	apps map[events.Key]*settledApp
}

// settledApp is what the last look read of Git and what it found in the cluster.
type settledApp struct {
	cluster *apply.Cluster
	owner   apply.Owner
	items   []apply.Item
	sources []settledSource
}

// settledSource is what one component read.
type settledSource struct {
	namespace string
	source    *render.Source
	reads     git.ReadSet
}

func newSettled() *settled { return &settled{apps: map[events.Key]*settledApp{}} }

// set takes nil for an Application of which nothing is known any more.
func (s *settled) set(key events.Key, app *settledApp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if app == nil {
		delete(s.apps, key)
		return
	}
	s.apps[key] = app
}

func (s *settled) of(key events.Key) *settledApp {
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
	app := &settledApp{cluster: x.cluster, owner: x.owner, items: slices.Clone(x.policyItems)}
	for _, part := range x.parts {
		known, ok := x.memo.rendered[x.memoKey(part)]
		if !ok || !part.applied {
			return // a chart, or what a step has made of it
		}
		app.items = append(app.items, x.items(part, policy.OnStateKeep, part.rendered.Objects)...)
		if part.source == nil {
			continue
		}
		if part.source.Type != render.SourceGit || part.source.Decryption != nil {
			return // it reads more than the files of a commit
		}
		app.sources = append(app.sources, settledSource{x.app.Namespace, part.source, known.from.reads})
	}
	x.settled.set(x.job.Key, app)
}

// deciding bounds how long a decision waits for the forge; when it is slow, everyone looks.
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
	now := r.newTrees(time.Time{})
	about := map[string]bool{} // by URL
	left := make([]events.Key, 0, len(keys))
	for _, key := range keys {
		app := r.settled.of(key)
		if app == nil || len(app.sources) == 0 || !now.same(ctx, app, func(url string) bool {
			is, known := about[url]
			if !known {
				is = isAbout(url, repos)
				about[url] = is
			}
			return is
		}) {
			left = append(left, key)
		}
	}
	return left
}

// trees are the sources as they are now, each found once for all Applications that are
// decided about together.
type trees struct {
	*Reconciler
	newerThan time.Time // they are asked anew unless they were since then
	known     map[treeID]foundTree
}

// treeID is what a tree depends on.
type treeID struct {
	namespace, secret, url string
	ref                    git.Ref
}

func treeIDOf(namespace string, src *render.Source) treeID {
	id := treeID{secret: src.SecretName, url: src.URL, ref: refOf(src)}
	if src.SecretName != "" { // without one it is the same for every namespace
		id.namespace = namespace
	}
	return id
}

type foundTree struct {
	tree *git.Tree
	err  error
}

func (r *Reconciler) newTrees(newerThan time.Time) *trees {
	return &trees{Reconciler: r, newerThan: newerThan, known: map[treeID]foundTree{}}
}

func (t *trees) of(ctx context.Context, s settledSource) (*git.Tree, error) {
	id := treeIDOf(s.namespace, s.source)
	found, ok := t.known[id]
	if !ok {
		found.tree, found.err = t.tree(ctx, s.namespace, s.source, t.newerThan)
		t.known[id] = found
	}
	return found.tree, found.err
}

// same says that the sources whose URL about chooses hold what an Application read of
// them.
func (t *trees) same(ctx context.Context, app *settledApp, about func(url string) bool) bool {
	for _, s := range app.sources {
		if !about(s.source.URL) {
			continue
		}
		tree, err := t.of(ctx, s)
		if err != nil || !s.reads.Unchanged(tree) {
			return false // a look says what is wrong
		}
	}
	return true
}

// asItWas says, for somebody who asks, that an Application is as its last look left it:
// its sources are asked, and its objects compared with what the watches know. It is what a
// look would find, without the rest of a look.
func (r *Reconciler) asItWas(ctx context.Context, key events.Key) bool {
	app := r.settled.of(key)
	if app == nil || !r.sole {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, deciding)
	defer cancel()
	every := func(string) bool { return true }
	if !r.newTrees(r.requests.since(key, r.now())).same(ctx, app, every) || !app.cluster.Holds(ctx, app.owner, app.items) {
		return false
	}
	r.metrics.runs.WithLabelValues(string(events.CauseManual), string(events.Unchanged)).Inc()
	r.log.Debug("asked for and found unchanged", "app", app.owner.String())
	return true
}

func isAbout(url string, repos []string) bool {
	key, err := events.RepoKey(url)
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
