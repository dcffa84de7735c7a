package git

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
	"github.com/tradewind-dev/tradewind/sync/git/internal/remote"
)

// mirror is what is kept of one repository for one credential. It holds no credential.
type mirror struct {
	m    *Mirrors
	ep   remote.Endpoint
	name string // for people

	turn    chan struct{} // held while the server is asked
	begun   atomic.Uint64 // listings begun so far
	last    listing       // guarded by turn
	waiting atomic.Int64  // callers inside visit

	mu    sync.Mutex // guards what follows; held briefly
	store *objects.Store
	roots map[string]root // by ref asked for
	kept  int64           // size of the store after it was last rebuilt
	used  time.Time
}

// root is a commit that is kept, because somebody looks at the ref it came from.
type root struct {
	head Head
	tree objects.ID
	used time.Time
}

// listing is an answer that callers who waited for it share.
type listing struct {
	number uint64
	refs   Refs
	err    error
	failed map[Commit]error
}

func newMirror(m *Mirrors, ep remote.Endpoint) *mirror {
	return &mirror{m: m, ep: ep, name: ep.String(), turn: make(chan struct{}, 1), roots: map[string]root{}}
}

func (mi *mirror) touch() {
	mi.mu.Lock()
	defer mi.mu.Unlock()
	mi.used = time.Now()
}

func (mi *mirror) idle(now time.Time) time.Duration {
	mi.mu.Lock()
	defer mi.mu.Unlock()
	return now.Sub(mi.used)
}

func (mi *mirror) objects() *objects.Store {
	mi.mu.Lock()
	defer mi.mu.Unlock()
	return mi.store
}

func (mi *mirror) setObjects(s *objects.Store) {
	mi.mu.Lock()
	defer mi.mu.Unlock()
	mi.store, mi.kept = s, 0
	if s == nil {
		clear(mi.roots)
		return
	}
	mi.kept = s.Memory() + s.Disk()
}

// known returns the tree of head when the mirror has it.
func (mi *mirror) known(ref Ref, head Head) *Tree {
	store := mi.objects()
	if store == nil || store.Broken() || !store.Has(plumbing.NewHash(string(head.Commit))) {
		return nil
	}
	root, err := store.Check(plumbing.NewHash(string(head.Commit)), mi.m.cfg.Limits.Entries)
	if err != nil {
		return nil
	}
	mi.keep(ref, head, root)
	return mi.m.treeOf(store, root, head)
}

// rootIdle is how long a commit is kept after its ref was last asked for; maxRoots how
// many are. The commits kept are also what the server is told we have.
const (
	rootIdle = time.Hour
	maxRoots = 32
)

func (mi *mirror) keep(ref Ref, head Head, tree objects.ID) {
	mi.mu.Lock()
	defer mi.mu.Unlock()
	now := time.Now()
	mi.roots[ref.String()] = root{head, tree, now}
	for len(mi.roots) > maxRoots {
		oldest := slices.MinFunc(slices.Sorted(maps.Keys(mi.roots)), func(a, b string) int {
			return mi.roots[a].used.Compare(mi.roots[b].used)
		})
		delete(mi.roots, oldest)
	}
	maps.DeleteFunc(mi.roots, func(_ string, r root) bool { return now.Sub(r.used) > rootIdle })
}

func (mi *mirror) commits() []objects.ID {
	mi.mu.Lock()
	defer mi.mu.Unlock()
	var ids []objects.ID
	for _, name := range slices.Sorted(maps.Keys(mi.roots)) {
		if id := plumbing.NewHash(string(mi.roots[name].head.Commit)); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// rebuildFloor is the size below which a store is left alone.
const rebuildFloor = 8 << 20

// rebuild drops the objects of commits nobody looks at any more, once they outweigh the
// others.
func (mi *mirror) rebuild() {
	store := mi.objects()
	if store == nil {
		return
	}
	size := store.Memory() + store.Disk()
	mi.mu.Lock()
	due := size > rebuildFloor+2*mi.kept
	mi.mu.Unlock()
	if !due {
		return
	}
	kept, err := store.Keep(mi.commits())
	if err != nil {
		mi.setObjects(nil)
		return
	}
	mi.mu.Lock()
	defer mi.mu.Unlock()
	mi.store, mi.kept = kept, kept.Memory()+kept.Disk()
}
