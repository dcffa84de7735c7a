package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/<name>.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// process is an env whose output is kept.
type process struct {
	*env
	out, err bytes.Buffer
}

func newProcess(environ ...string) *process {
	p := &process{}
	p.env = &env{
		stdout: &p.out, stderr: &p.err, stdin: strings.NewReader(""), environ: environ,
		getenv: func(name string) string {
			for _, entry := range environ {
				if value, ok := strings.CutPrefix(entry, name+"="); ok {
					return value
				}
			}
			return ""
		},
		now: func() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) },
	}
	return p
}

// transcript is what a person sees: the line typed, both outputs and the exit code.
func (p *process) transcript(args []string, code int) string {
	var b strings.Builder
	b.WriteString("$ tradewind " + strings.Join(args, " ") + "\n")
	b.WriteString(p.out.String())
	for line := range strings.Lines(p.err.String()) {
		b.WriteString("[stderr] " + line)
	}
	if code != 0 {
		b.WriteString("[exit " + string(rune('0'+code)) + "]\n")
	}
	return b.String()
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"ls"}, {"images"}, {"status"}, {"render"}, {"def"}, {"def", "apply"}, {"def", "list"}, {"policy"}, {"policy", "test"}, {"send"}, {"send", "github"}, {"send", "github", "push"}, {"version"},
		{"tree"}, {"history"}, {"rollback"}, {"diff"}, {"dry-run"}, {"logs"}, {"reconcile"}, {"suspend"}, {"resume"}, {"wait"}, {"delete"}, {"workflow"},
		{"workflow", "list"}, {"workflow", "suspend"}, {"workflow", "resume"}, {"workflow", "terminate"}, {"workflow", "restart"}, {"workflow", "rollback"},
	} {
		t.Run(strings.Join(args, "-"), func(t *testing.T) {
			t.Parallel()
			p := newProcess()
			if code := run(t.Context(), append(args, "--help"), p.env); code != 0 || p.err.Len() > 0 {
				t.Errorf("exit %d, stderr %s", code, &p.err)
			}
			golden(t, "help-"+strings.Join(args, "-"), p.out.String())
		})
	}
}
