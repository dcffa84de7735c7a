package reconcile

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// heads remembers, per source and ref, the tree last fetched and the sighting it was
// fetched under, so that one push costs one fetch however many Applications look at the
// repository, and a look for another reason costs none.
type heads struct {
	mu    sync.Mutex
	known map[string]*head
}

// head is locked while it is fetched: everyone who wants the same ref waits for one
// fetch.
type head struct {
	mu      sync.Mutex
	tree    *git.Tree
	mark    uint64    // the sighting heard before the fetch
	checked time.Time // when the remote was last asked
}

// headTrust is how long a head is believed without asking the remote. Webhooks and the
// poller announce changes long before; this only bounds how wrong a worker can be when
// both are silent.
const headTrust = 10 * time.Minute

func newHeads() *heads { return &heads{known: map[string]*head{}} }

func (h *heads) of(key string) *head {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[key] == nil {
		h.known[key] = &head{}
	}
	return h.known[key]
}

// refOf says which ref of the repository a source means.
func refOf(src *render.Source) git.Ref {
	return git.Ref{Branch: src.Branch, Tag: src.Tag, Name: src.RefName, Commit: src.Commit, SemVer: src.SemVer}
}

// tree returns the source's tree as it is now. It asks the remote only when an event was
// heard since the last time, when it was last asked before newerThan, or when headTrust
// has passed.
func (r *Reconciler) tree(ctx context.Context, namespace string, src *render.Source, newerThan time.Time) (*git.Tree, error) {
	source, err := r.source(ctx, namespace, src)
	if err != nil {
		return nil, err
	}
	repo, err := events.RepoKey(src.URL)
	if err != nil {
		return nil, fmt.Errorf("source url: %w", err)
	}
	ref := fixedRef(src)
	h := r.heads.of(headKey(source, refOf(src)))
	h.mu.Lock()
	defer h.mu.Unlock()

	// The mark is read before the fetch: an event that arrives during it is newer than
	// the mark and causes another.
	mark, err := r.queue.Sighting(ctx, events.SourceKey(repo, ref))
	if err != nil {
		return nil, fmt.Errorf("reading what was last heard of %s: %w", repo, err)
	}
	// Without a fixed ref no single sighting tells whether anything moved.
	trusted := ref != "" && mark == h.mark && !h.checked.Before(newerThan) && r.now().Sub(h.checked) < headTrust
	if src.Commit != "" && h.tree != nil {
		trusted = true
	}
	if h.tree != nil && trusted {
		return h.tree, nil
	}
	asked := r.now()
	tree, err := r.mirrors.Fetch(ctx, source, refOf(src))
	if err != nil {
		return nil, err
	}
	h.tree, h.mark, h.checked = tree, mark, asked
	return tree, nil
}

// source is the repository with the credentials that the component names.
func (r *Reconciler) source(ctx context.Context, namespace string, src *render.Source) (git.Source, error) {
	out := git.Source{URL: src.URL}
	if src.SecretName == "" {
		return out, nil
	}
	out.Secret = namespace + "/" + src.SecretName
	auth, err := r.secrets.auth(out.Secret, r.now(), func() (git.Auth, error) {
		data, err := r.cluster.SecretData(ctx, namespace, src.SecretName)
		if err != nil {
			return git.Auth{}, err
		}
		return git.AuthFromSecret(data)
	})
	if err != nil {
		return out, fmt.Errorf("secret %s: %w", out.Secret, err)
	}
	out.Auth = auth
	return out, nil
}

// secrets keeps credentials for a short while, so that many looks cost one read and a
// rotated one is still picked up soon.
type secrets struct {
	mu    sync.Mutex
	known map[string]knownSecret
}

type knownSecret struct {
	auth git.Auth
	at   time.Time
}

// secretTrust is how late a rotated credential may be noticed.
const secretTrust = 30 * time.Second

func newSecrets() *secrets { return &secrets{known: map[string]knownSecret{}} }

func (s *secrets) auth(name string, now time.Time, read func() (git.Auth, error)) (git.Auth, error) {
	s.mu.Lock()
	known, ok := s.known[name]
	s.mu.Unlock()
	if ok && now.Sub(known.at) < secretTrust {
		return known.auth, nil
	}
	auth, err := read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // the old one may still work, but nobody says so any more
		delete(s.known, name)
		return git.Auth{}, err
	}
	s.known[name] = knownSecret{auth: auth, at: now}
	return auth, nil
}

// Watched is one ref of one repository that some Application looks at.
type Watched struct {
	Repo     string // its key
	Source   git.Source
	Ref      git.Ref
	Interval time.Duration
}

// Watched lists the sources of all Applications, each once for all that want the same of
// it. Those whose credentials cannot be read are left out: the run of their Application
// says why.
func (r *Reconciler) Watched(ctx context.Context) []Watched {
	type wanted struct {
		treeID
		interval time.Duration
	}
	seen := map[wanted]bool{}
	var out []Watched
	for _, app := range r.cluster.Applications() {
		for _, c := range app.Spec.Components {
			src, err := sourceOf(c)
			if err != nil || src == nil || src.Suspend || src.Type != render.SourceGit {
				continue
			}
			want := wanted{treeIDOf(app.Namespace, src), src.PullInterval}
			if seen[want] {
				continue
			}
			seen[want] = true
			repo, err := events.RepoKey(src.URL)
			if err != nil {
				continue
			}
			source, err := r.source(ctx, app.Namespace, src)
			if err != nil {
				continue
			}
			out = append(out, Watched{Repo: repo, Source: source, Ref: want.ref, Interval: want.interval})
		}
	}
	return out
}

// Changed is closed when the list of watched sources may have changed after the call.
func (r *Reconciler) Changed() <-chan struct{} { return r.changed.next() }

// Fetched is the commit this worker last fetched for a source; empty when none.
func (r *Reconciler) Fetched(source git.Source, ref git.Ref) git.Commit {
	h := r.heads.of(headKey(source, ref))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tree == nil {
		return ""
	}
	return h.tree.Commit()
}

func headKey(source git.Source, ref git.Ref) string {
	return fmt.Sprintf("%s %+v %s", source.Auth.ID(), ref, source.URL)
}
