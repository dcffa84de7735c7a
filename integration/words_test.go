package integration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tradewind-dev/tradewind/integration/charts"
	"github.com/tradewind-dev/tradewind/integration/seed"
	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/integration/world/oci"
)

const (
	seedRepoName = "acme/config"
	seedSpace    = "default"
)

// seedRepo: seed <dir>. The example's repository on the server, a clone in dir, and the
// Secret that the example expects in namespace default. Nothing else is applied.
func seedRepo(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	if err := c.once(1, 1, "seed <dir>"); err != nil {
		return err
	}
	files, err := seed.Files(s.world.Git.RepoURL(seedRepoName), s.world.Charts)
	if err != nil {
		return err
	}
	if _, err := s.world.Cluster.Apply(ctx, []byte(seed.Secret), seedSpace); err != nil {
		return err
	}
	return s.serve(ctx, ts, seedRepoName, files, nil, c.args[0])
}

// createRepo: repo <owner/name> <dir> [user:password]. A repository on the server with
// the content of dir, which becomes a clone of it. $REPO_URL is replaced in all files.
func createRepo(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	if err := c.once(2, 3, "repo <owner/name> <dir> [user:password]"); err != nil {
		return err
	}
	var login *forge.Login
	if len(c.args) == 3 {
		user, password, _ := strings.Cut(c.args[2], ":")
		login = &forge.Login{Username: user, Password: password}
	}
	dir := ts.MkAbs(c.args[1])
	url := s.world.Git.RepoURL(c.args[0])
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.ReplaceAll(string(data), "$REPO_URL", url)), 0o644)
	})
	if err != nil {
		return err
	}
	if err := s.serve(ctx, ts, c.args[0], os.DirFS(dir), login, c.args[1]+".clone"); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(dir+".clone", dir)
}

func (s *story) serve(ctx context.Context, ts *testscript.TestScript, name string, files fs.FS, login *forge.Login, dir string) error {
	url, err := s.world.Git.CreateRepo(ctx, name, files, login)
	if err != nil {
		return err
	}
	if login != nil {
		url = strings.Replace(url, "://", "://"+login.Username+":"+login.Password+"@", 1)
	}
	_, err = forge.Git(ctx, s.work, "clone", "--quiet", url, ts.MkAbs(dir))
	return err
}

// publishChart: chart <dir>. Packs the chart in dir and puts it into the chart repository.
func publishChart(_ context.Context, s *story, ts *testscript.TestScript, c call) error {
	if err := c.once(1, 1, "chart <dir>"); err != nil {
		return err
	}
	return charts.Publish(s.world.ChartsDir, os.DirFS(ts.MkAbs(c.args[0])))
}

// awaitReleases: releases <ns>/<name> <regexp>. Waits until what "helm history" says of
// the release, as lines joined by "; ", matches.
func awaitReleases(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(2, 2, "releases <ns>/<name> <regexp>"); err != nil {
		return err
	}
	re, err := regexp.Compile(c.args[1])
	if err != nil {
		return err
	}
	namespace, name, _ := strings.Cut(c.args[0], "/")
	return poll(ctx, func() error {
		lines, err := s.world.Cluster.Releases(namespace, name)
		if got := strings.Join(lines, "; "); err == nil && !re.MatchString(got) {
			err = fmt.Errorf("helm history says %q", got)
		}
		return err
	})
}

// runGit: [!] git <args>. The real git, with an identity.
func runGit(_ context.Context, _ *story, ts *testscript.TestScript, c call) error {
	return outcome(ts.Exec("git", c.args...), c)
}

// runTradewind: [!] tradewind <args>. Our program, looking at the world's cluster.
func runTradewind(_ context.Context, s *story, ts *testscript.TestScript, c call) error {
	return outcome(ts.Exec(s.bin, c.args...), c)
}

func outcome(err error, c call) error {
	if c.neg && err == nil {
		return errors.New("it worked, and should not have")
	}
	if c.neg {
		return nil
	}
	return err
}

// pushAll: push <message>. Everything in the clone we are in, as one commit on the
// branch we are on; its id is in $COMMIT from then on.
func pushAll(_ context.Context, _ *story, ts *testscript.TestScript, c call) error {
	if err := c.once(1, 1, "push <message>"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"add", "--all"}, {"commit", "--quiet", "--message", c.args[0]}, {"push", "--quiet", "origin", "HEAD"}, {"rev-parse", "HEAD"},
	} {
		if err := ts.Exec("git", args...); err != nil {
			return err
		}
	}
	ts.Setenv("COMMIT", strings.TrimSpace(ts.ReadFile("stdout")))
	return nil
}

// editFile: edit <file> <old> <new>. Every old text becomes the new one; there must be
// at least one.
func editFile(_ context.Context, _ *story, ts *testscript.TestScript, c call) error {
	if err := c.once(3, 3, "edit <file> <old> <new>"); err != nil {
		return err
	}
	path := ts.MkAbs(c.args[0])
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	old, text := strings.ReplaceAll(c.args[1], `\n`, "\n"), strings.ReplaceAll(c.args[2], `\n`, "\n")
	if !strings.Contains(string(data), old) {
		return fmt.Errorf("%s does not contain %q:\n%s", c.args[0], old, data)
	}
	return os.WriteFile(path, []byte(strings.ReplaceAll(string(data), old, text)), 0o644)
}

