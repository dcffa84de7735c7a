package bump

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/sync/forge"
)

// inspectTimeout bounds what may be asked of an image beside its way into Git.
const inspectTimeout = 10 * time.Second

// inspect asks where new images come from while their commit is being made, and returns
// what waits for the answers. Only who has a token for a forge has a use for them.
func (b *Bumper) inspect(ctx context.Context, decisions []*decision) (wait func()) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	var asking sync.WaitGroup
	for _, d := range decisions {
		if d.acts() && d.choice.Tag != d.before.Latest && b.usesForge(d.policy) {
			d.looked = &look{}
			asking.Go(func() { *d.looked = b.lookAt(ctx, d.policy, d.choice.Tag, d.before.Current) })
		}
	}
	return func() {
		asking.Wait()
		cancel()
	}
}

// look is what is known of where a tag comes from.
type look struct {
	origin  registry.Origin
	warning string
}

func (b *Bumper) usesForge(p *policy) bool {
	return p.auto.TokenSecret+p.src.SecretName != "" && b.cfg.Forge != nil && b.cfg.Forge.Knows(p.src.URL)
}

// lookAt reads where tag comes from. It warns when that is an ancestor of the commit that
// running was built from: then an old CI job ran once more, and what sorts highest is not
// what is newest.
func (b *Bumper) lookAt(ctx context.Context, p *policy, tag, running string) (out look) {
	keys, err := b.secrets.keychain(ctx, p)
	if err != nil {
		return out
	}
	out.origin, err = b.cfg.Registry.Origin(ctx, p.auto.Image, tag, keys)
	if err != nil {
		b.log.Debug("origin of an image not read", "image", p.want, "tag", tag, "err", err)
		return out
	}
	if out.origin.Commit == "" || running == "" || !sameHost(out.origin.Source, p.src.URL) {
		return out
	}
	before, err := b.cfg.Registry.Origin(ctx, p.auto.Image, running, keys)
	if err != nil || before.Commit == "" || before.Commit == out.origin.Commit || before.Source != out.origin.Source {
		return out
	}
	repo, err := b.secrets.forge(ctx, p)
	if err != nil {
		return out
	}
	older, err := b.cfg.Forge.Descends(ctx, forge.Repo{URL: out.origin.Source, Token: repo.Token}, out.origin.Commit, before.Commit)
	if err != nil {
		b.log.Debug("commits not compared", "repo", out.origin.Source, "err", err)
	}
	if err == nil && older {
		out.warning = fmt.Sprintf("%s was built from %.7s, an ancestor of %.7s that %s was built from: an old CI job may have run again",
			tag, out.origin.Commit, before.Commit, running)
	}
	return out
}

// sameHost reports whether two repositories are at one host: a token is for one only, and
// what an image says of its source is what anybody could write there.
func sameHost(a, b string) bool {
	hostOf := func(url string) string {
		key, err := events.RepoKey(url)
		if err != nil {
			return ""
		}
		host, _, _ := strings.Cut(key, "/")
		return host
	}
	return hostOf(a) != "" && hostOf(a) == hostOf(b)
}
