// Package integration is the stories that Tradewind must tell the right way, as scripts
// over a real cluster, a real Git server and the real program (README.md lists their
// words), and the rules of the whole module as tests.
package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tradewind-dev/tradewind/integration/world"
	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

var selected = flag.String("scenario", ".", "run the scenarios whose name matches this regexp")

const (
	patience  = 30 * time.Second // of a word that waits, unless -t says otherwise
	worldTime = 3 * time.Minute  // to start a world on a busy machine
	tailLines = 60
)

func TestScenario(t *testing.T) {
	files := choose(t, *selected)
	bin := t.TempDir()
	build(t, bin)
	testscript.Run(t, testscript.Params{
		Files:               files,
		TestWork:            os.Getenv("KEEP") != "",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Cmds:                words(),
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, forge.GitEnv(env.WorkDir)...)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Values[storyKey{}] = &story{
				tb: env.T().(testing.TB), work: env.WorkDir, bin: filepath.Join(bin, "tradewind"), remembered: map[string]string{},
			}
			return nil
		},
	})
}

// choose fails when nothing matches: a story that never runs must not look like a pass.
func choose(t *testing.T, pattern string) []string {
	t.Helper()
	re, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatalf("-scenario: %v", err)
	}
	all, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var files, names []string
	for _, file := range all {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		names = append(names, name)
		if re.MatchString(name) {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		t.Fatalf("no scenario matches %q; there are:\n  %s", pattern, strings.Join(names, "\n  "))
	}
	return files
}

// build makes the program as it is released. A copy of the test binary would not do: it
// starts itself again to render.
func build(t *testing.T, dir string) {
	t.Helper()
	root, err := proc.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, "tradewind"), "./cmd/tradewind")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building tradewind: %v\n%s", err, out)
	}
}

// story is one running script.
type story struct {
	tb   testing.TB
	work string
	bin  string

	world      *world.World
	logFrom    int // where log looks from
	answered   int // deliveries that answered has looked at
	announced  int // notifications that announced has looked at
	writesFrom int // where requests counts from
	remembered map[string]string

	outside      *outside       // what steps reach
	registryFrom map[string]int // where registry counts from
}

type storyKey struct{}

// word is one command of the scripts. The context ends when patience does.
type word func(ctx context.Context, s *story, ts *testscript.TestScript, c call) error

// call is how a word was used.
type call struct {
	neg  bool // preceded by !
	args []string
}

// words are all commands, by the name scripts use.
func words() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]word{
		"world": startWorld, "seed": seedRepo, "repo": createRepo, "chart": publishChart, "releases": awaitReleases,
		"artifact": pushArtifact, "pulls": awaitPulls, "merge": mergePull, "statuses": awaitStatuses,
		"git": runGit, "push": pushAll, "edit": editFile,
		"image": pushImage, "built-image": buildImage, "images": pushImages, "forged-image": forgeImage, "announced": awaitAnnounced, "registry": countRegistry, "bump-race": raceImages,
		"tradewind": runTradewind, "start": startTradewind, "shutdown": shutdownTradewind, "crash": crashTradewind,
		"break": breakPart, "mend": mendPart,
		"outside": startOutside, "received": awaitReceived, "metric": setMetric,
		"hook": postHook, "post": postRaw, "redeliver": redeliver, "answered": awaitAnswer, "bad-input": postBadInput,
		"log": awaitLog, "mark": mark, "metrics": awaitMetric, "requests": countRequests,
		"apply": applyFile, "patch": patchObject, "delete": deleteObject,
		"object": checkObject, "await": awaitObject, "gone": awaitGone, "absent": checkAbsent,
		"remember": remember, "same": compareSame, "count-records": countRecords,
	}
	cmds := map[string]func(*testscript.TestScript, bool, []string){}
	for name, run := range all {
		cmds[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(storyKey{}).(*story)
			if s.world == nil && !worldless[name] {
				ts.Fatalf("%s: start a world first", name)
			}
			limit := patience
			if name == "world" {
				limit = worldTime
			}
			if len(args) > 1 && args[0] == "-t" {
				var err error
				if limit, err = time.ParseDuration(args[1]); err != nil {
					ts.Fatalf("%s: %v", name, err)
				}
				args = args[2:]
			}
			ctx, cancel := context.WithTimeoutCause(s.tb.Context(), limit, fmt.Errorf("not within %s", limit))
			defer cancel()
			if err := run(ctx, s, ts, call{neg, args}); err != nil {
				ts.Fatalf("%s: %v", name, err)
			}
		}
	}
	return cmds
}

// worldless are the words that need nothing to be running.
var worldless = map[string]bool{"world": true, "git": true, "edit": true, "tradewind": true}

// usage is the error of a word that was used in another way than its form.
func usage(form string) error { return fmt.Errorf("want: %s", form) }

// once refuses "!" before a word for which it has no meaning.
func (c call) once(least, most int, form string) error {
	if c.neg || len(c.args) < least || len(c.args) > most {
		return usage(form)
	}
	return nil
}

func startWorld(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	o := world.Options{Dir: filepath.Join(s.work, ".world"), Binary: s.bin}
	for _, option := range c.args {
		switch option {
		case "poll-only":
			o.PollOnly = true
		case "no-tradewind":
			o.NoTradewind = true
		case "proxy":
			o.Proxy = true
		case "require-account":
			o.Settings = map[string]map[string]any{"cluster": {"requireServiceAccount": true}}
		case "quick-render":
			o.Settings = map[string]map[string]any{"render": {"timeout": "3s", "memoryMiB": 256}}
		default:
			return usage("world [poll-only] [no-tradewind] [proxy] [quick-render] [require-account]")
		}
	}
	if c.neg || s.world != nil {
		return usage("world, once in a story")
	}
	if err := os.Mkdir(o.Dir, 0o755); err != nil {
		return err
	}
	w, err := world.Start(ctx, o)
	if err != nil {
		return err
	}
	s.world = w
	ts.Defer(func() { s.end(ts) })
	ts.Setenv("KUBECONFIG", w.Cluster.Kubeconfig)
	ts.Setenv("TRADEWIND_CONFIG", w.Tradewind.Config)
	ts.Setenv("REGISTRY", w.Images.Host)
	ts.Setenv("GIT_URL", w.Git.URL)
	ts.Setenv("CHARTS_URL", w.Charts)
	ts.Setenv("STORE_URL", w.Store)
	ts.Setenv("STORE_DIR", w.StoreDir)
	s.setAddresses(ts)
	return nil
}

func (s *story) setAddresses(ts *testscript.TestScript) {
	ts.Setenv("HOOKS_URL", s.world.Tradewind.HooksURL())
	ts.Setenv("ADMIN_URL", s.world.Tradewind.AdminURL())
}

// end stops the world. What the program said last is shown when the story failed.
func (s *story) end(ts *testscript.TestScript) {
	if s.tb.Failed() {
		ts.Logf("the last lines of tradewind's log:\n%s", s.world.Tradewind.Log.Tail(tailLines))
		if os.Getenv("KEEP") == "" {
			ts.Logf("KEEP=1 keeps the work folder, with all logs in .world")
		}
	}
	if err := s.world.Stop(context.WithoutCancel(s.tb.Context())); err != nil {
		s.tb.Errorf("stopping the world: %v", err)
	}
}
