package template_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// outputOf is the output of a template, or the error as text.
func outputOf(t *testing.T, text, parameters string) string {
	t.Helper()
	var out string
	err := evaluate(t, text, parameters, func(r *template.Result) error {
		got, err := r.Output()
		out = asJSON(t, got)
		return err
	})
	if err != nil {
		return "error: " + err.Error()
	}
	return out
}

// TestListsOfOlderCUE: sums and multiples of lists, wherever the template says that it is
// a list; sums of anything else stay what they are.
func TestListsOfOlderCUE(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, template, parameters, want string }{
		{"literals", `output: l: [1] + [2] + [3]`, "{}", "l: [1, 2, 3]"},
		{"a field and a literal", "_base: [1]\noutput: l: _base + [2]", "{}", "l: [1, 2]"},
		{"two fields", "a: [1]\nb: [2]\noutput: l: a + b", "{}", "l: [1, 2]"},
		{"parameters", "output: l: parameter.a + parameter.b\nparameter: {a: [...int], b: *[9] | [...int]}", "a: [1]", "l: [1, 9]"},
		{"an optional one", "output: {if parameter.a != _|_ {l: parameter.a + [2]}}\nparameter: a?: [...int]", "a: [1]", "l: [1, 2]"},
		{"deep in the parameter", "output: l: [for p in parameter.ports {p.names + [\"x\"]}]\nparameter: ports: [...{names: [...string]}]", "ports: [{names: [a]}]", "l: [[a, x]]"},
		{"through a definition", "output: l: parameter.a.list + [1]\n#A: list: [...int]\nparameter: a: #A", "a: {list: [0]}", "l: [0, 1]"},
		{"through let", "let more = [for x in [1, 2] {x * 2}]\noutput: l: more + [0]", "{}", "l: [2, 4, 0]"},
		{"in a condition", "v: {if parameter.on {list: [1]}, if !parameter.on {list: [2]}}\noutput: l: v.list + v.list\nparameter: on: bool", "'on': true", "l: [1, 1]"},
		{"of a map", "output: l: parameter.m[\"a\"] + [3]\nparameter: m: [string]: [...int]", "m: {a: [1]}", "l: [1, 3]"},
		{"comprehensions", `output: l: [for v in parameter.a {v}] + [if parameter.b {9}]`, "{a: [1], b: true}", "l: [1, 9]"},
		{"of the context and a literal", `output: l: [context.name] + ["y"]`, "{}", "l: [web, 'y']"},
		{"times", `output: l: 2 * ["a"]`, "{}", "l: [a, a]"},
		{"times, turned round", "n: [1, 2]\noutput: l: n * 2", "{}", "l: [1, 2, 1, 2]"},
		{"both", `output: l: 2*[0] + [1]`, "{}", "l: [0, 0, 1]"},
		{"with the import there", "import \"list\"\noutput: l: list.Sort([2] + [1], list.Ascending)", "{}", "l: [1, 2]"},
		{"the result of a function", "import \"strings\"\noutput: l: strings.Split(parameter.s, \",\") + [\"c\"]", "s: 'a,b'", "l: [a, b, c]"},
		{"a field called list", `output: list: [1] + [2]`, "{}", "list: [1, 2]"},
		{"numbers", "output: n: parameter.a + 2*parameter.a\nparameter: a: int", "a: 2", "'n': 6"},
		{"texts", `output: s: context.name + "-" + parameter.s, parameter: s: string`, "s: x", "s: web-x"},
		{"texts times", `output: s: 2 * "ab"`, "{}", "s: abab"},
		{"in a circle", "a: b\nb: a\noutput: l: [1] + [2], output: s: \"x\" + \"y\"", "{}", "{l: [1, 2], s: xy}"},
		{"a comment stays", "// +usage=x\noutput: {\n// +patchKey=name\nl: [1] + [2]}", "{}", "l: [1, 2]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(asJSON(t, object(t, tt.want)), outputOf(t, tt.template, tt.parameters)); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPatchOfOlderCUE: tags survive the rewriting.
func TestPatchOfOlderCUE(t *testing.T) {
	t.Parallel()
	text := "_more: [{name: \"b\"}]\npatch: spec: {\n// +patchKey=name\nlist: [{name: \"a\", x: 1}] + _more}"
	err := evaluate(t, text, "{}", func(r *template.Result) error {
		got, err := r.Patch(object(t, "spec: {list: [{name: c}, {name: a}]}"))
		if diff := cmp.Diff(object(t, "spec: {list: [{name: c}, {name: a, x: 1}, {name: b}]}"), got); diff != "" {
			t.Errorf("patched (-want +got):\n%s", diff)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestContract: the corners of a template that KubeVela's documents speak of.
func TestContract(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, template, parameters, want string }{
		{"a label called error", `output: {error: "x", "also": error}`, "{}", "{error: x, also: x}"},
		{"errs that are no list of texts", `errs: [1, 2], output: a: 1`, "{}", "a: 1"},
		{"errs that are no list", `errs: "x", output: a: 1`, "{}", "a: 1"},
		{"errs that are not known", `errs: [parameter.nope], output: a: 1`, "{}", "a: 1"},
		{"no errs", `errs: [if parameter.bad {"bad"}], output: a: 1`, "bad: false", "a: 1"},
		{"processing without a request", `processing: output: x: 1, output: a: processing.output.x`, "{}", "a: 1"},
		{"a request", `processing: {output: {token?: string}, http: {method: "GET", url: "https://x"}}, output: a: 1`, "{}",
			`error: processing.http: definition "test": rendering makes no requests: processing.http is not supported`},
		{"an action", "import \"vela/kube\"\noutput: kube.#Read", "{}", `error: compiling definition "test": import "vela/kube": its functions act on clusters and services, and rendering does neither: only CUE's standard packages can be imported here; what has to be fetched belongs into a workflow step`},
		{"an action by another name", "import x \"vela/op\"\noutput: x.#Read", "{}", `error: compiling definition "test": import "vela/op": its functions act on clusters and services, and rendering does neither: only CUE's standard packages can be imported here; what has to be fetched belongs into a workflow step`},
		{"a package of nobody", "import \"nope\"\noutput: a: nope.x", "{}", `error: compiling definition "test": builtin package "nope" undefined: test:1:8`},
		{"hidden, definitions, optional", "output: {_a: 1, #B: 2, c?: 3, d: _a}", "{}", "d: 1"},
		{"close", `parameter: close({a: string}), output: a: parameter.a`, "a: x", "a: x"},
		{"a guard", `output: {if context.nope != _|_ {a: 1}, if context.nope == _|_ {b: 2}}`, "{}", "b: 2"},
		{"a default of a choice", `parameter: kind: *"A" | "B" | {other: string}, output: k: parameter.kind`, "{}", "k: A"},
		{"a choice by its form", `parameter: v: string | {from: string}, output: {if (parameter.v & string) != _|_ {value: parameter.v}, if parameter.v.from != _|_ {from: parameter.v.from}}`, "v: {from: x}", "from: x"},
		{"maps in order", `output: l: [for k, v in parameter.m {"\(k)=\(v)"}]`, "m: {b: '2', a: '1'}", "l: [a=1, b=2]"},
		{"aliases", `output: X={a: 1, b: X.a}`, "{}", "{a: 1, b: 1}"},
		{"packages", `
import ("strings", "strconv", "list", "encoding/json", "encoding/yaml", "encoding/base64", "encoding/hex", "regexp", "net", "time", "math", "struct", "text/template", "crypto/sha256", "crypto/md5", "crypto/sha1", "crypto/sha512", "crypto/hmac", "path", "html")
output: {
	a: strings.ToUpper("x") + strconv.FormatInt(7, 10)
	b: list.Max([1, 3])
	c: json.Marshal({k: [1]})
	d: yaml.Marshal({k: "v"})
	e: base64.Encode(null, "hi")
	f: regexp.Match("^a+$", "aa")
	g: net.IPv4 & "10.0.0.1"
	h: time.Duration & "5m"
	i: math.Floor(1.5)
	j: {struct.MinFields(1), x: 1}
	k: template.Execute("{{.x}}!", {x: "y"})
	l: hex.Encode(sha256.Sum256("x")[0:2])
	m: len(hex.Encode(md5.Sum("x"))) + len(hex.Encode(sha1.Sum("x"))) + len(hex.Encode(sha512.Sum512("x")))
	n: len(hmac.Sign(hmac.SHA256, "k", "m"))
	o: path.Base("/a/b", path.Unix)
	p: json.Unmarshal("{\"z\": 1}").z
	q: yaml.Unmarshal("z: 2").z
	r: html.Escape("<")
	s: strings.Join([for x in strings.Split("b,a", ",") {x}], "")
	t: regexp.ReplaceAll("b+", "abbc", "-")
	u: list.Contains(["a"], "a")
	v: strconv.Atoi("5")
}`, "{}", `{a: X7, b: 3, c: '{"k":[1]}', d: "k: v\n", e: aGk=, f: true, g: 10.0.0.1, h: 5m, i: 1, j: {x: 1}, k: y!, l: 2d71, m: 200, 'n': 32, o: b, p: 1, q: 2, r: "&lt;", s: ba, t: a-c, u: true, v: 5}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := tt.want
			if !strings.HasPrefix(want, "error: ") {
				want = asJSON(t, object(t, want))
			}
			if diff := cmp.Diff(want, outputOf(t, tt.template, tt.parameters)); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDetails follows kubevela.md 7.6.
func TestDetails(t *testing.T) {
	t.Parallel()
	const rule = `
import "strconv"
_hidden: "h"
#Def: "d"
opt?: string
text:     context.output.status.phase
number:   context.output.status.replicas
flag:     context.output.status.replicas > 1
object: {a: 1}
list: ["x"]
missing:  context.output.status.nope
open:     string
$secret:  "s"
local:    "l" @local()
private:  "p" @private()
uses:     strconv.FormatInt(number, 10) + local + $secret + _hidden
param:    parameter.size
ofThirtyOneCharacters1234567890: "kept"
ofThirtyTwoCharacters12345678901: "skipped"
if text == "Running" {running: "yes"}
if text == "Pending" {pending: "yes"}`
	in := template.Input{
		Context:   map[string]any{"name": "web", "output": object(t, "status: {phase: Running, replicas: 3}")},
		Parameter: map[string]any{"size": "big"},
	}
	err := template.NewPool(1).Do(t.Context(), func(e *template.Engine) error {
		want := map[string]string{
			"text": "Running", "number": "3", "flag": "true", "object": `{"a":1}`, "list": `["x"]`, "missing": "_|_", "open": "_|_",
			"uses": "3lsh", "param": "big", "ofThirtyOneCharacters1234567890": "kept", "running": "yes",
		}
		if diff := cmp.Diff(want, e.Details(template.Template{Name: "test", Text: rule}, in)); diff != "" {
			t.Errorf("details (-want +got):\n%s", diff)
		}
		if got := e.Details(template.Template{Name: "test", Text: "a: {"}, in); got != nil {
			t.Errorf("details of no CUE: %v", got)
		}
		if got := e.Details(template.Template{Name: "test", Text: "a: 1 & 2, b: 3"}, in); fmt.Sprint(got) != "map[a:_|_ b:3]" {
			t.Errorf("details of a contradiction: %v", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
