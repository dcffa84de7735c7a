package desired_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/desired"
)

func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: o}
}

func TestIsIn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, wanted, live string
		want               bool
	}{
		{"equal", "spec: {a: 1}", "spec: {a: 1}", true},
		{"the server adds fields", "spec: {a: 1}", "spec: {a: 1, b: 2}\nstatus: {c: 3}", true},
		{"a field is gone", "spec: {a: 1, b: 2}", "spec: {a: 1}", false},
		{"a value differs", "spec: {a: x}", "spec: {a: y}", false},
		{"whole and broken numbers", "spec: {a: 1.0}", "spec: {a: 1}", true},
		{"a number is not a text", "spec: {a: 1}", `spec: {a: "1"}`, false},
		{"null wants nothing", "spec: {a: null}", "spec: {}", true},
		{"an empty map wants nothing", "spec: {a: {}}", "spec: {}", true},
		{"false is not absent", "spec: {a: false}", "spec: {}", false},
		{"revision labels do not count", "metadata: {labels: {app.oam.dev/appRevision: v1, app.oam.dev/app-revision-hash: x, b: c}}", "metadata: {labels: {app.oam.dev/appRevision: v2, b: c, HASH}}", true},
		{"other labels do", "metadata: {labels: {b: c}}", "metadata: {labels: {b: d, HASH}}", false},

		{"a container is added", "apiVersion: apps/v1\nspec: {containers: [{name: a, image: x}]}", "apiVersion: apps/v1\nspec: {containers: [{name: sidecar}, {name: a, image: x, tty: true}]}", true},
		{"a container differs", "apiVersion: apps/v1\nspec: {containers: [{name: a, image: x}]}", "apiVersion: apps/v1\nspec: {containers: [{name: a, image: y}]}", false},
		{"a container is renamed", "apiVersion: apps/v1\nspec: {containers: [{name: a}]}", "apiVersion: apps/v1\nspec: {containers: [{name: b}]}", false},
		{"a port without its protocol", "apiVersion: v1\nspec: {ports: [{port: 80}]}", "apiVersion: v1\nspec: {ports: [{port: 80, protocol: UDP}, {port: 80, protocol: TCP, targetPort: 80}]}", true},
		{"the other protocol", "apiVersion: v1\nspec: {ports: [{port: 80}]}", "apiVersion: v1\nspec: {ports: [{port: 80, protocol: UDP}]}", false},
		{"an argument is added", "apiVersion: apps/v1\nspec: {args: [a]}", "apiVersion: apps/v1\nspec: {args: [a, b]}", false},
		{"a rule is added", "apiVersion: networking.k8s.io/v1\nspec: {rules: [{host: a}]}", "apiVersion: networking.k8s.io/v1\nspec: {rules: [{host: a}, {host: b}]}", false},
		{"a finalizer is added", "metadata: {finalizers: [a]}", "metadata: {finalizers: [b, a], labels: {HASH}}", true},
		{"custom kinds have strict lists", "apiVersion: example.com/v1\nspec: {containers: [{name: a}]}", "apiVersion: example.com/v1\nspec: {containers: [{name: a}, {name: b}]}", false},

		{"amounts in another form", "apiVersion: v1\nspec: {resources: {requests: {cpu: 1000m, memory: 0.5Gi, x: 1}}}", "apiVersion: v1\nspec: {resources: {requests: {cpu: '1', memory: 512Mi, x: '1'}}}", true},
		{"another amount", "apiVersion: v1\nspec: {resources: {requests: {cpu: 1000m}}}", "apiVersion: v1\nspec: {resources: {requests: {cpu: '2'}}}", false},
		{"only amounts have forms", "apiVersion: v1\ndata: {cpu: 1000m}", "apiVersion: v1\ndata: {cpu: '1'}", false},
		{"custom kinds have no amounts", "apiVersion: example.com/v1\nspec: {limits: {cpu: 1000m}}", "apiVersion: example.com/v1\nspec: {limits: {cpu: '1'}}", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wanted := desired.New(object(t, test.wanted))
			live := object(t, replaceHash(test.live, wanted.Hash))
			if live.GetLabels() == nil {
				live.SetLabels(map[string]string{"oam.dev/render-hash": wanted.Hash})
			}
			if got := wanted.IsIn(live); got != test.want {
				t.Errorf("IsIn is %v", got)
			}
		})
	}
}

func replaceHash(text, hash string) string {
	const mark = "HASH"
	for i := 0; i+len(mark) <= len(text); i++ {
		if text[i:i+len(mark)] == mark {
			return text[:i] + "oam.dev/render-hash: '" + hash + "'" + text[i+len(mark):]
		}
	}
	return text
}

