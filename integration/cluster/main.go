// Command cluster is a real Kubernetes control plane in one binary, for tests and the
// demo: etcd, kube-apiserver and the workload controllers from Kubernetes' own modules,
// and a simulator in the place of nodes. Each part is a child process of its own, so
// that its CPU and memory can be measured apart.
//
//	cluster start --dir DIR --kubeconfig FILE
//
// prints one line of JSON on standard output when the cluster is ready and stops, with
// all its children, when standard input ends or on SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// parts are the children, by the first argument they are started with.
var parts = map[string]func(context.Context, layout) error{
	"etcd":        runEtcd,
	"apiserver":   runAPIServer,
	"controllers": runControllers,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: cluster start --dir DIR --kubeconfig FILE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if args[0] == "start" {
		return start(untilStdinEnds(ctx), args[1:])
	}
	part, ok := parts[args[0]]
	if !ok || len(args) != 2 {
		return fmt.Errorf("unknown command %q: want start --dir DIR --kubeconfig FILE", args[0])
	}
	l, err := readLayout(args[1])
	if err != nil {
		return err
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
