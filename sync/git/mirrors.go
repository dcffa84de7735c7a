// Package git reads Git repositories: which commit a ref stands at, and the files of a
// commit as a read-only file system; and writes new contents of files back as a commit. In
// goes a URL with its credential and a ref, out comes a [Tree], or an [Error] that says
// what to do.
//
// It promises that a commit has the id the server announced and is complete, that a
// fetch moves no more than the new commit's own objects, that a known head costs one
// listing, and that a credential is used for its own server only. Mirrors are a cache:
// they may vanish and come back. It refuses to write anything from a repository to disk
// under its own name: there is no work tree, and submodules, LFS, filters, hooks,
// alternates, replace refs and repository configuration have no effect.
//
// It is the only user of a Git library.
package git

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
	"github.com/tradewind-dev/tradewind/sync/git/internal/remote"
	"github.com/tradewind-dev/tradewind/sync/git/internal/tree"
)

// Auth is one credential for one source; the zero Auth is anonymous. It prints as ***.
type Auth = remote.Auth

// AuthFromSecret reads a credential from the data of a Kubernetes Secret: username and
// password, or bearerToken, or identity and known_hosts (password unlocks the key), with
// ca.crt, tls.crt and tls.key beside them.
func AuthFromSecret(data map[string][]byte) (Auth, error) { return remote.AuthFromSecret(data) }

// Commit is a full commit id, 40 lower-case hex digits.
type Commit = tree.Commit

// Tree is the files of one commit, read-only and safe for concurrent use. It stays valid
// whatever happens to the mirror it came from. FS gives the file system, ID the object id
// at a path, Commit and Ref where it came from.
type Tree = tree.Tree

// Reads records what is read of a tree.
type Reads = tree.Reads

// ReadSet is what was read: the inputs of whoever read. It is stored as JSON.
type ReadSet = tree.ReadSet

// Trace returns a recorder of reads of t.
func Trace(t *Tree) *Reads { return tree.Trace(t) }

// CleanPath brings a path as users write it ("./apps", "apps/", "/apps") into the form
// file systems want ("apps"; "." for the root). It refuses "..".
func CleanPath(name string) (string, error) { return tree.CleanPath(name) }

// Source is a repository as a user names it.
type Source struct {
	URL    string
	Auth   Auth
	Secret string // namespace/name the Auth came from; only for hints
}

// Config is how repositories are reached and kept. Zero numbers mean the defaults.
type Config struct {
	// Dir is where large files are cached, in files without a name; it may vanish.
	// Empty keeps them in memory.
	Dir string
	// InsecureHosts (host or host:port) may be reached over plain http.
	InsecureHosts []string
	// AllowedHosts (host or host:port) and AllowedRanges may be private or loopback.
	AllowedHosts  []string
	AllowedRanges []netip.Prefix
	// Timeout bounds one fetch or listing. Default 60 s.
	Timeout time.Duration
	// CacheBytes bounds the memory of all mirrors together; the one not used for the
	// longest time goes first. Default 256 MiB.
	CacheBytes int64
	Limits     Limits
	// Registerer receives the metrics; nil keeps them to ourselves.
	Registerer prometheus.Registerer
}

// Limits bound what servers and repositories may cost.
type Limits struct {
	PackBytes         int64   // one pack as sent; default 512 MiB
	ObjectBytes       int64   // one pack unfolded; default 1 GiB
	FileBytes         int64   // one file, when it is read; default 32 MiB
	Entries           int     // files and directories of one commit; default 100 000
	Refs              int     // refs of one repository; default 50 000
	RequestsPerSecond float64 // per host; default 10, in bursts of 200
	RequestsAtOnce    int     // per host; default 8
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	c.CacheBytes = cmp.Or(c.CacheBytes, 256<<20)
	l := &c.Limits
	l.PackBytes = cmp.Or(l.PackBytes, 512<<20)
	l.ObjectBytes = cmp.Or(l.ObjectBytes, 1<<30)
	l.FileBytes = cmp.Or(l.FileBytes, 32<<20)
	l.Entries = cmp.Or(l.Entries, 100_000)
	l.Refs = cmp.Or(l.Refs, 50_000)
	l.RequestsPerSecond = cmp.Or(l.RequestsPerSecond, 10)
	l.RequestsAtOnce = cmp.Or(l.RequestsAtOnce, 8)
	return c
}

// refBytes is what one ref may take in a listing; names are shorter.
const refBytes = 320

// Mirrors keeps one mirror per repository and credential. It is safe for concurrent use;
// calls for one mirror take turns, those for others do not wait.
type Mirrors struct {
	cfg     Config
	dialer  *remote.Dialer
	metrics *metrics

	mu      sync.Mutex // guards mirrors
	mirrors map[string]*mirror
}

