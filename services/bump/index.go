package bump

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry/imagepolicy"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// policy is one component that wants an image kept up to date.
type policy struct {
	namespace, app, component string

	auto *imagepolicy.Automation // nil when err is set
	err  error                   // what is wrong with imageRepository
	src  *render.Source
	path string // of src, clean
	repo string // key of the repository
	push string // branch that is written to
	key  events.Key
	want string // key of the image
}

func (p *policy) appKey() events.Key { return events.AppKey(p.namespace, p.app) }
func (p *policy) name() string       { return p.namespace + "/" + p.app + "/" + p.component }

// mergeKey is that of the branch that is read.
func (p *policy) mergeKey() events.Key { return events.BranchKey(p.repo, cmp.Or(p.src.Branch, "-")) }

// secret is namespace/name, or empty.
func (p *policy) secret(name string) string {
	if name == "" {
		return ""
	}
	return p.namespace + "/" + name
}

// policiesOf reads the components of an Application. Those whose source is not valid are
// left out: the run of their Application says why.
func policiesOf(app *oam.Application) []*policy {
	var out []*policy
	for _, c := range app.Spec.Components {
		if _, ok := c.Properties["imageRepository"]; !ok {
			continue
		}
		src, err := render.SourceOf(c)
		if err != nil || src == nil {
			continue
		}
		if p := newPolicy(app, c, src); p != nil {
			out = append(out, p)
		}
	}
	return out
}

func newPolicy(app *oam.Application, c oam.Component, src *render.Source) *policy {
	p := &policy{namespace: app.Namespace, app: app.Name, component: c.Name, src: src}
	var err error
	if p.repo, err = events.RepoKey(src.URL); err != nil {
		return nil
	}
	if p.path, err = git.CleanPath(src.Path); err != nil {
		return nil
	}
	p.auto, p.err = imagepolicy.Parse(c.Properties)
	if p.auto == nil && p.err == nil {
		return nil
	}
	p.push = src.Branch
	if p.err == nil {
		p.push = cmp.Or(p.auto.PushBranch, src.Branch)
		p.want, p.err = events.ImageKey(p.auto.Image.Key())
	}
	switch {
	case p.err != nil:
	case src.Branch == "":
		p.err = errNoBranch
	}
	// A component that cannot be obeyed has a key all the same, under which it is reported.
	p.key = events.BranchKey(p.repo, cmp.Or(p.push, "-"))
	return p
}

var errNoBranch = errors.New("imageRepository needs a branch to write to: set git.branch")

// halted says why p must not act, empty when it may.
func halted(app *oam.Application, p *policy) string {
	switch {
	case app.Labels[oam.LabelPause] == "true":
		return "the Application is paused"
	case p.src.Suspend:
		return "the component is suspended"
	case p.auto != nil && p.auto.Suspend:
		return "imageRepository is suspended"
	}
	return ""
}

// index answers which policies an event concerns. It is fed by the watch of Applications.
type index struct {
	mu       sync.RWMutex
	byApp    map[events.Key][]*policy
	byImage  map[string]map[*policy]bool
	byBranch map[events.Key]map[*policy]bool // that is written to
	byMerge  map[events.Key]map[*policy]bool // that a pull request is merged into
}

func newIndex() *index {
	return &index{byApp: map[events.Key][]*policy{}, byImage: map[string]map[*policy]bool{}, byBranch: map[events.Key]map[*policy]bool{}, byMerge: map[events.Key]map[*policy]bool{}}
}

// set replaces what is known of one Application and returns the branches it concerns, or
// did.
func (x *index) set(app events.Key, policies []*policy) []events.Key {
	x.mu.Lock()
	defer x.mu.Unlock()
	var keys []events.Key
	for _, p := range x.byApp[app] {
		remove(x.byImage, p.want, p)
		remove(x.byBranch, p.key, p)
		remove(x.byMerge, p.mergeKey(), p)
		keys = append(keys, p.key)
	}
	delete(x.byApp, app)
	for _, p := range policies {
		x.byApp[app] = append(x.byApp[app], p)
		if p.err == nil {
			add(x.byImage, p.want, p)
		}
		add(x.byBranch, p.key, p)
		if p.err == nil && p.auto.PullRequest {
			add(x.byMerge, p.mergeKey(), p)
		}
		keys = append(keys, p.key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func add[K comparable](m map[K]map[*policy]bool, k K, p *policy) {
	if m[k] == nil {
		m[k] = map[*policy]bool{}
	}
	m[k][p] = true
}

func remove[K comparable](m map[K]map[*policy]bool, k K, p *policy) {
	delete(m[k], p)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}

// ofBranch lists the policies that write to a branch, in a stable order.
func (x *index) ofBranch(key events.Key) []*policy {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return sorted(x.byBranch[key])
}

// ofMerge lists the policies whose pull requests are merged into a branch.
func (x *index) ofMerge(key events.Key) []*policy {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return sorted(x.byMerge[key])
}

// ofImages lists the policies that choose among the tags of any of the images.
func (x *index) ofImages(keys []string) []*policy {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := map[*policy]bool{}
	for _, key := range keys {
		for p := range x.byImage[key] {
			found[p] = true
		}
	}
	return sorted(found)
}

func sorted(set map[*policy]bool) []*policy {
	out := make([]*policy, 0, len(set))
	for p := range set {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *policy) int { return strings.Compare(a.name(), b.name()) })
	return out
}
