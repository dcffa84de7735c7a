package integration

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// awaitPulls: [!] pulls <owner/name> <regexp>. The open pull requests of a repository, a
// line "<head> into <base>: <title>" and its text for each; with ! there is none that
// matches now.
func awaitPulls(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	return s.awaitText(ctx, c, "[!] pulls <owner/name> <regexp>", func() string {
		var out strings.Builder
		for _, p := range s.world.Git.Pulls(c.args[0]) {
			fmt.Fprintf(&out, "%s into %s: %s\n%s\n", p.Head, p.Base, p.Title, p.Body)
		}
		return out.String()
	})
}

// awaitStatuses: [!] statuses <owner/name> <regexp>. What was said of the commits of a
// repository, a line "<commit> <context> <state> <description>" each, oldest first.
func awaitStatuses(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	return s.awaitText(ctx, c, "[!] statuses <owner/name> <regexp>", func() string {
		var out strings.Builder
		for _, said := range s.world.Git.Statuses(c.args[0]) {
			fmt.Fprintln(&out, said.Commit, said.Context, said.State, said.Description)
		}
		return out.String()
	})
}

func (s *story) awaitText(ctx context.Context, c call, usage string, text func() string) error {
	if len(c.args) != 2 {
		return errors.New("usage: " + usage)
	}
	re, err := regexp.Compile("(?m)" + c.args[1])
	if err != nil {
		return err
	}
	if c.neg {
		if now := text(); re.MatchString(now) {
			return fmt.Errorf("%q matches:\n%s", c.args[1], now)
		}
		return nil
	}
	return poll(ctx, func() error {
		if now := text(); !re.MatchString(now) {
			return fmt.Errorf("%q does not match:\n%s", c.args[1], now)
		}
		return nil
	})
}

// mergePull: merge <owner/name>. The only open pull request, as by its button.
func mergePull(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 1, "merge <owner/name>"); err != nil {
		return err
	}
	return s.world.Git.Merge(ctx, c.args[0])
}
