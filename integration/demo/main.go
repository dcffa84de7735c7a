// Command demo is the README's minute: a world with the seed's example delivered, three
// things to try in another terminal, and a line for everything that happens, until
// Ctrl-C takes it all away again.
//
// With --once it makes the first change itself, says how long that took, and ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/tradewind-dev/tradewind/integration/seed"
	"github.com/tradewind-dev/tradewind/integration/world"
	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const (
	repoName  = "acme/config"
	namespace = "default"
	patience  = time.Minute // for the example to be delivered
)

// apps are the example's Applications: two applied here, two that Git brings.
var apps = []string{"infra", "apps", "mysql", "my-app"}

func main() {
	once := flag.Bool("once", false, "make one change, say how long it took, and end")
	flag.Parse()
	// A second Ctrl-C is not caught, and ends everything at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	err := run(ctx, *once)
	if ctx.Err() != nil && !*once {
		err = nil // asked to end, and ended
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is a world with the example in it.
type demo struct {
	world *world.World
	clone string
	out   *screen
}

func run(ctx context.Context, once bool) (err error) {
	dir, err := os.MkdirTemp("", "tradewind-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	out := newScreen(os.Stdout, term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "")
	binary, err := program()
	if err != nil {
		return err
	}
	w, err := world.Start(ctx, world.Options{Dir: dir, Binary: binary, Progress: out.step})
	if err != nil {
		out.stepFailed()
		return err
	}
	d := &demo{world: w, clone: filepath.Join(dir, "config"), out: out}
	defer func() {
		out.stepFailed() // only if one is under way
		out.step("Stopping")
		err = errors.Join(err, w.Stop(context.WithoutCancel(ctx)))
		out.stepDone()
	}()
	if err := d.deliver(ctx); err != nil {
		return err
	}
	if once {
		return d.change(ctx)
	}
	if err := d.explain(ctx); err != nil {
		return err
	}
	return d.follow(ctx)
}

// program is tradewind beside this program.
func program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), "tradewind")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no tradewind beside %s: %w; start the demo with: make demo", self, err)
	}
	return path, nil
}

// deliver puts the example into Git, applies what a person applies by hand, and waits
// until Git has brought the rest.
func (d *demo) deliver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d.out.step("The example: 2 Applications by hand, 2 from Git")
	files, err := seed.Files(d.world.Git.RepoURL(repoName), d.world.Charts)
	if err != nil {
		return err
	}
	url, err := d.world.Git.CreateRepo(ctx, repoName, files, nil)
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"clone", "--quiet", url, d.clone},
		{"-C", d.clone, "config", "user.name", "Ada"}, {"-C", d.clone, "config", "user.email", "ada@example.com"},
	} {
		if _, err := forge.Git(ctx, d.world.Dir, args...); err != nil {
			return err
		}
	}
	manifests := [][]byte{[]byte(seed.Secret)}
	for _, name := range []string{"infra.yaml", "apps.yaml"} {
		data, err := os.ReadFile(filepath.Join(d.clone, "clusters", name))
		if err != nil {
			return err
		}
		manifests = append(manifests, data)
	}
	for _, manifest := range manifests {
		if _, err := d.world.Cluster.Apply(ctx, manifest, namespace); err != nil {
			return err
		}
	}
	for _, name := range apps {
		running := kube.Want{Path: "status.status", Match: kube.Exactly("running")}
		if err := d.world.Cluster.Await(ctx, application(name), running); err != nil {
			return errors.Join(err, d.world.Tradewind.Alive())
		}
	}
	d.out.stepDone()
	return nil
}

func application(name string) kube.Object {
	return kube.Object{Kind: "Application", Namespace: namespace, Name: name}
}
