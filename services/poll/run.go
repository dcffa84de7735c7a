package poll

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/sync/git"
)

const (
	// settle is how long the list of sources is left alone after a change, because
	// changes come in crowds.
	settle = 200 * time.Millisecond
	// reread is how often the list is read without a change: credentials may have been
	// rotated behind it (S60).
	reread = 50 * time.Second
	// spread is the time over which first looks are spread.
	spread = 30 * time.Second
)

// Run looks at sources until ctx ends, and returns when the last look is over.
func (p *Poller) Run(ctx context.Context) error {
	done := make(chan *group)
	var looks sync.WaitGroup
	defer func() {
		go func() { looks.Wait(); close(done) }()
		for range done { // looks that end after the last turn of the loop
			continue
		}
	}()

	changed := p.reload(ctx)
	read := time.Now().Add(reread)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := p.start(func(g *group) {
			looks.Go(func() { p.look(ctx, g); done <- g })
		})
		if next.IsZero() || read.Before(next) {
			next = read
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return nil
		case g := <-done:
			p.finish(g)
		case <-changed:
			changed = nil
			read = time.Now().Add(settle)
		case <-timer.C:
			if !time.Now().Before(read) {
				changed = p.reload(ctx)
				read = time.Now().Add(reread)
			}
		}
	}
}

// reload takes over the list of sources, and returns what tells of its next change.
func (p *Poller) reload(ctx context.Context) <-chan struct{} {
	changed := p.cfg.Sources.Changed() // before reading: a change in between is not lost
	watches := p.cfg.Sources.Watches(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := p.groupUp(watches)
	now := time.Now()
	for key, w := range wanted {
		g := p.groups[key]
		if g == nil {
			w.next = now.Add(p.part(min(w.interval, spread)))
			p.groups[key] = w
			continue
		}
		if w.interval < g.interval && !g.running && g.failures == 0 {
			g.next = earlier(g.next, now.Add(p.part(w.interval)))
		}
		g.interval, g.wanted, g.source = w.interval, w.wanted, w.source
	}
	maps.DeleteFunc(p.groups, func(key string, _ *group) bool { return wanted[key] == nil })
	p.dropRefs()
	return changed
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// groupUp sorts watches into groups. Commits never move and are left out.
func (p *Poller) groupUp(watches []Watch) map[string]*group {
	wanted := map[string]*group{}
	for _, w := range watches {
		if w.Ref.Commit != "" {
			continue
		}
		key := w.Source.URL + "\x00" + w.Source.Auth.ID()
		interval := min(max(cmp.Or(w.Interval, p.cfg.Interval), p.cfg.MinInterval), p.cfg.MaxInterval)
		g := wanted[key]
		if g == nil {
			g = &group{repo: w.Repo, source: w.Source, interval: interval}
			wanted[key] = g
		}
		g.interval = min(g.interval, interval)
		if !slices.Contains(g.wanted, w.Ref) {
			g.wanted = append(g.wanted, w.Ref)
		}
	}
	for _, g := range wanted {
		slices.SortFunc(g.wanted, func(a, b git.Ref) int { return cmp.Compare(a.String(), b.String()) })
	}
	return wanted
}

// dropRefs forgets refs nobody watches any more. A ref stays known while any group has
// it: a rotated credential does not start it anew.
func (p *Poller) dropRefs() {
	keep := map[refKey]bool{}
	for _, g := range p.groups {
		for _, r := range g.wanted {
			key := refKey{g.repo, r.String()}
			keep[key] = true
			if p.refs[key] == nil {
				p.refs[key] = &ref{}
			}
		}
	}
	maps.DeleteFunc(p.refs, func(k refKey, _ *ref) bool { return !keep[k] })
}

// start hands every group that is due to begin, as far as the bounds allow, and returns
// when the next one will be due; zero when none will by time alone.
func (p *Poller) start(begin func(*group)) (next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	running, perHost := 0, map[string]int{}
	var due []*group
	for _, g := range p.groups {
		switch {
		case g.running:
			running++
			perHost[g.host()]++
		case !g.next.After(now):
			due = append(due, g)
		case next.IsZero() || g.next.Before(next):
			next = g.next
		}
	}
	slices.SortFunc(due, func(a, b *group) int { return cmp.Or(a.next.Compare(b.next), cmp.Compare(a.source.URL, b.source.URL)) })
	for _, g := range due {
		if running == p.cfg.AtOnce {
			break // the end of a look calls start again
		}
		if perHost[g.host()] == p.cfg.AtOncePerHost {
			continue
		}
		g.running = true
		running++
		perHost[g.host()]++
		begin(g)
	}
	return next
}

// host is what the bound per host counts by.
func (g *group) host() string {
	host, _, _ := strings.Cut(g.repo, "/")
	return host
}

// finish sets the time of a group's next look.
func (p *Poller) finish(g *group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g.running = false
	wait, ceiling := g.interval, p.cfg.MaxInterval
	if g.unsent { // what to publish is known; it is the queue that is waited for
		wait, ceiling = p.cfg.MinInterval, g.interval
	}
	for range min(g.failures, maxDoublings) {
		wait = min(2*wait, ceiling)
	}
	wait -= p.part(wait / 10)
	g.next = time.Now().Add(max(wait, g.pause))
}

// maxDoublings bounds the back-off's arithmetic; the ceiling bounds the back-off.
const maxDoublings = 16

// part is a random part of d.
func (p *Poller) part(d time.Duration) time.Duration {
	return time.Duration(p.jitter.Int64N(int64(max(d, 1))))
}
