// Command build makes the programs that tests and the demo run, and shows that it is
// working while it does. It needs nothing but the standard library, so that it starts at
// once on a machine where nothing was compiled yet.
//
//	go run ./integration/build [tradewind] [cluster] [demo]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// target is one program in bin/.
type target struct {
	dir   string // of its module, from the root
	pkg   string
	flags []string
	// keyed targets are built only when their sources or the toolchain changed; it takes
	// the go command itself a while to find out, where there are thousands of packages.
	keyed bool
}

const kubernetesVersion = "v1.37.2"

var targets = map[string]target{
	"tradewind": {dir: ".", pkg: "./cmd/tradewind", flags: []string{"-trimpath"}},
	"demo":      {dir: ".", pkg: "./integration/demo"},
	"cluster": {dir: "integration/cluster", pkg: ".", keyed: true, flags: []string{"-trimpath", "-ldflags", "-s -w" +
		" -X k8s.io/component-base/version.gitVersion=" + kubernetesVersion +
		" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"}},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return errors.New("nothing to build: want tradewind, cluster or demo")
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		t, ok := targets[name]
		if !ok {
			return fmt.Errorf("unknown program %q: want tradewind, cluster or demo", name)
		}
		if err := build(ctx, root, name, t); err != nil {
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
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

func build(ctx context.Context, root, name string, t target) error {
	dir := filepath.Join(root, t.dir)
	out := filepath.Join(root, "bin", name)
	keyFile, key := out+".key", ""
	if t.keyed {
		var err error
		if key, err = sourceKey(ctx, dir); err != nil {
			return err
		}
		stored, _ := os.ReadFile(keyFile) // absent or unreadable: build
		if _, err := os.Stat(out); err == nil && string(stored) == key {
			fmt.Fprintf(os.Stderr, "%s is up to date\n", filepath.Join("bin", name))
			return nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	p := newProgress(name)
	p.say("downloading modules")
	if err := download(ctx, dir); err != nil {
		return err
	}
	total, err := countPackages(ctx, dir, t.pkg)
	if err != nil {
		return err
	}
	if err := compile(ctx, dir, out, t, p, total); err != nil {
		return err
	}
	p.done()
	if !t.keyed {
		return nil
	}
	return os.WriteFile(keyFile, []byte(key), 0o600)
}
