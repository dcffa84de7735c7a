package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sync/errgroup"

	"github.com/tradewind-dev/tradewind/integration/world/forge"
)

const fleetApp = `apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: app-%02[1]d}
spec:
  components:
    - name: app-%02[1]d
      type: kustomize
      properties:
        repoType: git
        url: %[2]s
        git: {branch: main}
        path: ./apps/%02[1]d
        imageRepository:
          image: %[3]s/acme/app-%02[1]d
          interval: 10m
          policy: {semver: {range: ">=1.0.0"}}
---
`

const fleetFile = `apiVersion: v1
kind: ConfigMap
metadata: {name: app-%02[1]d, namespace: default}
data:
  image: %[2]s/acme/app-%02[1]d:1.0.0 # {"$imagepolicy": "default:app-%02[1]d"}
`

// race is the story of bump-race with its numbers.
type race struct {
	*story
	dir, url                 string
	images, writers, commits int
}

// raceImages: bump-race <dir> <images> <writers> <commits of each>. See bump-race.txtar.
func raceImages(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	if err := c.once(4, 4, "bump-race <dir> <images> <writers> <commits of each>"); err != nil {
		return err
	}
	var numbers []int
	for _, arg := range c.args[1:] {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	r := &race{
		story: s, dir: ts.MkAbs(c.args[0]), url: s.world.Git.RepoURL("acme/fleet"), images: numbers[0], writers: numbers[1], commits: numbers[2],
	}
	for _, step := range []func(context.Context) error{r.prepare, r.run, r.settled, r.check} {
		if err := step(ctx); err != nil {
			return s.alive(err)
		}
	}
	return nil
}

// prepare brings every image to its first tag.
func (r *race) prepare(ctx context.Context) error {
	var apps strings.Builder
	for n := range r.images {
		dir := filepath.Join(r.dir, "apps", fmt.Sprintf("%02d", n))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "app.yaml"), fmt.Appendf(nil, fleetFile, n, r.world.Images.Host), 0o644); err != nil {
			return err
		}
		if err := r.world.Images.Push(ctx, fmt.Sprintf("acme/app-%02d", n), "1.0.0", true); err != nil {
			return err
		}
		fmt.Fprintf(&apps, fleetApp, n, r.url, r.world.Images.Host)
	}
	for _, args := range [][]string{{"add", "--all"}, {"commit", "--quiet", "--message", "a fleet"}, {"push", "--quiet", "origin", "HEAD"}} {
		if _, err := forge.Git(ctx, r.dir, args...); err != nil {
			return err
		}
	}
	if _, err := r.world.Cluster.Apply(ctx, []byte(apps.String()), seedSpace); err != nil {
		return err
	}
	return r.all(ctx, "application", "status.images[0].current", func(int) string { return "1.0.0" })
}

// all waits until a value is as wanted for every image.
func (r *race) all(ctx context.Context, kind, path string, want func(int) string) error {
	for n := range r.images {
		o := parseObject(kind, fmt.Sprintf("default/app-%02d", n))
		err := poll(ctx, func() error {
			value, err := r.world.Cluster.Value(ctx, o, path)
			if err == nil && value != want(n) {
				err = fmt.Errorf("%s: %s is %q, want %q", o, path, value, want(n))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// run pushes all images at once, while the writers push.
func (r *race) run(ctx context.Context) error {
	var all errgroup.Group
	for w := range r.writers {
		all.Go(func() error { return r.write(ctx, w) })
	}
	for n := range r.images {
		all.Go(func() error { return r.world.Images.Push(ctx, fmt.Sprintf("acme/app-%02d", n), "1.1.0", false) })
	}
	return all.Wait()
}

// write is a person who pushes, and rebases when somebody else was first.
func (r *race) write(ctx context.Context, writer int) error {
	dir := fmt.Sprintf("%s.writer-%d", r.dir, writer)
	if _, err := forge.Git(ctx, r.work, "clone", "--quiet", r.url, dir); err != nil {
		return err
	}
	for n := range r.commits {
		name := fmt.Sprintf("writer-%d-%d", writer, n)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			return err
		}
		for _, args := range [][]string{{"add", "--all"}, {"commit", "--quiet", "--message", name}} {
			if _, err := forge.Git(ctx, dir, args...); err != nil {
				return err
			}
		}
		for {
			if _, err := forge.Git(ctx, dir, "push", "--quiet", "origin", "HEAD"); err == nil {
				break
			}
			if _, err := forge.Git(ctx, dir, "pull", "--quiet", "--rebase"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *race) settled(ctx context.Context) error {
	return r.all(ctx, "configmap", "data.image", func(n int) string { return fmt.Sprintf("%s/acme/app-%02d:1.1.0", r.world.Images.Host, n) })
}

// maxBotCommits is how many commits fifty images may make.
const maxBotCommits = 3

func (r *race) check(ctx context.Context) error {
	if _, err := forge.Git(ctx, r.dir, "pull", "--quiet"); err != nil {
		return err
	}
	authors, err := forge.Git(ctx, r.dir, "log", "--format=%an")
	if err != nil {
		return err
	}
	if bots := strings.Count(authors, "kubevelabot"); bots < 1 || bots > maxBotCommits {
		return fmt.Errorf("%d commits by kubevelabot, want 1 to %d", bots, maxBotCommits)
	}
	subjects, err := forge.Git(ctx, r.dir, "log", "--format=%s")
	if err != nil {
		return err
	}
	there := strings.Fields(subjects)
	for w := range r.writers {
		for n := range r.commits {
			if !slices.Contains(there, fmt.Sprintf("writer-%d-%d", w, n)) {
				return fmt.Errorf("commit %d of writer %d is lost", n, w)
			}
		}
	}
	return nil
}
