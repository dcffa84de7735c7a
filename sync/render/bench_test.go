package render_test

import (
	"runtime"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// fiveFiles is an application of five files, as one overlay over a base.
var fiveFiles = fstest.MapFS{
	"app/base/kustomization.yaml": {Data: []byte("resources: [deployment.yaml, service.yaml]\n")},
	"app/base/deployment.yaml": {Data: []byte(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example.com/web:1
        ports: [{containerPort: 80}]
        envFrom: [{configMapRef: {name: settings}}]
`)},
	"app/base/service.yaml": {Data: []byte("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n")},
	"app/prod/kustomization.yaml": {Data: []byte(`resources: [../base]
namespace: shop
images: [{name: example.com/web, newTag: "2"}]
configMapGenerator: [{name: settings, literals: [LEVEL=info]}]
patches: [{path: replicas.yaml}]
`)},
	"app/prod/replicas.yaml": {Data: []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n")},
}

// cpu reports the processor time of an operation, which a busy machine distorts less
// than the time it took.
func cpu(b *testing.B) func() {
	var before, after syscall.Rusage
	runtime.GC()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	return func() {
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
		b.ReportMetric(float64(spent)/1000/float64(b.N), "cpu-us/op")
	}
}

func BenchmarkKustomize(b *testing.B) {
	r := render.New(render.Config{})
	c := oam.Component{Name: "c", Type: "kustomize", Properties: map[string]any{"url": "https://example.com/r", "path": "app/prod"}}
	defer cpu(b)()
	for b.Loop() {
		if _, err := r.Component(b.Context(), c, render.Context{AppName: "a", Namespace: "default"}, fiveFiles); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlain(b *testing.B) {
	r := render.New(render.Config{})
	c := oam.Component{Name: "c", Type: "kustomize", Properties: map[string]any{"url": "https://example.com/r", "path": "app"}}
	tree := fstest.MapFS{}
	for _, name := range []string{"app/base/deployment.yaml", "app/base/service.yaml"} {
		tree[name] = fiveFiles[name]
	}
	defer cpu(b)()
	for b.Loop() {
		if _, err := r.Component(b.Context(), c, render.Context{AppName: "a", Namespace: "default"}, tree); err != nil {
			b.Fatal(err)
		}
	}
}
