package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/render/pool"
)

// The test binary is its own child.
const asChild = "TRADEWIND_TEST_RENDER_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		if err := pool.Serve(os.Stdin, os.Stdout, map[string]pool.Handler{"double": double}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// double is a handler that cannot double everything.
func double(_ context.Context, in json.RawMessage) (any, error) {
	var n int
	if err := json.Unmarshal(in, &n); err != nil {
		return nil, &render.Error{Field: "n", Err: errors.New("it is no number"), Advice: "write a number"}
	}
	return 2 * n, nil
}

func command() (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program) //nolint:noctx // the pool ends it
	cmd.Env = []string{asChild + "=1"}
	return cmd, nil
}

// newRenderer is one whose work is done by children.
func newRenderer(t *testing.T, definitions render.Definitions, cfg pool.Config) *render.Renderer {
	t.Helper()
	if cfg.Command == nil {
		cfg.Command = command
	}
	types := render.Config{Definitions: definitions}
	p := pool.New(types, cfg)
	t.Cleanup(p.Close)
	types.Elsewhere = p
	return render.New(types)
}

// own are definitions of a user beside the built-in ones.
type own map[string]*render.Definition

func (o own) Definition(kind render.Kind, namespace, name string) (*render.Definition, bool) {
	if def, ok := o[name]; ok && kind == def.Kind {
		return def, true
	}
	return render.Builtins().Definition(kind, namespace, name)
}

func (o own) Names(kind render.Kind, namespace string) []string {
	return render.Builtins().Names(kind, namespace)
}

func define(name, template string) *render.Definition {
	return &render.Definition{Kind: render.KindComponent, Name: name, Template: template}
}

var web = oam.Component{
	Name: "web", Type: "webservice",
	Properties: map[string]any{"image": "nginx:1.29", "ports": []any{map[string]any{"port": int64(80), "expose": true}}},
	Traits:     []oam.Trait{{Type: "scaler", Properties: map[string]any{"replicas": int64(3)}}},
}

func rc(app string) render.Context {
	return render.Context{AppName: app, Namespace: "default", AppRevision: app + "-v1", AppRevisionNum: 1}
}

func TestSameAsInProcess(t *testing.T) {
	t.Parallel()
	p, r := newRenderer(t, nil, pool.Config{}), render.New(render.Config{})
	tree := fstest.MapFS{
		"apps/kustomization.yaml": {Data: []byte("resources: [../base, link.yaml]\nnamePrefix: a-\n")},
		"apps/link.yaml":          {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {big: \"9007199254740993\"}\n")},
		"base/kustomization.yaml": {Data: []byte("resources: [two.yaml]\n")},
		"base/two.yaml":           {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n")},
	}
	fromGit := oam.Component{Name: "c", Type: "kustomize", Properties: map[string]any{"url": "https://git.example.com/a/b", "path": "apps"}}
	for name, c := range map[string]oam.Component{
		"a component with a trait": web,
		"a tree":                   fromGit,
		"a missing path":           {Name: "c", Type: "kustomize", Properties: map[string]any{"url": "https://git.example.com/a/b", "path": "nowhere"}},
		"a wrong property":         {Name: "web", Type: "webservice", Properties: map[string]any{"image": int64(5)}},
		"an unknown type":          {Name: "web", Type: "webservise"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, gotErr := p.Component(t.Context(), c, rc("app"), tree)
			want, wantErr := r.Component(t.Context(), c, rc("app"), tree)
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || errors.Is(gotErr, render.ErrPathNotFound) != errors.Is(wantErr, render.ErrPathNotFound) {
				t.Fatalf("Component() = %v, want %v", gotErr, wantErr)
			}
			if diff := cmp.Diff(objectsOf(want), objectsOf(got)); diff != "" {
				t.Errorf("Component() (-in process +in a child):\n%s", diff)
			}
		})
	}
}

func objectsOf(c *render.Component) []map[string]any {
	var out []map[string]any
	if c != nil {
		for _, o := range c.Objects {
			out = append(out, o.Object)
		}
	}
	return out
}

