package main

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"
	"time"
)

const (
	creators   = 8 // Applications created, and bare objects applied, at once
	oneAppRuns = 5
	readmeRuns = 3
	idleTime   = 30 * time.Second
	firstValue = 1 // that all apps have when they are installed
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
	name  string // of its rows, before the phase
	n     int
	value int // that all apps have in Git
	// changing is the file of an app that holds its value.
	changing func(app string, value int) (file, text string)
	*watchers
}

func deploymentOf(app string, value int) (file, text string) {
	return "deployment.yaml", manifests(app, value)["deployment.yaml"]
}

// fanout measures the first install of n apps and what later commits cost.
func fanout(ctx context.Context, n int) (rows []row, err error) {
	err = with(ctx, nil, func(s *subject) (err error) {
		e := &estate{subject: s, name: fmt.Sprintf("fanout-%d", n), n: n, value: firstValue, changing: deploymentOf, watchers: newWatchers()}
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
			r, err := phase(ctx)
			if err != nil {
				return err
			}
			rows = append(rows, told(r))
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
	return row{Name: e.name + "-" + phase, Unit: milliseconds}
}
