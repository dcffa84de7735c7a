package apply_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// real is the API server of all tests that need one.
var real struct {
	cluster *kube.Cluster
	err     error
}

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		os.Exit(m.Run())
	}
	os.Exit(withCluster(m.Run))
}

func withCluster(run func() int) int {
	dir, err := os.MkdirTemp("", "apply-cluster-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	real.cluster, real.err = kube.Start(ctx, dir)
	if real.err == nil {
		defer func() { _ = real.cluster.Stop(context.Background()) }()
	}
	return run()
}

// server returns the API server, which is required: there is no fake that admits,
// defaults and merges.
func server(t *testing.T) *kube.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the real cluster")
	}
	if real.err != nil {
		t.Fatalf("starting the cluster: %v\nrun: make cluster", real.err)
	}
	return real.cluster
}

// requests counts what one Cluster asks of the API server; watches and the lists they
// begin with are left out.
type requests struct {
	next http.RoundTripper
	mu   sync.Mutex
	seen []string
	fail func(*http.Request) *http.Response
}

func (r *requests) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	fail := r.fail
	q := req.URL.Query()
	if q.Get("watch") == "" && !q.Has("resourceVersionMatch") && q.Get("resourceVersion") != "0" {
		r.seen = append(r.seen, req.Method+" "+req.URL.Path)
	}
	r.mu.Unlock()
	if fail != nil {
		if res := fail(req); res != nil {
			res.Request = req
			return res, nil
		}
	}
	return r.next.RoundTrip(req)
}

// take returns what was counted since the last time, without discovery.
func (r *requests) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, s := range r.seen {
		if path := s[strings.Index(s, " ")+1:]; path != "/api" && path != "/apis" && path != "/version" {
			out = append(out, s)
		}
	}
	r.seen = nil
	return out
}

func (r *requests) failWith(fail func(*http.Request) *http.Response) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

// fixture is a namespace of its own and a Cluster that looks at it.
type fixture struct {
	*apply.Cluster
	kube  *kube.Cluster
	ns    string
	asked *requests
	moved chan string // what OnObject said: owner, object, "deleted"
}

func setup(t *testing.T) *fixture {
	t.Helper()
	k := server(t)
	ns, err := k.NewNamespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return connect(t, k, ns)
}

// connect is what a worker does when it starts; a second one on the same namespace stands
// for a restart.
func connect(t *testing.T, k *kube.Cluster, ns string) *fixture {
	t.Helper()
	f := &fixture{kube: k, ns: ns, asked: &requests{}, moved: make(chan string, 1000)}
	var err error
	f.Cluster, err = apply.Connect(apply.Config{Kubeconfig: k.Kubeconfig}, apply.Options{
		Transport: func(next http.RoundTripper) http.RoundTripper { f.asked.next = next; return f.asked },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.OnObject(func(owner apply.Owner, ref apply.ObjectRef, deleted bool) {
		if ref.Namespace == ns || owner.Namespace == ns {
			f.moved <- strings.TrimSpace(fmt.Sprintf("%s: %s %v", owner.Name, ref, map[bool]string{true: "deleted"}[deleted]))
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	syncCtx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := f.WaitForSync(syncCtx); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) owner(name string) apply.Owner { return apply.Owner{Namespace: f.ns, Name: name} }

// items reads objects as a component "c" of app would render them.
func (f *fixture) items(t *testing.T, app, manifests string) []apply.Item {
	t.Helper()
	var out []apply.Item
	for doc := range strings.SplitSeq(manifests, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(doc, "$NS", f.ns)), &o.Object); err != nil {
			t.Fatal(err)
		}
		if namespaced, known := f.Namespaced(o.GroupVersionKind().GroupKind()); o.GetNamespace() == "" && (namespaced || !known) {
			o.SetNamespace(f.ns)
		}
		labels := o.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[oam.LabelName], labels[oam.LabelNamespace], labels[oam.LabelRevision] = app, f.ns, app+"-v1"
		o.SetLabels(labels)
		out = append(out, apply.Item{Object: o, Component: "c"})
	}
	return out
}

func (f *fixture) inventory(t *testing.T, app string) *apply.Inventory {
	t.Helper()
	inv, err := f.LoadInventory(f.owner(app))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// apply applies and returns the receipt as text, one line an object.
func (f *fixture) apply(t *testing.T, app string, items []apply.Item) string {
	t.Helper()
	changes, err := f.Apply(t.Context(), f.inventory(t, app), items, apply.ApplyOptions{})
	return receipt(f.ns, changes, err)
}

func receipt(ns string, changes apply.ChangeSet, err error) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s %s", c.Ref, c.Action)
		if c.Err != nil {
			fmt.Fprintf(&b, ": %v", c.Err)
		}
		b.WriteString("\n")
	}
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return strings.ReplaceAll(b.String(), ns, "$NS")
}

// value reads one field of an object from the server.
func (f *fixture) value(t *testing.T, kind, name, path string) string {
	t.Helper()
	v, err := f.kube.Value(t.Context(), kube.Object{Kind: kind, Namespace: f.ns, Name: name}, path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (f *fixture) await(t *testing.T, what string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	var seen []string
	for {
		select {
		case got := <-f.moved:
			if got = strings.ReplaceAll(got, f.ns, "$NS"); got == what {
				return
			}
			seen = append(seen, got)
		case <-timeout:
			t.Fatalf("OnObject never said %q, only %q", what, seen)
		}
	}
}

// awaitLive waits until OnObject has spoken of an object and the watch shows a value at a
// path of it.
func (f *fixture) awaitLive(t *testing.T, app string, ref apply.ObjectRef, path, want string) {
	t.Helper()
	for {
		f.await(t, app+": "+strings.ReplaceAll(ref.String(), f.ns, "$NS"))
		live, err := f.Live(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if live == nil {
			continue
		}
		if got, err := kube.Lookup(live.Object, path); err != nil {
			t.Fatal(err)
		} else if got == want {
			return
		}
	}
}

// application creates an empty Application, for those that must exist.
func (f *fixture) application(t *testing.T, name string) *oam.Application {
	t.Helper()
	if _, err := f.kube.Apply(t.Context(), []byte("apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: "+name+"}\nspec: {components: []}"), f.ns); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if app, found, err := f.Application(f.ns, name); found && err == nil {
			return app.DeepCopy()
		}
	}
	t.Fatalf("Application %s does not arrive", name)
	return nil
}

func (f *fixture) applyErr(t *testing.T, app string, items []apply.Item) error {
	t.Helper()
	changes, err := f.Apply(t.Context(), f.inventory(t, app), items, apply.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return changes.Err()
}

// patchAs changes an object in somebody's name.
func (f *fixture) patchAs(t *testing.T, manager string, o kube.Object, patch string) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", f.kube.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resources := map[string]schema.GroupVersionResource{"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"}, "ConfigMap": {Version: "v1", Resource: "configmaps"}}
	if _, err := client.Resource(resources[o.Kind]).Namespace(o.Namespace).Patch(t.Context(), o.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}); err != nil {
		t.Fatal(err)
	}
}

type contextType = context.Context

var pruneAll = apply.PruneOptions{Approved: true, AllowEmpty: true}

func answer(code int, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/json"}},
	}
}
