// Command cluster is a real Kubernetes control plane in one binary, for tests and the
// demo: etcd, kube-apiserver and the workload controllers from Kubernetes' own modules,
// and a simulator in the place of scheduler, nodes and cloud. Each part is a child
// process of its own, so that its CPU and memory can be measured apart.
//
//	cluster start --dir DIR --kubeconfig FILE [--nodes N]
//
// prints one line of JSON on standard output when the cluster is ready, and stops with
// all its children when standard input ends or on SIGINT or SIGTERM.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/component-base/version"
)

const usage = `usage: cluster start --dir DIR --kubeconfig FILE [--nodes N]
       cluster --version`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("a command is missing\n%s", usage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch name := args[0]; name {
	case "start":
		return start(ctx, args[1:])
	case "version", "--version":
		fmt.Println(version.Get().GitVersion)
		return nil
	case "help", "--help", "-h":
		fmt.Println(usage)
		return nil
	default:
		return runPart(ctx, name, args[1:])
	}
}

// runPart is what a child does. Its name and the layout file are its only arguments.
func runPart(ctx context.Context, name string, args []string) error {
	parts := map[string]func(context.Context, layout) error{
		"etcd": runEtcd, "apiserver": runAPIServer, "controllers": runControllers,
	}
	part, ok := parts[name]
	if !ok || len(args) != 1 {
		return fmt.Errorf("unknown command %q\n%s", name, usage)
	}
	l, err := readLayout(args[0])
	if err != nil {
		return fmt.Errorf("reading the layout: %w", err)
	}
	return part(untilStdinEnds(ctx), l)
}

// untilStdinEnds ends with the parent, however the parent dies: its end of the pipe
// closes with it.
func untilStdinEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		buf := make([]byte, 64)
		for {
			if _, err := os.Stdin.Read(buf); err != nil {
				return
			}
		}
	}()
	return ctx
}