func TestHash(t *testing.T) {
	t.Parallel()
	const base = "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {x: y}}\ndata: {k: dg==}"
	first := desired.New(object(t, base)).Hash
	for name, text := range map[string]string{
		"another revision":        "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {x: y, app.oam.dev/appRevision: v2, app.oam.dev/app-revision-hash: z}}\ndata: {k: dg==}",
		"exported from a cluster": "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {x: y, oam.dev/render-hash: old}, uid: u, resourceVersion: '7', creationTimestamp: null, managedFields: []}\ndata: {k: dg==}\nstatus: {a: b}",
		"written as text":         "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {x: y}}\nstringData: {k: v}",
	} {
		if got := desired.New(object(t, text)).Hash; got != first {
			t.Errorf("%s: the hash is another one", name)
		}
	}
	if desired.New(object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {x: z}}\ndata: {k: dg==}")).Hash == first {
		t.Error("another label: the hash is the same")
	}
}

func TestNewChangesNothing(t *testing.T) {
	t.Parallel()
	o := object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: a, uid: u, labels: {app.oam.dev/appRevision: v1}}\nstringData: {k: v}\ndata: {l: dg==}\nstatus: {}")
	before := o.DeepCopy()
	d := desired.New(o)
	if _, err := d.BodyIfAbsent(); err != nil {
		t.Fatal(err)
	}
	d.IsIn(o)
	d.Without(".data.k")
	if diff := cmp.Diff(before, o); diff != "" {
		t.Error(diff)
	}
	body, err := d.Body()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"v1","data":{"k":"dg==","l":"dg=="},"kind":"Secret","metadata":{"labels":{"app.oam.dev/appRevision":"v1","oam.dev/render-hash":"` + d.Hash + `"},"name":"a"}}`
	if string(body) != want {
		t.Errorf("body is\n%s\nwant\n%s", body, want)
	}
}

func TestWithout(t *testing.T) {
	t.Parallel()
	const text = `
metadata: {name: a, annotations: {example.com/a.b: "1", example.com/a: "2"}}
spec:
  replicas: 1
  template: {spec: {containers: [{name: web, image: x, ports: [{containerPort: 80}]}, {name: other, image: z}]}}
  hosts: [a, b]`
	for path, want := range map[string]string{
		".spec.replicas": `{"hosts":["a","b"],"template":{"spec":{"containers":[{"image":"x","name":"web","ports":[{"containerPort":80}]},{"image":"z","name":"other"}]}}}`,
		`.spec.template.spec.containers[name="web"].image`:                                           `{"hosts":["a","b"],"replicas":1,"template":{"spec":{"containers":[{"name":"web","ports":[{"containerPort":80}]},{"image":"z","name":"other"}]}}}`,
		`.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].hostPort`: "",
		`.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"]`:          `{"hosts":["a","b"],"replicas":1,"template":{"spec":{"containers":[{"image":"x","name":"web","ports":[]},{"image":"z","name":"other"}]}}}`,
		`.spec.hosts[="a"]`: `{"hosts":["b"],"replicas":1,"template":{"spec":{"containers":[{"image":"x","name":"web","ports":[{"containerPort":80}]},{"image":"z","name":"other"}]}}}`,
		".spec.replica":     "",
		"spec":              "",
		"":                  "",
	} {
		d := desired.New(object(t, text))
		less, ok := d.Without(path)
		if !ok {
			if want != "" {
				t.Errorf("%s leads nowhere", path)
			}
			continue
		}
		var body struct{ Spec json.RawMessage }
		data, err := less.Body()
		if err == nil {
			err = json.Unmarshal(data, &body)
		}
		if err != nil || string(body.Spec) != want {
			t.Errorf("without %s: %s (%v)", path, body.Spec, err)
		}
		if less.Hash != d.Hash {
			t.Errorf("without %s the hash is another one", path)
		}
	}
	less, ok := desired.New(object(t, text)).Without(".metadata.annotations.example.com/a.b")
	if body, err := less.Body(); !ok || err != nil || !json.Valid(body) {
		t.Fatal(ok, err)
	} else if got := object(t, string(body)).GetAnnotations(); !cmp.Equal(got, map[string]string{"example.com/a": "2"}) {
		t.Errorf("annotations are %v", got)
	}
}

func FuzzWithout(f *testing.F) {
	for _, path := range []string{".spec.a", ".spec.c[name=\"x\"].image", "[=1]", ".spec..a", ".spec.c[name="} {
		f.Add(path)
	}
	o := object(f, `spec: {a: 1, "": 2, c: [{name: x, image: y}], d: [1, [2]]}`)
	f.Fuzz(func(t *testing.T, path string) {
		before := o.DeepCopy()
		if less, ok := desired.New(o).Without(path); ok {
			if _, err := less.Body(); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff(before, o); diff != "" {
			t.Error(diff)
		}
	})
}
