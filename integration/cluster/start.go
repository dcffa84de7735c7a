package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	startTimeout = 90 * time.Second
	portAttempts = 3
)

// ready is the line that tells whoever started us that the cluster can be used.
type ready struct {
	Ready      bool           `json:"ready"`
	Server     string         `json:"server"`
	Kubeconfig string         `json:"kubeconfig"`
	PIDs       map[string]int `json:"pids"`
	Took       string         `json:"took"`
}

// start is the parent: it starts the parts, says when they are ready, and ends with them.
func start(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("start", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder for data and logs")
	kubeconfig := flags.String("kubeconfig", "", "file to write")
	nodes := flags.Int("nodes", 1, "how many nodes to simulate")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || *kubeconfig == "" || *nodes < 1 || flags.NArg() > 0 {
		return errors.New("start needs --dir, --kubeconfig and at least one node\n" + usage)
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return fmt.Errorf("finding %s: %w", *dir, err)
	}
	// The kernel kills a child when the thread that started it ends (see dieWithParent):
	// this one lives until the process does.
	runtime.LockOSThread()
	ctx = untilStdinEnds(ctx)
	began := time.Now()
	for range portAttempts {
		var l layout
		if l, err = newLayout(abs, *kubeconfig, *nodes); err != nil {
			return fmt.Errorf("preparing %s: %w", abs, err)
		}
		if err = serve(ctx, l, began); !portTaken(err) {
			break
		}
	}
	return err
}

// serve runs the parts until ctx ends or one of them does.
func serve(ctx context.Context, l layout, began time.Time) error {
	var cs children
	defer cs.stop()
	for _, name := range []string{"etcd", "apiserver", "controllers"} {
		if err := cs.start(name, l); err != nil {
			return fmt.Errorf("starting %s: %w", name, err)
		}
	}
	if err := cs.awaitReady(ctx, l); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before it was ready
		}
		return err
	}
	if err := announce(l, cs.pids(), time.Since(began)); err != nil {
		return fmt.Errorf("saying that it is ready: %w", err)
	}
	debug.FreeOSMemory() // nothing left to do but wait
	select {
	case <-ctx.Done():
		return nil
	case c := <-cs.exited():
		return c.failure(l)
	}
}

// portTaken says that someone else took a port between our finding it free and a child
// listening on it, as happens when many clusters start at once.
func portTaken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "address already in use")
}

func announce(l layout, pids map[string]int, took time.Duration) error {
	return json.NewEncoder(os.Stdout).Encode(ready{
		Ready: true, Server: l.server(), Kubeconfig: l.Kubeconfig,
		PIDs: pids, Took: took.Round(10 * time.Millisecond).String(),
	})
}

// awaitReady returns when pods can be created: the API server says it is ready, and the
// controllers have made the default service account.
func (cs *children) awaitReady(ctx context.Context, l layout) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	config, err := l.restConfig("cluster")
	if err != nil {
		return fmt.Errorf("reading the certificate authority: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("building a client: %w", err)
	}
	// Ends the wait early when a child has ended.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case c := <-cs.exited():
			stop(c.failure(l))
		case <-ctx.Done():
		}
	}()
	if err := awaitAPI(ctx, client); err != nil {
		return err
	}
	return until(ctx, "the default service account", func() error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func awaitAPI(ctx context.Context, client *kubernetes.Clientset) error {
	return until(ctx, "the API server", func() error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// until tries every 50 ms. Why ctx ended tells more than the last failure where there is
// a cause.
func until(ctx context.Context, what string, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); cause != ctx.Err() {
				return fmt.Errorf("waiting for %s: %w", what, cause)
			}
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
