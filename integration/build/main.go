// Command build makes the programs that tests and the demo run, and shows that it is
// working while it does. It needs nothing but the standard library, so that it starts at
// once on a machine where nothing was compiled yet.
//
//	go run ./integration/build [tradewind] [tradewind-sops] [cluster] [demo]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// target is one program in bin/.
type target struct {
	dir   string // of its module, from the root
	pkg   string
	flags []string
	// keyed targets are built only when their sources or the toolchain changed: with
	// thousands of packages it takes even the go command a while to find out.
	keyed bool
}

// These are of the version in integration/cluster/go.mod. A plain build of Kubernetes does
// not know its version, and clients that ask for it would refuse to work.
const kubernetesMinor, kubernetesPatch = "37", "2"

func targets() map[string]target {
	const version = "k8s.io/component-base/version."
	return map[string]target{
		"tradewind":      {dir: ".", pkg: "./cmd/tradewind", flags: []string{"-trimpath"}},
		"demo":           {dir: ".", pkg: "./integration/demo"},
		"tradewind-sops": {dir: "cmd/tradewind-sops", pkg: ".", keyed: true, flags: []string{"-trimpath", "-ldflags", "-s -w"}},
		"cluster": {
			dir: "integration/cluster", pkg: ".", keyed: true,
			flags: []string{"-trimpath", "-ldflags", "-s -w" +
				" -X " + version + "gitVersion=v1." + kubernetesMinor + "." + kubernetesPatch +
				" -X " + version + "gitMajor=1 -X " + version + "gitMinor=" + kubernetesMinor},
		},
	}
}

// usageError is a mistake in the arguments.
type usageError string

func (e usageError) Error() string { return string(e) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stderr)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "build:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		os.Exit(2)
	}
	os.Exit(1)
}

func run(ctx context.Context, names []string, out io.Writer) error {
	known := targets()
	list := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	if len(names) == 0 {
		return usageError("nothing to build; there are: " + list)
	}
	for _, name := range names {
		if _, ok := known[name]; !ok {
			return usageError(fmt.Sprintf("unknown target %q; there are: %s", name, list))
		}
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := build(ctx, root, name, known[name], out); err != nil {
			return fmt.Errorf("building %s: %w", name, err)
		}
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(root, "integration", "build")); err != nil {
		return "", errors.New("run it from within Tradewind's checkout")
	}
	return root, nil
}

// build leaves bin/<name>, whole or as it was: a test may be running the one before.
func build(ctx context.Context, root, name string, t target, out io.Writer) error {
	m := module{dir: filepath.Join(root, t.dir), target: t}
	binary := filepath.Join(root, "bin", name)
	keyFile, key := binary+".key", ""
	if t.keyed {
		var err error
		if key, err = m.key(ctx); err != nil {
			return err
		}
		stored, _ := os.ReadFile(keyFile) // absent or unreadable: build
		if _, err := os.Stat(binary); err == nil && strings.TrimSpace(string(stored)) == key {
			fmt.Fprintf(out, "bin/%s is up to date\n", name)
			return nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return err
	}
	p := newProgress(name, out)
	defer p.end()
	if err := m.compile(ctx, binary+".new", p); err != nil {
		return err
	}
	if err := os.Rename(binary+".new", binary); err != nil {
		return err
	}
	p.done()
	if !t.keyed {
		return nil
	}
	return os.WriteFile(keyFile, []byte(key+"\n"), 0o644)
}
