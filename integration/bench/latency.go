package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing/fstest"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world"
	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const (
	repo        = "acme/bench"
	namespace   = "default"
	oneTimeout  = 30 * time.Second
	quietBefore = 500 * time.Millisecond // so that one operation does not run into the next
)

var application = `apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: bench}
spec:
  components:
  - name: bench
    type: kustomize
    properties: {url: %q, path: ./deploy, pullInterval: 10m, git: {branch: main}}
`

func configMap(value int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bench}\ndata: {value: \"%d\"}\n", value)
}

// latency measures from the moment a push is in the repository, before the webhook is
// posted, until a watch on the API server shows the new value.
func latency(ctx context.Context, runs, extraFiles int) (r row, err error) {
	dir, err := os.MkdirTemp("", "tradewind-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := world.Start(ctx, world.Options{Dir: dir})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.Stop(context.WithoutCancel(ctx))) }()
	clone := filepath.Join(dir, "clone")
	if err := prepare(ctx, w, clone, extraFiles); err != nil {
		return r, err
	}
	before, err := cpu(w.Tradewind.PID())
	if err != nil {
		return r, err
	}
	var took []float64
	for i := 1; i <= runs; i++ {
		one, err := pushOnce(ctx, w, clone, i, i-1)
		if err != nil {
			return r, fmt.Errorf("push %d: %w", i, err)
		}
		took = append(took, float64(one.Microseconds())/1000)
	}
	after, err := cpu(w.Tradewind.PID())
	if err != nil {
		return r, err
	}
	slices.Sort(took)
	r = row{Unit: "ms", Min: took[0], Median: took[len(took)/2], P95: took[len(took)*95/100], OwnCPU: (after - before) / float64(runs)}
	r.Value = r.Median
	r.PeakRSSMiB, err = peakRSS(w.Tradewind.PID())
	return r, err
}

func prepare(ctx context.Context, w *world.World, clone string, extraFiles int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*oneTimeout)
	defer cancel()
	files := fstest.MapFS{"deploy/configmap.yaml": {Data: []byte(configMap(0))}}
	for i := range extraFiles {
		text := strings.Repeat(fmt.Sprintf("line %d of a file\n", i), 30)
		files[fmt.Sprintf("other/%03d.txt", i)] = &fstest.MapFile{Data: []byte(text)}
	}
	url, err := w.Git.CreateRepo(ctx, repo, files, nil)
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"clone", "--quiet", url, clone},
		{"-C", clone, "config", "user.name", "Ada"}, {"-C", clone, "config", "user.email", "ada@example.com"},
	} {
		if _, err := forge.Git(ctx, w.Dir, args...); err != nil {
			return err
		}
	}
	if _, err := w.Cluster.Apply(ctx, fmt.Appendf(nil, application, url), namespace); err != nil {
		return err
	}
	return w.Cluster.Await(ctx, object(), kube.Want{Path: "data.value", Match: kube.Exactly("0")})
}

func object() kube.Object { return kube.Object{Kind: "ConfigMap", Namespace: namespace, Name: "bench"} }

// pushOnce is one operation; delivered is how many webhooks were posted before it.
func pushOnce(ctx context.Context, w *world.World, clone string, value, delivered int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTimeout)
	defer cancel()
	time.Sleep(quietBefore)
	if err := os.WriteFile(filepath.Join(clone, "deploy", "configmap.yaml"), []byte(configMap(value)), 0o600); err != nil {
		return 0, err
	}
	if _, err := forge.Git(ctx, clone, "commit", "--quiet", "--all", "--message", "change"); err != nil {
		return 0, err
	}
	var seen time.Time
	changed := make(chan error, 1)
	go func() {
		err := w.Cluster.Await(ctx, object(), kube.Want{Path: "data.value", Match: kube.Exactly(strconv.Itoa(value))})
		seen = time.Now()
		changed <- err
	}()
	if _, err := forge.Git(ctx, clone, "push", "--quiet"); err != nil {
		return 0, err
	}
	if err := <-changed; err != nil {
		return 0, err
	}
	d, _, err := w.Git.AwaitDelivery(ctx, delivered, func(forge.Delivery) bool { return true })
	return seen.Sub(d.Pushed), err
}

// cpu is the processor time a process has used, in seconds.
func cpu(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; the fields count from behind it.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	const user, system, hertz = 11, 12, 100
	var ticks float64
	for _, i := range []int{user, system} {
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks / hertz, nil
}

// peakRSS is the largest resident memory a process has had.
func peakRSS(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmHWM in the process status")
}
