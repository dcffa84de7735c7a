package template_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// evaluate runs f on a template evaluated with parameters in YAML.
func evaluate(tb testing.TB, text, parameters string, f func(*template.Result) error) error {
	tb.Helper()
	return template.NewPool(1).Do(context.Background(), func(e *template.Engine) error {
		in := template.Input{Context: map[string]any{"name": "web"}, Parameter: object(tb, parameters)}
		result, err := e.Evaluate(template.Template{Name: "test", Text: text}, in)
		if err != nil {
			return err
		}
		return f(result)
	})
}

func object(tb testing.TB, text string) map[string]any {
	tb.Helper()
	var out map[string]any
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = utiljson.Unmarshal(raw, &out)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// asJSON is for messages that can be read.
func asJSON(tb testing.TB, v any) string {
	tb.Helper()
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

// TestPatch covers what kubevela.md 7.4 says of patching, line by line.
func TestPatch(t *testing.T) {
	t.Parallel()
	const base = "spec: {replicas: 1, list: [a, b], containers: [{name: web, image: x, env: [{name: A, value: '1'}]}, {name: other, image: o}]}"
	tests := []struct{ name, template, parameters, base, want string }{ // want is YAML, or "error: …"
		{"fields are added, equal values agree", `patch: spec: {replicas: 1, paused: true}`, "", base, "spec: {replicas: 1, paused: true, list: [a, b], containers: [{name: web, image: x, env: [{name: A, value: '1'}]}, {name: other, image: o}]}"},
		{"different values conflict", `patch: spec: replicas: 2`, "", base, "error: patch: spec.replicas: conflicting values 1 and 2"},
		{"a default gives way", `patch: spec: {replicas: *3 | int, paused: *true | bool}`, "", "spec: {replicas: 1}", "spec: {replicas: 1, paused: true}"},
		{"kinds conflict", `patch: spec: list: a: 1`, "", base, "error: patch: spec.list: cannot put an object in the place of [a b]"},
		{"lists by position", `patch: spec: list: ["a", "b", "c"]`, "", base, "spec: {replicas: 1, list: [a, b, c], containers: [{name: web, image: x, env: [{name: A, value: '1'}]}, {name: other, image: o}]}"},
		{"lists by position conflict", `patch: spec: list: ["b"]`, "", base, "error: patch: spec.list[0]: conflicting values a and b"},
		{"lists by key: merged in place, appended, untouched", "patch: spec: {\n// +patchKey=name\ncontainers: [{name: \"other\", tty: true}, {name: \"new\"}]}", "", "spec: {containers: [{name: web, image: x}, {name: other, image: o}]}", "spec: {containers: [{name: web, image: x}, {name: other, image: o, tty: true}, {name: new}]}"},
		{"the key counts for lists below", "patch: spec: {\n// +patchKey=name\ncontainers: [{name: \"web\", env: [{name: \"B\", value: \"2\"}]}]}", "", base, "spec: {replicas: 1, list: [a, b], containers: [{name: web, image: x, env: [{name: A, value: '1'}, {name: B, value: '2'}]}, {name: other, image: o}]}"},
		{"a list without the key goes by position", "// +patchKey=name\npatch: spec: list: [\"a\", \"b\", \"c\"]", "", "spec: {list: [a]}", "spec: {list: [a, b, c]}"},
		{"a key on a field above", "// +patchKey=name\npatch: {spec: containers: [{name: \"other\", tty: true}]}", "", "spec: {containers: [{name: web}, {name: other}]}", "spec: {containers: [{name: web}, {name: other, tty: true}]}"},
		{"a key that is a path", "patch: {\n// +patchKey=a.b\nlist: [{a: b: \"2\", c: 3}]}", "", "list: [{a: {b: '1'}}, {a: {b: '2'}}]", "list: [{a: {b: '1'}}, {a: {b: '2'}, c: 3}]"},
		{"a comment over a chain is the inmost field's", "// +patchKey=ip\npatch: spec: hosts: [{ip: \"2\", c: 2}]", "", "spec: {hosts: [{ip: '1'}, {ip: '2'}]}", "spec: {hosts: [{ip: '1'}, {ip: '2', c: 2}]}"},
		{"retainKeys replaces a value", "// +patchStrategy=retainKeys\npatch: spec: replicas: parameter.to", "to: 7", "spec: {replicas: 1, x: z}", "spec: {replicas: 7, x: z}"},
		{"retainKeys replaces an object", "patch: spec: {\n// +patchStrategy=retainKeys\nstrategy: {type: \"Recreate\"}}", "", "spec: {strategy: {type: RollingUpdate, rollingUpdate: {}}}", "spec: {strategy: {type: Recreate}}"},
		{"retainKeys with a key replaces elements", "patch: {\n// +patchKey=name\n// +patchStrategy=retainKeys\nvolumes: [{name: \"a\", c: 2}]}", "", "volumes: [{name: a, x: 1}, {name: b}]", "volumes: [{name: a, c: 2}, {name: b}]"},
		{"replace is for lists", "patch: {\n// +patchStrategy=replace\nlist: [\"c\"]}", "", "list: [a, b]", "list: [c]"},
		{"replace does nothing to others", "patch: {\n// +patchStrategy=replace\nm: 2}", "", "m: 1", "error: patch: m: conflicting values 1 and 2"},
		{"more words make it prose", "patch: {\n// +patchStrategy=replace, says who\nlist: [\"c\"]}", "", "list: [a, b]", "error: patch: list[0]: conflicting values a and c"},
		{"open does nothing", "patch: {\n// +patchStrategy=open\nm: 2}", "", "b: 1", "{b: 1, m: 2}"},
		{"a merge patch: null removes", "// +patchStrategy=jsonMergePatch\npatch: {a: null, b: {c: 2, d: null}, l: [3]}", "", "{a: 1, b: {c: 1, d: 1, e: 1}, l: [1, 2]}", "{b: {c: 2, e: 1}, l: [3]}"},
		{"a JSON patch", "// +patchStrategy=jsonPatch\npatch: {operations: [{op: \"replace\", path: \"/a\", value: 2}, {op: \"add\", path: \"/l/-\", value: 3}]}", "", "{a: 1, l: [1]}", "{a: 2, l: [1, 3]}"},
		{"a JSON patch of what is not there", "// +patchStrategy=jsonPatch\npatch: {operations: [{op: \"replace\", path: \"/b\", value: 2}]}", "", "{a: 1}", `error: patch: operations[0]: there is no "b"`},
		{"no patch", `outputs: {}`, "", "{a: 1}", "{a: 1}"},
		{"not complete", `parameter: {m: int}, patch: {m: parameter.m}`, "{}", "{a: 1}", "error: properties.m: is required: want whole number"},
		{"in a condition", "if parameter.on {\npatch: {\n// +patchStrategy=retainKeys\nm: 2}}\nparameter: {on: bool}", "'on': true", "m: 1", "m: 2"},
		{"large numbers stay whole", `patch: {m: 4611686018427387905, isOdd: context.name == "web"}`, "", "{}", "{isOdd: true, m: 4611686018427387905}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			given := object(t, tt.base)
			before := asJSON(t, given)
			var got map[string]any
			err := evaluate(t, tt.template, tt.parameters, func(r *template.Result) (err error) {
				got, err = r.Patch(given)
				return err
			})
			if asJSON(t, given) != before {
				t.Errorf("the base changed to %v", given)
			}
			if want, ok := strings.CutPrefix(tt.want, "error: "); ok || err != nil {
				if fmt.Sprint(err) != want {
					t.Errorf("error\n got %v\nwant %s", err, want)
				}
				return
			}
			if diff := cmp.Diff(asJSON(t, object(t, tt.want)), asJSON(t, got)); diff != "" {
				t.Errorf("patched (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPatchOutputs(t *testing.T) {
	t.Parallel()
	made := map[string]any{"service": object(t, "spec: {type: ClusterIP}"), "other": object(t, "a: 1")}
	err := evaluate(t, "patchOutputs: {\nservice: {\n// +patchStrategy=retainKeys\nspec: type: \"NodePort\"}\nunknown: a: 1}", "{}", func(r *template.Result) error {
		return r.PatchOutputs(made)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"service": object(t, "spec: {type: NodePort}"), "other": object(t, "a: 1")}
	if diff := cmp.Diff(asJSON(t, want), asJSON(t, made)); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

// TestMistakes are the sentences that people read.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const text = `
parameter: {
	image: string
	size?: int & >=1 & <=10
	kind: *"A" | "B"
	labels?: [string]: string
	ports?: [...{port: int, protocol: *"TCP" | "UDP"}]
	env?: [...{name: string, value?: string}]
	either?: int | string
	must?: inner!: string
}
if parameter.size != _|_ if parameter.size == 7 {errs: ["seven is unlucky", "try eight"]}
output: {image: parameter.image, if parameter.must != _|_ {must: parameter.must.inner}}`
	tests := []struct{ name, template, parameters, want string }{
		{"missing", text, "{}", "properties.image: is required: want string"},
		{"missing further down", text, "{image: x, must: {}}", "properties.must.inner: is required: want string"},
		{"the kind", text, "image: 7", "properties.image: 7 given, string wanted"},
		{"the choice", text, "{image: x, kind: C}", `properties.kind: "C" given, "A" or "B" wanted`},
		{"one of two kinds", text, "{image: x, either: [1]}", `properties.either: list given, whole number or string wanted`},
		{"the bounds", text, "{image: x, size: 11}", "properties.size: 11 given, uint & >=1 & <=10 wanted"},
		{"in a list, and in a map", text, `{image: x, ports: [{port: 80}, {port: http, protocol: ICMP}], labels: {"a/b": 1}}`,
			`properties.labels["a/b"]: 1 given, string wanted; properties.ports[1].port: "http" given, whole number wanted; properties.ports[1].protocol: "ICMP" given, "TCP" or "UDP" wanted`},
		{"a value that may be secret is not repeated", text, "{image: x, env: [{name: PASSWORD, value: 12345}]}", "properties.env[0].value: number given, string wanted"},
		{"the template's own words", text, "{image: x, size: 7}", "seven is unlucky; try eight"},
		{"closed", `parameter: close({a: int}), output: {}`, "{a: 1, b: 2}", `properties.b: is not a property of "test"`},
		{"forms to choose from", `parameter: *#One | close({many: [...#One]}), #One: {image: string}, output: {}`, "{image: 7}", "properties.image: 7 given, string wanted"},
		{"neither form", `parameter: *#One | close({many: [...#One]}), #One: {image: string}, output: {}`, "{image: a, foo: 7}", `properties.foo: is not a property of "test"`},
		{"both forms", `parameter: *#One | close({many: [...#One]}), #One: {image: string}, output: {}`, "{image: a, many: []}", "properties.image: cannot be given together with the other properties; properties.many: cannot be given together with the other properties"},
		{"a pattern by reference", `parameter: {size: #Size}, #Size: =~"^[0-9]+$", output: {}`, "{size: big}", `properties.size: "big" given, =~"^[0-9]+$" wanted`},
		{"the template is wrong", `parameter: {}, output: {a: 1, a: 2}`, "{}", `output.a: definition "test": conflicting values 2 and 1`},
		{"the template does not end", `parameter: {}, output: a: context.nope`, "{}", `output.a: definition "test": undefined field: nope`},
		{"not an object", `parameter: {}, output: 7`, "{}", `output: number given, an object wanted`},
		{"not CUE", `output: {`, "{}", `compiling definition "test": expected '}', found 'EOF': test:1:10`},
		{"a command", `import "tool/exec", output: {}`, "{}", `compiling definition "test": import "tool/exec": only CUE's standard packages can be imported`},
		{"a module", `import "example.com/x", output: {}`, "{}", `compiling definition "test": import "example.com/x": only CUE's standard packages can be imported`},
		{"too many to list", `parameter: [string]: string, output: {}`, "{a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1}",
			"properties.a: 1 given, string wanted; properties.b: 1 given, string wanted; properties.c: 1 given, string wanted; properties.d: 1 given, string wanted; properties.e: 1 given, string wanted; and 2 more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := evaluate(t, tt.template, tt.parameters, func(r *template.Result) error {
				_, err := r.Output()
				return err
			})
			if fmt.Sprint(err) != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestContextAsAWhole: only the fields that a template names are filled in, unless it
// speaks of the context itself.
func TestContextAsAWhole(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`output: name: context.name`, `output: context`, `let c = context, output: name: c.name`, `output: {for k, v in context {(k): v}}`, `output: name: context["name"]`} {
		err := evaluate(t, text, "{}", func(r *template.Result) error {
			got, err := r.Output()
			if diff := cmp.Diff(map[string]any{"name": "web"}, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", text, diff)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestEmbedding: templates of KubeVela's embed given values ({v} in a comprehension).
func TestEmbedding(t *testing.T) {
	t.Parallel()
	err := evaluate(t, `output: {list: [for v in parameter.env {v}], {parameter.labels}}`, "{env: [{name: A, from: {key: k}}], labels: {a: b}}", func(r *template.Result) error {
		got, err := r.Output()
		want := object(t, "{list: [{name: A, from: {key: k}}], a: b}")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPool: engines are used by one at a time, one that panicked never again, and who
// waits can give up.
func TestPool(t *testing.T) {
	t.Parallel()
	pool := template.NewPool(2)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			defer func() { _ = recover() }()
			_ = pool.Do(t.Context(), func(e *template.Engine) error {
				if i%5 == 0 {
					panic("on purpose")
				}
				_, err := e.Evaluate(template.Template{Name: "t", Text: "output: a: parameter.a"}, template.Input{Parameter: map[string]any{"a": i}})
				if err != nil {
					t.Error(err)
				}
				return err
			})
		})
	}
	wg.Wait()
	err := pool.Do(t.Context(), func(*template.Engine) error {
		return pool.Do(t.Context(), func(*template.Engine) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return pool.Do(ctx, func(*template.Engine) error { return nil })
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that the wait was given up", err)
	}
}

// TestJSONPatch follows the examples of RFC 6902, appendix A, where they say something
// that the others do not.
func TestJSONPatch(t *testing.T) {
	t.Parallel()
	tests := []struct{ doc, operations, want string }{
		{"{foo: bar}", "[{op: add, path: /baz, value: qux}]", "{foo: bar, baz: qux}"},
		{"{foo: [bar, baz]}", "[{op: add, path: /foo/1, value: qux}]", "{foo: [bar, qux, baz]}"},
		{"{foo: [bar, qux, baz]}", "[{op: remove, path: /foo/1}]", "{foo: [bar, baz]}"},
		{"{foo: {bar: baz, waldo: fred}, qux: {corge: grault}}", "[{op: move, from: /foo/waldo, path: /qux/thud}]", "{foo: {bar: baz}, qux: {corge: grault, thud: fred}}"},
		{"{foo: [all, grass, cows, eat]}", "[{op: move, from: /foo/1, path: /foo/3}]", "{foo: [all, cows, eat, grass]}"},
		{"{baz: qux, foo: [a, 2, c]}", "[{op: test, path: /baz, value: qux}, {op: test, path: /foo/1, value: 2}]", "{baz: qux, foo: [a, 2, c]}"},
		{"{baz: qux}", "[{op: test, path: /baz, value: bar}]", `error: patch: operations[0]: test: "/baz" is qux`},
		{"{foo: bar}", "[{op: add, path: /baz/bat, value: qux}]", `error: patch: operations[0]: there is no "baz"`},
		{"{/: 9, ~1: 10}", "[{op: test, path: /~01, value: 10}, {op: replace, path: /~1, value: 8}]", "{/: 8, ~1: 10}"},
		{"{foo: [bar]}", "[{op: add, path: /foo/-, value: [abc]}]", "{foo: [bar, [abc]]}"},
		{"{foo: [bar]}", "[{op: add, path: /foo/2, value: x}]", `error: patch: operations[0]: "2" cannot be added to list`},
		{"{foo: [bar]}", "[{op: replace, path: /foo/-1, value: x}]", `error: patch: operations[0]: there is no "-1"`},
		{"{foo: [bar]}", "[{op: remove, path: /foo/00}]", `error: patch: operations[0]: there is no "00"`},
		{"{a: {b: 1}}", "[{op: copy, from: /a, path: /c}, {op: replace, path: /c/b, value: 2}]", "{a: {b: 1}, c: {b: 2}}"},
		{"{a: {b: 1}}", "[{op: move, from: /a, path: /a/c}]", `error: patch: operations[0]: move: "/a/c" is inside of "/a"`},
		{"{a: 1}", "[{op: replace, path: '', value: {b: 2}}]", "{b: 2}"},
		{"{a: 1}", "[{op: remove, path: ''}]", "error: patch: nothing given, an object wanted"},
		{"{a: 1}", "[{op: add, path: /b}]", "error: patch: operations[0]: add: value is required"},
		{"{a: 1}", "[{op: merge, path: /b}]", `error: patch: operations[0]: op "merge": want add, remove, replace, move, copy or test`},
		{"{a: 1}", "[{op: remove, path: b}]", "error: patch: operations[0]: path b: want a JSON pointer, such as /spec/replicas"},
		{"{a: 1}", "x", "error: patch: operations: string given, list wanted"},
	}
	for _, tt := range tests {
		var got map[string]any
		err := evaluate(t, "// +patchStrategy=jsonPatch\npatch: parameter", "operations: "+tt.operations, func(r *template.Result) (err error) {
			got, err = r.Patch(object(t, tt.doc))
			return err
		})
		if want, ok := strings.CutPrefix(tt.want, "error: "); ok || err != nil {
			if fmt.Sprint(err) != want {
				t.Errorf("%s: error\n got %v\nwant %s", tt.operations, err, want)
			}
		} else if diff := cmp.Diff(object(t, tt.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.operations, diff)
		}
	}
}
