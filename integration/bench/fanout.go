package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing/fstest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const (
	creators    = 8 // Applications created, and bare objects applied, at once
	oneAppRuns  = 5
	readmeRuns  = 3
	idleTime    = 30 * time.Second
	phaseLimit  = 15 * time.Minute
	maintainers = 1 // value of the first generation of all apps
)

func fanoutRows(n int) []string {
	var names []string
	for _, phase := range []string{"install", "one-app", "all-apps", "readme", "noop", "drift"} {
		names = append(names, fmt.Sprintf("fanout-%d-%s", n, phase))
	}
	return append(names, fmt.Sprintf("idle-%d", n), fmt.Sprintf("limit-%d-create", n), fmt.Sprintf("limit-%d-change", n))
}

// manifests are the four objects of one app, a file each, with a kustomization.
func manifests(name string, value int) map[string]string {
	labels := fmt.Sprintf("{app: %s}", name)
	return map[string]string{
		"kustomization.yaml": "resources: [deployment.yaml, service.yaml, serviceaccount.yaml, ingress.yaml]\n",
		"deployment.yaml": fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, annotations: {bench.example.com/value: "%[3]d"}}
spec:
  replicas: 0
  selector: {matchLabels: %[2]s}
  template:
    metadata: {labels: %[2]s}
    spec:
      serviceAccountName: %[1]s
      containers:
      - name: app
        image: registry.example.com/%[1]s:1.0.0
        ports: [{name: http, containerPort: 8080}]
        env: [{name: MODE, value: production}]
        resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 64Mi}}
`, name, labels, value),
		"service.yaml": fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: %[2]s, ports: [{name: http, port: 80, targetPort: http}]}
`, name, labels),
		"serviceaccount.yaml": fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s}\n", name),
		"ingress.yaml": fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %[1]s}
spec:
  rules:
  - host: %[1]s.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %[1]s, port: {name: http}}}}]}
`, name),
	}
}

func appName(i int) string { return fmt.Sprintf("app-%05d", i) }

// estate is n apps in one repository, an Application each.
type estate struct {
	*subject
	n     int
	value int // that all apps have in Git
	*watchers
}

// fanout measures the first install of n apps and what later commits cost.
func fanout(ctx context.Context, n int) (rows []row, err error) {
	err = with(ctx, nil, func(s *subject) (err error) {
		e := &estate{subject: s, n: n, value: maintainers, watchers: newWatchers()}
		following, stop := context.WithCancel(ctx)
		followed := make(chan error, 1)
		go func() { followed <- e.follow(following, s.Cluster) }()
		defer func() { stop(); err = errors.Join(err, <-followed) }()
		create, change, err := e.limit(ctx)
		if err != nil {
			return fmt.Errorf("bare apply: %w", err)
		}
		files := fstest.MapFS{"README.md": {Data: []byte("# Apps\n")}}
		for i := range n {
			for name, text := range manifests(appName(i), e.value) {
				files["apps/"+appName(i)+"/"+name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		if err := s.serve(ctx, files); err != nil {
			return err
		}
		if err := s.StartTradewind(ctx); err != nil {
			return err
		}
		for _, phase := range []func(context.Context) (row, error){
			func(ctx context.Context) (row, error) { return e.install(ctx, create) },
			e.oneApp,
			func(ctx context.Context) (row, error) { return e.allApps(ctx, change) },
			e.readme, e.noop, e.drift, e.idle,
		} {
			ctx, cancel := context.WithTimeout(ctx, phaseLimit)
			r, err := phase(ctx)
			cancel()
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
		rows = append(rows,
			row{Name: fmt.Sprintf("limit-%d-create", n), Unit: milliseconds}.stats(create),
			row{Name: fmt.Sprintf("limit-%d-change", n), Unit: milliseconds}.stats(change))
		return nil
	})
	return rows, err
}

// limit applies the same objects with nothing but a client: all new, then all again of
// which the Deployments differ.
func (e *estate) limit(ctx context.Context) (create, change float64, err error) {
	space, err := e.Cluster.NewNamespace(ctx)
	if err != nil {
		return 0, 0, err
	}
	apply := func(value int) (float64, error) {
		var docs []string
		for i := range e.n {
			files := manifests(appName(i), value)
			delete(files, "kustomization.yaml")
			for _, text := range files {
				docs = append(docs, text)
			}
		}
		begun := time.Now()
		err := e.Cluster.ApplyBare(ctx, docs, space, creators)
		return since(begun, time.Now()), err
	}
	if create, err = apply(0); err != nil {
		return 0, 0, err
	}
	change, err = apply(1)
	return create, change, err
}

func (e *estate) row(phase string) row {
	return row{Name: fmt.Sprintf("fanout-%d-%s", e.n, phase), Unit: milliseconds}
}

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

// oneApp commits to the app in the middle.
func (e *estate) oneApp(ctx context.Context) (row, error) {
	name := appName(e.n / 2)
	var took []float64
	cost, err := e.measure(ctx, func() error {
		for i := range oneAppRuns {
			value := 1000 + i
			if err := e.write("apps/"+name+"/deployment.yaml", manifests(name, value)["deployment.yaml"]); err != nil {
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
		if err := e.write("apps/"+appName(i)+"/deployment.yaml", manifests(appName(i), e.value)["deployment.yaml"]); err != nil {
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
