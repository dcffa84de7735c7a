package main

import (
	"context"
	"fmt"
	"testing/fstest"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/integration/world/oci"
)

const following = `apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: apps}
spec:
  components:
  - name: apps
    type: kustomize
    properties:
      url: %q
      path: ./apps
      pullInterval: 10m
      git: {branch: main}
      imageRepository:
        image: %s/acme/bench
        interval: 10m
        policy: {semver: {range: ">=1.0.0"}}
        commitMessage: "Image: {{range .Updated.Images}}{{println .}}{{end}}"
`

const followed = `apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: bench, namespace: default}
spec:
  components:
  - name: bench
    type: webservice
    properties:
      image: %s/acme/bench:1.0.0 # {"$imagepolicy": "default:apps"}
`

// imageLatency measures from the moment a registry tells of a pushed tag until a watch on
// the API server shows the Deployment with the new image: a question to the registry, a
// commit, a push, a child Application and its rendering lie between.
func imageLatency(ctx context.Context, runs int) (rows []row, err error) {
	err = with(ctx, nil, func(s *subject) error {
		if err := follow(ctx, s); err != nil {
			return err
		}
		var took []float64
		cost, err := s.measure(ctx, func() error {
			for i := 1; i <= runs; i++ {
				one, err := pushImage(ctx, s, i)
				if err != nil {
					return fmt.Errorf("image %d: %w", i, err)
				}
				took = append(took, one)
			}
			return nil
		})
		if err == nil {
			rows = append(rows, row{Name: "image-bump", Unit: milliseconds}.stats(took...).used(cost, float64(runs)))
		}
		return err
	})
	return rows, err
}

func follow(ctx context.Context, s *subject) error {
	ctx, cancel := context.WithTimeout(ctx, 2*oneTimeout)
	defer cancel()
	if err := s.Images.Push(ctx, "acme/bench", "1.0.0", true); err != nil {
		return err
	}
	if err := s.serve(ctx, fstest.MapFS{"apps/bench.yaml": {Data: fmt.Appendf(nil, followed, s.Images.Host)}}); err != nil {
		return err
	}
	if err := s.StartTradewind(ctx); err != nil {
		return err
	}
	if _, err := s.Cluster.Apply(ctx, fmt.Appendf(nil, following, s.url, s.Images.Host), namespace); err != nil {
		return err
	}
	if err := s.Cluster.Await(ctx, deployment(), withImage(s, "1.0.0")); err != nil {
		return err
	}
	app := kube.Object{Kind: "Application", Namespace: namespace, Name: "apps"}
	return s.Cluster.Await(ctx, app, kube.Want{Path: "status.images[0].latest", Match: kube.Exactly("1.0.0")})
}

func deployment() kube.Object {
	return kube.Object{Kind: "Deployment", Namespace: namespace, Name: "bench"}
}

func withImage(s *subject, tag string) kube.Want {
	return kube.Want{Path: "spec.template.spec.containers[0].image", Match: kube.Exactly(s.Images.Host + "/acme/bench:" + tag)}
}

// burst is longer than the worker remembers that commits follow each other, so that each
// image is one that comes out of the blue.
const burst = 6 * time.Second

// pushImage is one operation, in milliseconds.
func pushImage(ctx context.Context, s *subject, n int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTimeout)
	defer cancel()
	time.Sleep(burst)
	tag := fmt.Sprintf("1.0.%d", n)
	var seen time.Time
	changed := make(chan error, 1)
	go func() {
		err := s.Cluster.Await(ctx, deployment(), withImage(s, tag))
		seen = time.Now()
		changed <- err
	}()
	if err := s.Images.Push(ctx, "acme/bench", tag, false); err != nil {
		return 0, err
	}
	if err := <-changed; err != nil {
		return 0, err
	}
	told, _, err := s.Images.Notifications.Await(ctx, n-1, func(oci.Notification) bool { return true })
	return since(told.Sent, seen), err
}
