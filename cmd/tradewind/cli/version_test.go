package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	v := version{Version: "v0.1.0", Revision: commit, Go: "go1.26.8"}
	for name, args := range map[string][]string{
		"version": {}, "version-json": {"-o", "json"}, "version-yaml": {"-o", "yaml"}, "version-bad-output": {"-o", "table"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProcess()
			cmd := versionCmd(p.env, v)
			cmd.SetArgs(args)
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			code := p.exit(cmd.ExecuteContext(t.Context()))
			golden(t, name, p.transcript(append([]string{"version"}, args...), code))
		})
	}
}

func TestVersionOfThisBinary(t *testing.T) {
	t.Parallel()
	p := newProcess()
	if code := run(t.Context(), []string{"version"}, p.env); code != 0 || !strings.Contains(p.out.String(), runtime.Version()) {
		t.Errorf("exit %d, output %q: want %s in it", code, &p.out, runtime.Version())
	}
}

// hinted is an error of another package that knows the next step.
type hinted struct{ error }

func (hinted) Hint() string { return "turn it off and on" }

func TestExit(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := []struct {
		name   string
		err    error
		code   int
		stderr string
	}{
		{"no error", nil, 0, ""},
		{"any error", boom, 1, "tradewind: boom\n"},
		{"a chosen code, wrapped", fmt.Errorf("looking: %w", &exitError{code: exitNotFound, hint: "look there", err: boom}), 4, "tradewind: looking: boom\nhint: look there\n"},
		{"usage", usageErrorf("-o %q", "x"), 2, "tradewind: -o \"x\"\n"},
		{"said already", &exitError{code: exitDifferent, quiet: true, err: boom}, 3, ""},
		{"a hint from below", fmt.Errorf("starting: %w", hinted{boom}), 1, "tradewind: starting: boom\nhint: turn it off and on\n"},
		{"interrupted", fmt.Errorf("listing: %w", context.Canceled), 130, "tradewind: listing: context canceled\n"},
	}
	for _, tt := range tests {
		p := newProcess()
		if code := p.exit(tt.err); code != tt.code || p.err.String() != tt.stderr {
			t.Errorf("%s: exit %d, stderr %q; want %d, %q", tt.name, code, &p.err, tt.code, tt.stderr)
		}
	}
}
