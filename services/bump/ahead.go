package bump

import (
	"context"
	"sync"

	"github.com/tradewind-dev/tradewind/sync/git"
)

// start is what a commit goes on top of, and how to get it there.
type start struct {
	src   git.Source
	on    *git.Tree
	isNew bool
	err   error
}

// ahead fetches the branches while registries are asked: neither needs the other's answer.
// What it returns waits for them.
func (b *Bumper) ahead(ctx context.Context, policies []*policy) (of func(*policy) start, wait func()) {
	var mu sync.Mutex
	var fetching sync.WaitGroup
	starts, begun := map[string]start{}, map[string]bool{}
	for _, p := range policies {
		app, found, _ := b.cfg.Cluster.Application(p.namespace, p.app)
		if p.err != nil || begun[p.group()] || !found || halted(app, p) != "" {
			continue
		}
		begun[p.group()] = true
		fetching.Go(func() {
			s := b.start(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			starts[p.group()] = s
		})
	}
	return func(p *policy) start {
		fetching.Wait()
		if s, ok := starts[p.group()]; ok {
			return s
		}
		return b.start(ctx, p)
	}, fetching.Wait
}

func (b *Bumper) start(ctx context.Context, p *policy) (s start) {
	if s.src, s.err = b.secrets.source(ctx, p); s.err == nil {
		s.on, s.isNew, s.err = b.head(ctx, s.src, p)
	}
	return s
}