func TestHealth(t *testing.T) {
	t.Parallel()
	p, r := newRenderer(t, nil, pool.Config{}), render.New(render.Config{})
	rendered, err := p.Component(t.Context(), web, rc("app"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ready := range []int64{1, 3} {
		live := func(o *unstructured.Unstructured) *unstructured.Unstructured {
			o = o.DeepCopy()
			o.SetGeneration(1)
			o.Object["status"] = map[string]any{"replicas": int64(3), "readyReplicas": ready, "updatedReplicas": ready, "observedGeneration": int64(1)}
			return o
		}
		got := p.Health(web, rc("app"), rendered, live)
		if diff := cmp.Diff(r.Health(web, rc("app"), rendered, live), got); diff != "" {
			t.Errorf("Health() with %d ready (-in process +in a child):\n%s", ready, diff)
		}
		if got.Healthy != (ready == 3) {
			t.Errorf("Health() with %d ready = %v", ready, got.Healthy)
		}
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	p := pool.New(render.Config{}, pool.Config{Command: command})
	t.Cleanup(p.Close)
	var got int
	if err := p.Call(t.Context(), "default/app", "double", 21, &got); err != nil || got != 42 {
		t.Errorf("Call(double, 21) = %d, %v, want 42", got, err)
	}
	err := p.Call(t.Context(), "default/app", "double", "x", &got)
	if hinted, ok := errors.AsType[*render.Error](err); !ok || err.Error() != "n: it is no number" || hinted.Hint() != "write a number" {
		t.Errorf("Call(double, x) = %v, want the handler's error with its hint", err)
	}
	if err := p.Call(t.Context(), "default/app", "triple", 1, &got); err == nil {
		t.Error("Call(triple) of a handler that is not there gives no error")
	}
}

// endless is quick to write and, evaluated, takes hours or all memory there is.
const endless = `import "list"
parameter: {}
output: {apiVersion: "v1", kind: "ConfigMap", data: n: "\(len([for a in list.Range(0, 3000000, 1) for b in list.Range(0, 3000000, 1) {a*b}]))"}
`

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg      pool.Config
		template string
		want     string
	}{
		"time":   {pool.Config{Timeout: 2 * time.Second, Memory: 8 << 30}, endless, "takes longer than 2s"},
		"memory": {pool.Config{Memory: 200 << 20}, endless, "takes more than 200 MiB of memory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newRenderer(t, own{"bomb": define("bomb", tc.template)}, tc.cfg)
			_, err := p.Component(t.Context(), oam.Component{Name: "b", Type: "bomb"}, rc("bomb"), nil)
			if wrong, ok := errors.AsType[*render.Error](err); !ok || wrong.Component != "b" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Component() = %v, want an error of component b with %q", err, tc.want)
			}
			if _, err := p.Component(t.Context(), web, rc("other"), nil); err != nil {
				t.Errorf("another Application: %v", err)
			}
		})
	}
}

// TestIdle: without work there is no child, and one that was asked for is there for the
// next work.
func TestIdle(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var started []*exec.Cmd
	types := render.Config{}
	p := pool.New(types, pool.Config{Idle: 100 * time.Millisecond, Command: func() (*exec.Cmd, error) {
		cmd, err := command()
		mu.Lock()
		defer mu.Unlock()
		started = append(started, cmd)
		return cmd, err
	}})
	t.Cleanup(p.Close)
	types.Elsewhere = p
	r := render.New(types)
	children := func() []*exec.Cmd {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(started)
	}
	work := func() {
		t.Helper()
		if _, err := r.Component(t.Context(), web, rc("app"), nil); err != nil {
			t.Fatal(err)
		}
	}
	rest := func() {
		t.Helper()
		all := children()
		for deadline := time.Now().Add(20 * time.Second); all[len(all)-1].Process.Signal(syscall.Signal(0)) == nil; {
			if time.Now().After(deadline) {
				t.Fatal("the child without work was not ended")
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	work()
	rest()
	p.Warm()
	p.Warm()
	if n := len(children()); n != 2 {
		t.Errorf("%d children were started, want one for the work and one for two calls of Warm", n)
	}
	rest()
	work()
	if n := len(children()); n != 3 {
		t.Errorf("%d children were started, want one more for work after all had ended", n)
	}
}

// TestBombsLeaveRoom: however many Applications explode, others are rendered meanwhile.
func TestBombsLeaveRoom(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second
	p := newRenderer(t, own{"bomb": define("bomb", endless)}, pool.Config{Size: 3, Timeout: timeout, Memory: 8 << 30})
	ctx, cancel := context.WithCancel(t.Context())
	bomb := func(n int) error {
		_, err := p.Component(ctx, oam.Component{Name: "b", Type: "bomb"}, rc(fmt.Sprint("bomb", n)), nil)
		return err
	}
	var first sync.WaitGroup
	for n := range 3 {
		first.Go(func() { _ = bomb(n) })
	}
	first.Wait()
	var again sync.WaitGroup
	for n := range 3 {
		again.Go(func() {
			for ctx.Err() == nil {
				_ = bomb(n)
			}
		})
	}
	for n := range 20 {
		begun := time.Now()
		if _, err := p.Component(t.Context(), web, rc(fmt.Sprint("good", n)), nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > timeout {
			t.Errorf("an Application waited %s behind others", took)
		}
	}
	cancel()
	again.Wait()
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	p := newRenderer(t, own{"bomb": define("bomb", endless)}, pool.Config{Memory: 8 << 30})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := p.Component(ctx, oam.Component{Name: "b", Type: "bomb"}, rc("bomb"), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Component() = %v, want the context's error", err)
	}
}

// TestConfined looks at a working child from outside.
func TestConfined(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the system call filter is Linux's")
	}
	cmd, err := command()
	if err != nil {
		t.Fatal(err)
	}
	p := newRenderer(t, nil, pool.Config{Command: func() (*exec.Cmd, error) { return cmd, nil }})
	if _, err := p.Component(t.Context(), web, rc("app"), nil); err != nil {
		t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the child's status has no %q", want)
		}
	}
	environ, err := os.ReadFile(proc + "environ")
	if err != nil {
		t.Fatal(err)
	}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(environ), "\x00"), "\x00") {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.Contains([]string{asChild, "PATH", "GOGC", "GOMEMLIMIT"}, name) {
			t.Errorf("the child has %s in its environment", name)
		}
	}
	files, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		target, err := os.Readlink(proc + "fd/" + f.Name())
		if err == nil && !strings.HasPrefix(target, "pipe:") && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/sys/fs/cgroup/") && target != os.DevNull {
			t.Errorf("the child has %s open", target)
		}
	}
}

