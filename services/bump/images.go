package bump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/registry/imagepolicy"
)

// images remembers the tags of every image that a policy looks at, as one credential sees
// them. It is filled by one listing; from then on a pushed tag costs one question.
type images struct {
	mu    sync.Mutex
	known map[string]*image
}

// image is locked while its registry is asked.
type image struct {
	mu      sync.Mutex
	tags    []string // in the order of the listing, announced ones behind it
	has     map[string]bool
	digests map[string]string // of tags that were asked for
	etag    registry.Known
	listed  time.Time
	wanted  map[string]time.Time // announced, but not there yet: until when it is waited for

	markMu sync.Mutex
	heard  uint64 // announcements up to here are in
}

func newImages() *images { return &images{known: map[string]*image{}} }

func (s *images) of(id string) *image {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id] == nil {
		s.known[id] = &image{has: map[string]bool{}, digests: map[string]string{}, wanted: map[string]time.Time{}}
	}
	return s.known[id]
}

func (s *images) mark(id string) uint64 { return s.of(id).mark() }

func (i *image) mark() uint64 {
	i.markMu.Lock()
	defer i.markMu.Unlock()
	return i.heard
}

func (i *image) setMark(mark uint64) {
	i.markMu.Lock()
	defer i.markMu.Unlock()
	i.heard = mark
}

// imageID tells images by name and by the Secret that opens them: what one credential may
// see is not shown to another.
func (b *Bumper) imageID(p *policy) string { return p.want + " " + p.secret(p.auto.Secret) }

const (
	// lag is how long a tag that was announced may take to be there. After it, the event
	// was wrong or forged.
	lag = 30 * time.Second
	// soon is when such a tag is asked for again.
	soon = 2 * time.Second
	// fresh is how old a listing may be when a person asks.
	fresh = 5 * time.Second
	// maxAsked bounds the questions that announcements can cause in one look.
	maxAsked = 100
)

// errNotYet says that an announced tag is not there, which may change.
var errNotYet = errors.New("the registry does not have an announced tag yet")

// refresh brings the tags of p's image up to date: by asking for those that were
// announced, or by a listing when one is due.
func (b *Bumper) refresh(ctx context.Context, p *policy, job Job) (*image, error) {
	keys, err := b.secrets.keychain(ctx, p)
	if err != nil {
		return nil, err
	}
	i := b.images.of(b.imageID(p))
	i.mu.Lock()
	defer i.mu.Unlock()
	news, mark, err := b.cfg.Queue.Announced(ctx, p.want, i.mark())
	if err != nil {
		return nil, err
	}
	for _, a := range news {
		i.wanted[a.Tag] = a.Time.Add(lag)
	}
	age := b.now().Sub(i.listed)
	if i.listed.IsZero() || age >= p.auto.Interval || job.Cause == events.CauseManual && age > fresh {
		if err := b.list(ctx, p, keys, i); err != nil {
			return nil, err
		}
	}
	err = b.ask(ctx, p, keys, i)
	if err == nil || errors.Is(err, errNotYet) {
		i.setMark(mark)
	}
	return i, err
}

// list replaces what is known by what the registry says.
func (b *Bumper) list(ctx context.Context, p *policy, keys registry.Keychain, i *image) (err error) {
	defer b.metrics.scan(p.auto.Image.Registry())(&err)
	listing, err := b.cfg.Registry.Tags(ctx, p.auto.Image, keys, i.etag)
	if err != nil {
		return err
	}
	i.listed, i.etag = b.now(), listing.Known
	if listing.Unchanged {
		return nil
	}
	i.tags = listing.Tags
	clear(i.has)
	clear(i.digests)
	for _, tag := range i.tags {
		i.has[tag] = true
	}
	return nil
}

// ask puts the question for every announced tag that a policy could choose. A tag that is
// not there is not an error of anybody: it is waited for, and then forgotten.
func (b *Bumper) ask(ctx context.Context, p *policy, keys registry.Keychain, i *image) error {
	asked, missing := 0, false
	for tag, until := range i.wanted {
		if asked == maxAsked {
			break
		}
		if !b.asksFor(p.want, tag, i.has[tag]) {
			delete(i.wanted, tag)
			continue
		}
		asked++
		digest, err := b.cfg.Registry.Head(ctx, p.auto.Image, tag, keys)
		problem, known := errors.AsType[*registry.Error](err)
		switch {
		case err == nil:
			delete(i.wanted, tag)
			i.add(tag, digest)
		case !known || problem.Kind != registry.NotFound:
			return err
		case b.now().After(until):
			delete(i.wanted, tag)
			b.log.Warn("announced tag does not exist", "image", p.want, "tag", tag)
		default:
			missing = true
		}
	}
	if missing {
		return fmt.Errorf("%w: %s", errNotYet, p.auto.Image)
	}
	return nil
}

// asksFor reports whether some policy needs to know about a tag; one that is known only
// matters where digests are written.
func (b *Bumper) asksFor(image, tag string, known bool) bool {
	return slices.ContainsFunc(b.index.ofImages([]string{image}), func(p *policy) bool {
		return p.auto.Policy.Matches(tag) == nil && (!known || p.auto.Reflect == imagepolicy.ReflectAlways)
	})
}

func (i *image) add(tag, digest string) {
	if !i.has[tag] {
		i.tags, i.has[tag] = append(i.tags, tag), true
	}
	i.digests[tag] = digest
}

// digest is what a tag stands for.
func (b *Bumper) digest(ctx context.Context, p *policy, i *image, tag string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if d := i.digests[tag]; d != "" {
		return d, nil
	}
	keys, err := b.secrets.keychain(ctx, p)
	if err != nil {
		return "", err
	}
	d, err := b.cfg.Registry.Head(ctx, p.auto.Image, tag, keys)
	if err == nil {
		i.digests[tag] = d
	}
	return d, err
}

// choose is what the policy takes of the tags that are known.
func (i *image) choose(p *policy) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return p.auto.Policy.Choose(slices.Clone(i.tags))
}

// due is when the image should be listed next.
func (i *image) due(p *policy, now time.Time) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.listed.IsZero() {
		return now.Add(p.auto.Interval)
	}
	return i.listed.Add(p.auto.Interval)
}
