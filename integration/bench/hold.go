package main

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"
)

// manyApps is how many Applications one Tradewind must hold.
const manyApps = 10_000

func holdRows(n int) []string {
	return []string{fmt.Sprintf("hold-%d-install", n), fmt.Sprintf("hold-%d-one-app", n), fmt.Sprintf("idle-%d", n)}
}

func mapOf(app string, value int) (file, text string) { return "map.yaml", oneMap(app, value) }

func oneMap(name string, value int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, annotations: {%s: \"%d\"}}\n", name, valueAnnotation, value)
}

// hold measures with very many Applications of one ConfigMap each.
func hold(ctx context.Context, n int) (rows []row, err error) {
	err = with(ctx, nil, func(s *subject) (err error) {
		e := &estate{subject: s, name: fmt.Sprintf("hold-%d", n), n: n, value: firstValue, changing: mapOf, watchers: newWatchers()}
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
		for _, phase := range []func(context.Context) (row, error){
			func(ctx context.Context) (row, error) { return e.install(ctx, 0) }, e.oneApp, e.idle,
		} {
			r, err := phase(ctx)
			if err != nil {
				return err
			}
			rows = append(rows, told(r))
		}
		return nil
	})
	return rows, err
}