// TestStepsPoliciesExpressions are evaluated elsewhere, too, and say the same.
func TestStepsPoliciesExpressions(t *testing.T) {
	t.Parallel()
	definitions := own{"note": {
		Kind: render.KindPolicy, Name: "note",
		Template: "parameter: text: string\noutput: {apiVersion: \"v1\", kind: \"ConfigMap\", data: text: parameter.text}\n",
	}}
	p, r := newRenderer(t, definitions, pool.Config{}), render.New(render.Config{Definitions: definitions})
	policy := oam.Policy{Name: "n", Type: "note", Properties: map[string]any{"text": "hello"}}
	got, gotErr := p.Policy(t.Context(), policy, rc("app"))
	want, wantErr := r.Policy(t.Context(), policy, rc("app"))
	if diff := cmp.Diff(objectsOf(want), objectsOf(got)); diff != "" || gotErr != nil || wantErr != nil {
		t.Errorf("Policy() = %v, %v (-in process +in a child):\n%s", gotErr, wantErr, diff)
	}
	def, err := p.StepDefinition("default", "read-object")
	if err != nil {
		t.Fatal(err)
	}
	in := render.StepInput{Step: oam.Step{Name: "s", Type: "read-object", Properties: map[string]any{"name": "x"}}}
	gotStep, gotErr := p.Step(t.Context(), def, in)
	wantStep, wantErr := r.Step(t.Context(), def, in)
	if diff := cmp.Diff(wantStep, gotStep); diff != "" || gotErr != nil || wantErr != nil {
		t.Errorf("Step() = %v, %v (-in process +in a child):\n%s", gotErr, wantErr, diff)
	}
	value, err := p.ValueFrom(t.Context(), "output.n + 1", map[string]any{"output": map[string]any{"n": int64(2)}})
	if value != int64(3) || err != nil {
		t.Errorf("ValueFrom() = %v, %v, want 3", value, err)
	}
	if _, err := p.Condition(t.Context(), "nowhere.to.be.seen", map[string]any{}); err == nil {
		t.Error("Condition() of what is not there gives no error")
	}
}

func BenchmarkComponent(b *testing.B) {
	children := pool.New(render.Config{}, pool.Config{Command: command})
	defer children.Close()
	p := render.New(render.Config{Elsewhere: children})
	r := render.New(render.Config{})
	for name, render := range map[string]func() error{
		"child":   func() error { _, err := p.Component(b.Context(), web, rc("app"), nil); return err },
		"process": func() error { _, err := r.Component(b.Context(), web, rc("app"), nil); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := render(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