// NewMirrors returns an empty set of mirrors.
func NewMirrors(cfg Config) *Mirrors {
	cfg = cfg.withDefaults()
	m := &Mirrors{
		cfg: cfg,
		dialer: remote.New(remote.Config{
			InsecureHosts:     cfg.InsecureHosts,
			AllowedHosts:      cfg.AllowedHosts,
			AllowedRanges:     cfg.AllowedRanges,
			RefBytes:          int64(cfg.Limits.Refs) * refBytes,
			PackBytes:         cfg.Limits.PackBytes,
			RequestsPerSecond: cfg.Limits.RequestsPerSecond,
			RequestsAtOnce:    cfg.Limits.RequestsAtOnce,
		}),
		mirrors: map[string]*mirror{},
	}
	m.metrics = newMetrics(cfg.Registerer, func() float64 {
		memory, disk := m.size()
		return float64(memory + disk)
	})
	return m
}

// Close drops idle connections and every mirror. Trees that were handed out stay valid.
func (m *Mirrors) Close() {
	m.dialer.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.mirrors)
}

// List asks the server for its refs. A caller never gets a listing that began before its
// call; callers that wait together share one.
func (m *Mirrors) List(ctx context.Context, src Source) (Refs, error) {
	mi, err := m.mirror("listing", src)
	if err != nil {
		return Refs{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	v, err := mi.visit(ctx, src)
	if err != nil {
		return Refs{}, newError("listing", src, mi.name, err)
	}
	defer v.leave()
	refs, err := v.refs(ctx)
	if err != nil {
		return Refs{}, newError("listing", src, mi.name, err)
	}
	return refs, nil
}

// Resolve says at which commit ref stands now. It fetches no objects.
func (m *Mirrors) Resolve(ctx context.Context, src Source, ref Ref) (Commit, error) {
	refs, err := m.List(ctx, src)
	if err != nil {
		return "", err
	}
	head, err := refs.Resolve(ref)
	return head.Commit, err
}

// Fetch returns the tree ref stands at now. When that commit is known already it costs
// one listing, for a commit id not even that.
func (m *Mirrors) Fetch(ctx context.Context, src Source, ref Ref) (*Tree, error) {
	mi, err := m.mirror("fetching", src)
	if err != nil {
		return nil, err
	}
	if err := ref.Validate(); err != nil {
		return nil, newError("fetching", src, mi.name, err)
	}
	if ref.Commit != "" {
		if t := mi.known(ref, Head{Commit: Commit(ref.Commit)}); t != nil {
			m.metrics.cache.WithLabelValues(hit).Inc()
			return t, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	v, err := mi.visit(ctx, src)
	if err != nil {
		return nil, newError("fetching", src, mi.name, err)
	}
	defer v.leave()
	t, err := v.tree(ctx, ref)
	if err != nil {
		return nil, newError("fetching", src, mi.name, err)
	}
	m.shrink(mi)
	return t, nil
}

// Tree returns the tree of a commit, from the mirror when it is there.
func (m *Mirrors) Tree(ctx context.Context, src Source, commit Commit) (*Tree, error) {
	return m.Fetch(ctx, src, Ref{Commit: string(commit)})
}

// mirrorIdle is how long a mirror nobody asks for is kept.
const mirrorIdle = time.Hour

// mirror finds or makes the mirror of a source. Repositories are told apart by URL and
// by credential: what one credential may read is not shown to another.
func (m *Mirrors) mirror(op string, src Source) (*mirror, error) {
	ep, err := m.dialer.Parse(src.URL)
	if err != nil {
		return nil, newError(op, src, "the repository", err)
	}
	key := ep.Key() + "\x00" + src.Auth.ID()
	m.mu.Lock()
	defer m.mu.Unlock()
	mi := m.mirrors[key]
	if mi == nil {
		now := time.Now()
		for k, old := range m.mirrors {
			if old.idle(now) > mirrorIdle {
				delete(m.mirrors, k)
			}
		}
		mi = newMirror(m, ep)
		m.mirrors[key] = mi
	}
	mi.touch()
	return mi, nil
}

func (m *Mirrors) all() []*mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*mirror, 0, len(m.mirrors))
	for _, mi := range m.mirrors {
		all = append(all, mi)
	}
	return all
}

func (m *Mirrors) size() (memory, disk int64) {
	for _, mi := range m.all() {
		if s := mi.objects(); s != nil {
			memory += s.Memory()
			disk += s.Disk()
		}
	}
	return memory, disk
}

// shrink empties the mirrors that were not used for the longest time until the rest fits.
// Trees that are in use keep their objects.
func (m *Mirrors) shrink(keep *mirror) {
	memory, _ := m.size()
	if memory <= m.cfg.CacheBytes {
		return
	}
	now := time.Now()
	all := m.all()
	slices.SortFunc(all, func(a, b *mirror) int { return cmp.Compare(b.idle(now), a.idle(now)) })
	for _, mi := range all {
		if memory <= m.cfg.CacheBytes {
			return
		}
		if s := mi.objects(); s != nil && mi != keep {
			memory -= s.Memory()
			mi.setObjects(nil)
		}
	}
}

// treeOf makes a Tree of a checked commit.
func (m *Mirrors) treeOf(s *objects.Store, root objects.ID, head Head) *Tree {
	return tree.New(s, root, head.Commit, head.Ref, m.cfg.Limits.FileBytes)
}
