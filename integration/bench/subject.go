package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world"
	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const (
	repo      = "acme/bench"
	namespace = "default"
)

// subject is a world with what is to be measured in it.
type subject struct {
	*world.World
	clone string
	url   string
}

// with starts a world, calls do, and takes everything away again. Tradewind is started
// when do says so.
func with(ctx context.Context, settings map[string]map[string]any, do func(*subject) error) (err error) {
	dir, err := os.MkdirTemp("", "tradewind-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	all := map[string]map[string]any{"log": {"level": "info"}, "admin": {"profiling": true}}
	maps.Copy(all, settings)
	w, err := world.Start(ctx, world.Options{Dir: dir, NoTradewind: true, Settings: all})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop(context.WithoutCancel(ctx))) }()
	return do(&subject{World: w, clone: filepath.Join(dir, "clone")})
}

// serve makes files the repository and clones it.
func (s *subject) serve(ctx context.Context, files fs.FS) error {
	var err error
	if s.url, err = s.Git.CreateRepo(ctx, repo, files, nil); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"clone", "--quiet", s.url, s.clone},
		{"-C", s.clone, "config", "user.name", "Ada"}, {"-C", s.clone, "config", "user.email", "ada@example.com"},
	} {
		if _, err := forge.Git(ctx, s.Dir, args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *subject) write(name, text string) error {
	return os.WriteFile(filepath.Join(s.clone, filepath.FromSlash(name)), []byte(text), 0o600)
}

// push pushes what was written and returns when it was in the repository, just before
// the webhook was posted.
func (s *subject) push(ctx context.Context) (time.Time, error) {
	delivered := len(s.Git.Deliveries(0))
	for _, args := range [][]string{{"commit", "--quiet", "--all", "--message", "change"}, {"push", "--quiet"}} {
		if _, err := forge.Git(ctx, s.clone, args...); err != nil {
			return time.Time{}, err
		}
	}
	d, _, err := s.Git.AwaitDelivery(ctx, delivered, func(forge.Delivery) bool { return true })
	if err == nil && d.Status/100 != 2 {
		err = fmt.Errorf("the webhook was answered %d: %s", d.Status, d.Answer)
	}
	return d.Pushed, err
}

// usage is what operations cost: seconds of processor time of Tradewind with its children
// and of API server and etcd, Tradewind's writing requests, and its peak of memory, MiB.
type usage struct{ own, api, mutating, peak float64 }

var mutating = must(kube.ParseSelector(`rest_client_requests_total{method=~"POST|PUT|PATCH|DELETE"}`))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// meters reads the counters; peak is left out.
func (s *subject) meters(ctx context.Context) (usage, error) {
	var u usage
	var err error
	if u.own, err = cpu(s.Tradewind.PID()); err != nil {
		return u, err
	}
	for _, part := range []string{"apiserver", "etcd"} {
		used, err := cpu(s.Cluster.PID(part))
		if err != nil {
			return u, err
		}
		u.api += used
	}
	u.mutating, err = s.Tradewind.Metric(ctx, mutating)
	return u, err
}

// measure does something and waits until Tradewind is quiet again: what it costs is
// counted up to then.
func (s *subject) measure(ctx context.Context, do func() error) (usage, error) {
	if _, err := s.quiet(ctx); err != nil {
		return usage{}, err
	}
	if err := forgetPeak(s.Tradewind.PID()); err != nil {
		return usage{}, err
	}
	before, err := s.meters(ctx)
	if err != nil {
		return usage{}, err
	}
	if err := do(); err != nil {
		return usage{}, err
	}
	after, err := s.quiet(ctx)
	if err != nil {
		return usage{}, err
	}
	peak, err := memory(s.Tradewind.PID(), "VmHWM")
	return usage{after.own - before.own, after.api - before.api, after.mutating - before.mutating, peak}, err
}

const (
	quietTime = 2 * time.Second
	quietCPU  = 0.08 // seconds used in quietTime
)

// quiet waits for the first quiet window and returns the meters at its beginning.
func (s *subject) quiet(ctx context.Context) (usage, error) {
	for {
		before, err := s.meters(ctx)
		if err != nil {
			return usage{}, err
		}
		select {
		case <-ctx.Done():
			return usage{}, ctx.Err()
		case <-time.After(quietTime):
		}
		after, err := cpu(s.Tradewind.PID())
		if err != nil {
			return usage{}, err
		}
		if after-before.own < quietCPU {
			return before, nil
		}
	}
}
