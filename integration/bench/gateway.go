package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world"
	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const loadTime = 10 * time.Second

var connections = []int{1, 8, 64}

func gatewayRows() []string {
	var names []string
	for _, n := range connections {
		names = append(names, fmt.Sprintf("gateway-%d", n), fmt.Sprintf("gateway-bad-%d", n))
	}
	return names
}

var published = must(kube.ParseSelector("tradewind_queue_published_total"))

// gateway posts one real push payload over and over, each post with an id of its own, to
// a receiver whose repository an Application looks at. A good one counts when it was
// answered 202, which must mean that it is stored; that is checked against the queue's
// own count.
func gateway(ctx context.Context) (rows []row, err error) {
	unlimited := map[string]any{"globalPerSecond": 1_000_000, "perMinute": 60_000_000, "burst": 60_000_000, "unsignedPerMinute": 60}
	err = with(ctx, map[string]map[string]any{"hooks": {"limits": unlimited}}, func(s *subject) error {
		body, err := payload(ctx, s)
		if err != nil {
			return err
		}
		for _, n := range connections {
			for _, good := range []bool{true, false} {
				r, err := s.load(ctx, body, n, good)
				if err != nil {
					return err
				}
				rows = append(rows, r)
			}
		}
		return nil
	})
	return rows, err
}

// payload is what the forge posted for a real push.
func payload(ctx context.Context, s *subject) ([]byte, error) {
	if err := s.serve(ctx, fstest.MapFS{"deploy/configmap.yaml": {Data: []byte(configMap(0))}}); err != nil {
		return nil, err
	}
	if err := s.StartTradewind(ctx); err != nil {
		return nil, err
	}
	if _, err := s.Cluster.Apply(ctx, fmt.Appendf(nil, oneApplication, s.url), namespace); err != nil {
		return nil, err
	}
	if err := s.Cluster.Await(ctx, benchObject(), kube.Want{Path: "data.value", Match: kube.Exactly("0")}); err != nil {
		return nil, err
	}
	if err := s.write("deploy/configmap.yaml", configMap(1)); err != nil {
		return nil, err
	}
	if _, err := s.push(ctx); err != nil {
		return nil, err
	}
	all := s.Git.Deliveries(0)
	return all[len(all)-1].Body, nil
}

// load posts over n connections for a while.
func (s *subject) load(ctx context.Context, body []byte, n int, good bool) (row, error) {
	name, want, secret := "gateway-%d", http.StatusAccepted, world.Secret
	if !good {
		name, want, secret = "gateway-bad-%d", http.StatusUnauthorized, strings.ToUpper(world.Secret)
	}
	before, err := s.Tradewind.Metric(ctx, published)
	if err != nil {
		return row{}, err
	}
	var took []float64
	cost, err := s.measure(ctx, func() (err error) {
		took, err = s.post(ctx, body, secret, n, want)
		return err
	})
	if err != nil {
		return row{}, fmt.Errorf(name+": %w", n, err)
	}
	after, err := s.Tradewind.Metric(ctx, published)
	if err != nil {
		return row{}, err
	}
	if stored := after - before; good && stored < float64(len(took)) {
		return row{}, fmt.Errorf(name+": %d posts were answered 202, %.0f events are stored", n, len(took), stored)
	}
	r := row{Name: fmt.Sprintf(name, n), Unit: perSecond}.stats(took...).used(cost, float64(len(took))/1000)
	r.Value = float64(len(took)) / loadTime.Seconds() // min, median and p95 are milliseconds of one post
	return r, nil
}

// post returns how long each post took, in milliseconds.
func (s *subject) post(ctx context.Context, body []byte, secret string, n, want int) ([]float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n, MaxConnsPerHost: n}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := time.Now().Add(loadTime)
	url := s.Tradewind.Webhook().URL
	var mu sync.Mutex
	var all []float64
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			var mine []float64
			for time.Now().Before(end) && ctx.Err() == nil {
				begun := time.Now()
				if err := postOnce(ctx, client, url, body, secret, want); err != nil {
					cancel(err)
					return
				}
				mine = append(mine, since(begun, time.Now()))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	workers.Wait()
	return all, context.Cause(ctx)
}

func postOnce(ctx context.Context, client *http.Client, url string, body []byte, secret string, want int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = forge.GitHubHeader("push", secret, body)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("answered %d, want %d: %s", res.StatusCode, want, answer)
	}
	return err
}
