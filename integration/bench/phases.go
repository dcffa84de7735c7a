package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

// install is from the first Application created until the last Deployment is there.
func (e *estate) install(ctx context.Context, limit float64) (row, error) {
	var took float64
	cost, err := e.measure(ctx, func() error {
		begun := time.Now()
		if err := e.createApplications(ctx); err != nil {
			return err
		}
		last, err := e.awaitAll(ctx, e.n, e.value)
		took = since(begun, last)
		return errors.Join(err, e.awaitRunning(ctx, e.n))
	})
	r := e.row("install").stats(took).used(cost, 1)
	r.Limit = limit
	return r, err
}

func (e *estate) createApplications(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(creators)
	for i := range e.n {
		group.Go(func() error {
			doc := strings.ReplaceAll(fmt.Sprintf(oneApplication, e.url), "./deploy", "./apps/"+appName(i))
			doc = strings.ReplaceAll(doc, "name: bench", "name: "+appName(i))
			_, err := e.Cluster.Apply(ctx, []byte(doc), namespace)
			return err
		})
	}
	return group.Wait()
}

// change writes another value of one app.
func (e *estate) change(app string, value int) error {
	file, text := e.changing(app, value)
	return e.write("apps/"+app+"/"+file, text)
}

// oneApp commits to the app in the middle.
func (e *estate) oneApp(ctx context.Context) (row, error) {
	name := appName(e.n / 2)
	var took []float64
	cost, err := e.measure(ctx, func() error {
		for i := range oneAppRuns {
			value := 1000 + i
			if err := e.change(name, value); err != nil {
				return err
			}
			pushed, err := e.push(ctx)
			if err != nil {
				return err
			}
			seen, err := e.await(ctx, name, value)
			if err != nil {
				return err
			}
			took = append(took, since(pushed, seen))
			time.Sleep(quietBefore)
		}
		return nil
	})
	if err != nil {
		return row{}, err
	}
	return e.row("one-app").stats(took...).used(cost, oneAppRuns), nil
}

// allApps is one commit that changes every Deployment.
func (e *estate) allApps(ctx context.Context, limit float64) (row, error) {
	var took float64
	e.value = 2
	for i := range e.n {
		if err := e.change(appName(i), e.value); err != nil {
			return row{}, err
		}
	}
	cost, err := e.measure(ctx, func() error {
		pushed, err := e.push(ctx)
		if err != nil {
			return err
		}
		last, err := e.awaitAll(ctx, e.n, e.value)
		took = since(pushed, last)
		return err
	})
	r := e.row("all-apps").stats(took).used(cost, 1)
	r.Limit = limit
	return r, err
}

// readme commits to a file that no app reads; the figure is Tradewind's processor time.
func (e *estate) readme(ctx context.Context) (row, error) {
	cost, err := e.measure(ctx, func() error {
		for i := range readmeRuns {
			if err := e.write("README.md", fmt.Sprintf("# Apps, %d\n", i)); err != nil {
				return err
			}
			if _, err := e.push(ctx); err != nil {
				return err
			}
			time.Sleep(quietBefore)
		}
		return nil
	})
	r := e.row("readme").stats(cost.own/readmeRuns).used(cost, readmeRuns)
	r.Unit = cpuSeconds
	return r, err
}

var runs = must(kube.ParseSelector("tradewind_runs_total"))

// noop asks for a resync of everything; the figure is Tradewind's processor time.
func (e *estate) noop(ctx context.Context) (row, error) {
	before, err := e.Tradewind.Metric(ctx, runs)
	if err != nil {
		return row{}, err
	}
	cost, err := e.measure(ctx, func() error {
		var group errgroup.Group
		group.SetLimit(creators)
		at := time.Now().UTC().Format(time.RFC3339Nano)
		for i := range e.n {
			group.Go(func() error {
				return e.Cluster.Patch(ctx, kube.Object{Kind: "Application", Namespace: namespace, Name: appName(i)},
					fmt.Sprintf(`{"metadata":{"annotations":{"tradewind.dev/requested-at":%q}}}`, at))
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for {
			now, err := e.Tradewind.Metric(ctx, runs)
			if err != nil || now-before >= float64(e.n) {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	r := e.row("noop").stats(cost.own).used(cost, 1)
	r.Unit = cpuSeconds
	return r, err
}

// drift is from the change of one live object by hand until it is put back.
func (e *estate) drift(ctx context.Context) (row, error) {
	name := appName(e.n / 3)
	var took []float64
	cost, err := e.measure(ctx, func() error {
		for range oneAppRuns {
			begun := time.Now()
			err := e.Cluster.Patch(ctx, kube.Object{Kind: "Deployment", Namespace: namespace, Name: name},
				`{"metadata":{"annotations":{"bench.example.com/value":"9999"}}}`)
			if err != nil {
				return err
			}
			if _, err := e.await(ctx, name, 9999); err != nil {
				return err
			}
			seen, err := e.await(ctx, name, e.value)
			if err != nil {
				return err
			}
			took = append(took, since(begun, seen))
			time.Sleep(quietBefore)
		}
		return nil
	})
	if err != nil {
		return row{}, err
	}
	return e.row("drift").stats(took...).used(cost, oneAppRuns), nil
}

// idle is the memory in use after, and the processor time used in, half a minute of
// nothing.
func (e *estate) idle(ctx context.Context) (row, error) {
	before, err := e.quiet(ctx)
	if err != nil {
		return row{}, err
	}
	select {
	case <-ctx.Done():
		return row{}, ctx.Err()
	case <-time.After(idleTime):
	}
	after, err := e.meters(ctx)
	if err != nil {
		return row{}, err
	}
	rss, err := memory(e.Tradewind.PID(), "VmRSS")
	cost := usage{after.own - before.own, after.api - before.api, after.mutating - before.mutating, rss}
	return row{Name: fmt.Sprintf("idle-%d", e.n), Unit: mebibytes}.stats(rss).used(cost, 1), err
}
