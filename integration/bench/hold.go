package main

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"
	"time"
)

// manyApps is how many Applications one Tradewind must hold.
const manyApps = 10_000

func holdRows(n int) []string {
	return []string{fmt.Sprintf("hold-%d-install", n), fmt.Sprintf("hold-%d-one-app", n), fmt.Sprintf("idle-%d", n)}
}

func oneMap(name string, value int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, annotations: {%s: \"%d\"}}\n", name, valueAnnotation, value)
}

// hold measures with very many Applications of one ConfigMap each.
func hold(ctx context.Context, n int) (rows []row, err error) {
	err = with(ctx, nil, func(s *subject) (err error) {
		e := &estate{subject: s, n: n, value: 1, watchers: newWatchers()}
		following, stop := context.WithCancel(ctx)
		followed := make(chan error, 1)
		go func() { followed <- e.follow(following, s.Cluster) }()
		defer func() { stop(); err = errors.Join(err, <-followed) }()
		files := fstest.MapFS{}
		for i := range n {
			files["apps/"+appName(i)+"/map.yaml"] = &fstest.MapFile{Data: []byte(oneMap(appName(i), e.value))}
		}
		if err := s.serve(ctx, files); err != nil {
			return err
		}
		if err := s.StartTradewind(ctx); err != nil {
			return err
		}
		for _, phase := range []func(context.Context) (row, error){e.holdInstall, e.holdOneApp, e.idle} {
			r, err := phase(ctx)
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
		return nil
	})
	return rows, err
}

func (e *estate) holdInstall(ctx context.Context) (row, error) {
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
	return row{Name: fmt.Sprintf("hold-%d-install", e.n), Unit: milliseconds}.stats(took).used(cost, 1), err
}

func (e *estate) holdOneApp(ctx context.Context) (row, error) {
	name := appName(e.n / 2)
	var took []float64
	cost, err := e.measure(ctx, func() error {
		for i := range oneAppRuns {
			value := 1000 + i
			if err := e.write("apps/"+name+"/map.yaml", oneMap(name, value)); err != nil {
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
	return row{Name: fmt.Sprintf("hold-%d-one-app", e.n), Unit: milliseconds}.stats(took...).used(cost, oneAppRuns), nil
}
