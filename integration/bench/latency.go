package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing/fstest"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const (
	oneTimeout  = 30 * time.Second
	quietBefore = 500 * time.Millisecond // so that one operation does not run into the next
)

var oneApplication = `apiVersion: core.oam.dev/v1beta1
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

func benchObject() kube.Object {
	return kube.Object{Kind: "ConfigMap", Namespace: namespace, Name: "bench"}
}

// latency measures from the moment a push is in the repository, before the webhook is
// posted, until a watch on the API server shows the new value.
func latency(ctx context.Context, name string, runs, extraFiles int) (rows []row, err error) {
	err = with(ctx, nil, func(s *subject) error {
		files := fstest.MapFS{"deploy/configmap.yaml": {Data: []byte(configMap(0))}}
		for i := range extraFiles {
			text := strings.Repeat(fmt.Sprintf("line %d of a file\n", i), 30)
			files[fmt.Sprintf("other/%03d.txt", i)] = &fstest.MapFile{Data: []byte(text)}
		}
		if err := s.serve(ctx, files); err != nil {
			return err
		}
		if err := s.StartTradewind(ctx); err != nil {
			return err
		}
		if _, err := s.Cluster.Apply(ctx, fmt.Appendf(nil, oneApplication, s.url), namespace); err != nil {
			return err
		}
		if err := s.Cluster.Await(ctx, benchObject(), kube.Want{Path: "data.value", Match: kube.Exactly("0")}); err != nil {
			return err
		}
		var took []float64
		cost, err := s.measure(ctx, func() error {
			for i := 1; i <= runs; i++ {
				one, err := pushOnce(ctx, s, i)
				if err != nil {
					return fmt.Errorf("push %d: %w", i, err)
				}
				took = append(took, one)
			}
			return nil
		})
		if err == nil {
			rows = append(rows, row{Name: name, Unit: milliseconds}.stats(took...).used(cost, float64(runs)))
		}
		return err
	})
	return rows, err
}

// pushOnce is one operation, in milliseconds.
func pushOnce(ctx context.Context, s *subject, value int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTimeout)
	defer cancel()
	time.Sleep(quietBefore)
	if err := s.write("deploy/configmap.yaml", configMap(value)); err != nil {
		return 0, err
	}
	var seen time.Time
	changed := make(chan error, 1)
	go func() {
		err := s.Cluster.Await(ctx, benchObject(), kube.Want{Path: "data.value", Match: kube.Exactly(strconv.Itoa(value))})
		seen = time.Now()
		changed <- err
	}()
	pushed, err := s.push(ctx)
	if err != nil {
		return 0, err
	}
	if err := <-changed; err != nil {
		return 0, err
	}
	return since(pushed, seen), nil
}

// since is a time between two moments in milliseconds.
func since(from, to time.Time) float64 { return float64(to.Sub(from).Microseconds()) / 1000 }