// startTradewind: start tradewind. With the queue and the addresses it had before.
func startTradewind(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	if c.neg || len(c.args) != 1 || c.args[0] != "tradewind" {
		return usage("start tradewind")
	}
	err := s.world.StartTradewind(ctx)
	s.setAddresses(ts)
	return err
}

// shutdownTradewind: shutdown tradewind. In good order, as a rollout does.
func shutdownTradewind(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if c.neg || len(c.args) != 1 || c.args[0] != "tradewind" {
		return usage("shutdown tradewind")
	}
	return s.world.Tradewind.Stop(ctx)
}

// crashTradewind: crash tradewind. SIGKILL, in the middle of whatever it does.
func crashTradewind(_ context.Context, s *story, _ *testscript.TestScript, c call) error {
	if c.neg || len(c.args) != 1 || c.args[0] != "tradewind" {
		return usage("crash tradewind")
	}
	return s.world.Tradewind.Kill()
}

// breakPart: break git|git-all [503|drop|hang], break api [503|429|409|drop], break
// cluster, break registry [401|403|429|500|503|loop|flood|html]. git breaks fetches,
// git-all pushes too; api needs "world proxy"; cluster freezes the API server.
func breakPart(_ context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 2, "break git|git-all|forge-api|api|cluster|registry [how]"); err != nil {
		return err
	}
	how := forge.FaultStatus
	if len(c.args) == 2 {
		how = c.args[1]
	}
	switch part := c.args[0]; {
	case part == "git" || part == "git-all":
		return s.world.Git.Break(how, part == "git-all")
	case part == "api" && s.world.Proxy != nil:
		return s.world.Proxy.Break(how)
	case part == "forge-api":
		s.world.Git.Mute(true)
		return nil
	case part == "cluster":
		return s.world.Cluster.Pause()
	case part == "registry":
		return s.world.Images.Break(how)
	default:
		return fmt.Errorf("cannot break %q in this world", part)
	}
}

// mendPart: mend git|api|cluster.
func mendPart(_ context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 1, "mend git|api|cluster"); err != nil {
		return err
	}
	switch part := c.args[0]; {
	case part == "git":
		s.world.Git.Mend()
	case part == "forge-api":
		s.world.Git.Mute(false)
	case part == "registry":
		s.world.Images.Mend()
	case part == "api" && s.world.Proxy != nil:
		s.world.Proxy.Mend()
	case part == "cluster":
		return s.world.Cluster.Resume()
	default:
		return fmt.Errorf("cannot mend %q in this world", part)
	}
	return nil
}

// mark: mark. What log looks at, and what requests counts, begins here.
func mark(_ context.Context, s *story, _ *testscript.TestScript, _ call) error {
	s.logFrom = s.world.Tradewind.Log.Len()
	s.writesFrom = s.writes(".*")
	s.registryFrom = map[string]int{}
	for _, kind := range []string{oci.Head, oci.List, oci.Other} {
		s.registryFrom[kind] = s.world.Images.Requests(kind)
	}
	return nil
}

// awaitLog: log <regexp> waits for a line of tradewind's log since mark; ! log <regexp>
// says that there is none up to now.
func awaitLog(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if len(c.args) != 1 {
		return usage("[!] log <regexp>")
	}
	re, err := regexp.Compile(c.args[0])
	if err != nil {
		return err
	}
	if !c.neg {
		_, _, err := s.world.Tradewind.Log.Await(ctx, s.logFrom, re.MatchString)
		return err
	}
	for _, line := range s.world.Tradewind.Log.Lines(s.logFrom) {
		if re.MatchString(line) {
			return fmt.Errorf("the log has %s", line)
		}
	}
	return nil
}

// awaitMetric: metrics <name{label="value"}> <cmp> <n> waits until the sum of
// tradewind's series that match compares so.
func awaitMetric(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(3, 3, `metrics <name{label="value"}> <cmp> <n>`); err != nil {
		return err
	}
	selector, err := kube.ParseSelector(c.args[0])
	if err != nil {
		return err
	}
	return poll(ctx, func() error {
		got, err := s.world.Tradewind.Metric(ctx, selector)
		if err != nil {
			return err
		}
		return compare(got, c.args[1], c.args[2])
	})
}

// compare is nil when got compares with want as cmp says.
func compare(got float64, cmp, want string) error {
	n, err := strconv.ParseFloat(want, 64)
	if err != nil {
		return err
	}
	holds, known := map[string]bool{"==": got == n, "!=": got != n, "<": got < n, "<=": got <= n, ">": got > n, ">=": got >= n}[cmp]
	if !known {
		return fmt.Errorf("unknown comparison %q", cmp)
	}
	if !holds {
		return fmt.Errorf("%v, want %s %s", got, cmp, want)
	}
	return nil
}
