package helm_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

func component(properties map[string]any) oam.Component {
	return oam.Component{Name: "web", Type: "helm", Properties: properties}
}

func TestSpec(t *testing.T) {
	t.Parallel()
	s, err := helm.SpecOf(component(map[string]any{"url": "oci://ghcr.io/acme/charts", "chart": "web"}), "shop")
	if err != nil {
		t.Fatal(err)
	}
	want := &helm.Spec{
		RepoType: "oci", URL: "oci://ghcr.io/acme/charts", Chart: "web", Version: "*", PullInterval: 5 * time.Minute, InstallTimeout: 10 * time.Minute,
		ReleaseName: "web", Namespace: "shop", Retries: 3,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if s, err := helm.SpecOf(oam.Component{Type: "raw"}, "shop"); s != nil || err != nil {
		t.Errorf("another type: %v, %v", s, err)
	}
	for want, p := range map[string]map[string]any{
		"properties.url: is required":                   {"chart": "web"},
		"properties.chart: is required":                 {"url": "https://x"},
		`properties.version: "newest" is not a version`: {"url": "https://x", "chart": "web", "version": "newest"},
		"properties.pullInterval":                       {"url": "https://x", "chart": "web", "pullInterval": "1d"},
		"properties.retries: -1 given":                  {"url": "https://x", "chart": "web", "retries": -1},
		"properties.valuesFrom[0].kind":                 {"url": "https://x", "chart": "web", "valuesFrom": []any{map[string]any{"kind": "Pod", "name": "x"}}},
		"properties.repoType":                           {"url": "https://x", "chart": "web", "repoType": "oss"},
		"oci://host/path":                               {"url": "https://x", "chart": "web", "repoType": "oci"},
	} {
		if _, err := helm.SpecOf(component(p), "shop"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestReleaseName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 60)
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(long)))
	for _, c := range []struct{ release, target, want string }{
		{"", "", "web"}, {"", "prod", "prod-web"}, {"mine", "prod", "mine"}, {strings.Repeat("n", 53), "", strings.Repeat("n", 53)},
		{long, "", long[:40] + "-" + sum[:12]},
	} {
		s, err := helm.SpecOf(component(map[string]any{"url": "https://x", "chart": "web", "releaseName": c.release, "targetNamespace": c.target}), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if s.ReleaseName != c.want {
			t.Errorf("got %s, want %s", s.ReleaseName, c.want)
		}
	}
}

// TestValuesPrecedence: chart defaults, values files, valuesFrom in order, inline values,
// entries with a target path.
func TestValuesPrecedence(t *testing.T) {
	t.Parallel()
	s := &helm.Spec{
		ValuesFrom: []helm.ValuesFrom{
			{Kind: "Secret", Name: "at", Key: "k", TargetPath: "size.wide"}, {Kind: "ConfigMap", Name: "a", Key: "k"},
			{Kind: "ConfigMap", Name: "b", Key: "k"}, {Kind: "ConfigMap", Name: "not-there", Key: "k", Optional: true},
			{Kind: "Secret", Name: "text", Key: "k", TargetPath: "text"}, {Kind: "Secret", Name: "quoted", Key: "k", TargetPath: "quoted"},
		},
		Values: map[string]any{"colour": "inline"},
	}
	got, err := s.ValuesOf([][]byte{[]byte("7\n"), []byte("colour: a\nfrom: a\nsize: {high: 2}"), []byte("from: b\ncolour: b"), nil, []byte("a,b={x}"), []byte("'8'")})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"colour": "inline", "from": "b", "size": map[string]any{"high": float64(2), "wide": int64(7)}, "text": "a,b={x}", "quoted": "8"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := s.ValuesOf([][]byte{nil, []byte("- geheim"), nil, nil, nil, nil}); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a list: %v", err)
	}
}

func TestValuesFilesTakeThePlaceOfTheDefaults(t *testing.T) {
	t.Parallel()
	chart := chartFiles("1.0.0", files{
		"prod.yaml": "colour: prod\n", "more.yaml": "extra: 1\ncolour: more\n",
		"templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {all: {{ .Values | toJson | quote }}}\n",
	}).chart(t)
	for want, names := range map[string][]string{
		`{"colour":"white","size":{"high":1,"wide":1}}`: nil,
		`{"colour":"more","extra":1}`:                   {"prod.yaml", "./more.yaml"},
		`{"colour":"prod","size":{"high":1,"wide":1}}`:  {"values.yaml", "prod.yaml"},
	} {
		c, err := chart.WithValuesFiles(names, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := helm.Render(t.Context(), c, helm.Input{Name: "x", Namespace: "shop", Revision: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ReplaceAll(out.Manifest, `\`, ""), want) {
			t.Errorf("%v: want %s in\n%s", names, want, out.Manifest)
		}
		if len(names) > 0 && c.Digest == chart.Digest {
			t.Errorf("%v: the digest is that of the chart without them", names)
		}
	}
	if _, err := chart.WithValuesFiles([]string{"../secret"}, nil); err == nil {
		t.Error("a file outside of the chart was accepted")
	}
}

// TestDependencies: a chart inside the chart counts when its values say so, CRDs included.
func TestDependencies(t *testing.T) {
	t.Parallel()
	chart := chartFiles("1.0.0", files{
		"Chart.yaml":                  "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, version: 1.0.0, condition: db.enabled}]\n",
		"charts/db/Chart.yaml":        "apiVersion: v2\nname: db\nversion: 1.0.0\n",
		"charts/db/crds/crd.yaml":     "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: dbs.example.com}\n",
		"charts/db/templates/db.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\n",
	}).chart(t)
	for _, enabled := range []bool{true, false} {
		values := map[string]any{"db": map[string]any{"enabled": enabled}}
		out, err := helm.Render(t.Context(), chart, helm.Input{Name: "web", Namespace: "shop", Revision: 1, Values: values})
		if err != nil {
			t.Fatal(err)
		}
		r, err := helm.Open("web", "shop", "shop", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Install(chart, out, "a", values, time.Now()); err != nil {
			t.Fatal(err)
		}
		crds, objects, err := r.Objects()
		if err != nil || (len(crds) == 1) != enabled || (len(objects) == 2) != enabled {
			t.Errorf("enabled %v: %d CRDs, %d objects, %v", enabled, len(crds), len(objects), err)
		}
	}
}

// TestRenderSeesNothingOutside: no cluster, no DNS, no environment, no file, no schema
// from elsewhere.
func TestRenderSeesNothingOutside(t *testing.T) {
	t.Parallel()
	render := func(f files) (*helm.Output, error) {
		return helm.Render(t.Context(), chartFiles("1.0.0", f).chart(t), helm.Input{Name: "web", Namespace: "shop", Revision: 1})
	}
	out, err := render(files{"templates/cm.yaml": `
a: {{ len (lookup "v1" "Secret" "kube-system" "") }}
b: "{{ getHostByName "localhost" }}"
c: "{{ .Files.Get "../../etc/passwd" }}{{ .Files.Get "/etc/passwd" }}"
`})
	if err != nil {
		t.Fatal(err)
	}
	if want := "a: 0\nb: \"\"\nc: \"\""; !strings.Contains(out.Manifest, want) {
		t.Errorf("want %q in\n%s", want, out.Manifest)
	}
	for what, f := range map[string]files{
		"environment":     {"templates/cm.yaml": `a: {{ env "HOME" }}`},
		"remote schema":   {"values.schema.json": `{"properties":{"a":{"$ref":"http://127.0.0.1:1/x.json"}}}`},
		"file schema":     {"values.schema.json": `{"allOf":[{"$ref":"file:///etc/passwd"}]}`},
		"meta schema":     {"values.schema.json": `{"$schema":"https://elsewhere.example.com/schema"}`},
		"schema":          {"values.schema.json": `{"properties":{"colour":{"type":"integer"}}}`},
		"recursion":       {"templates/_r.tpl": `{{ define "r" }}{{ include "r" . }}{{ end }}`, "templates/cm.yaml": `a: {{ include "r" . }}`},
		"missing":         {"templates/cm.yaml": `a: {{ required "say colour" .Values.nothing }}`},
		"syntax":          {"templates/cm.yaml": `a: {{ if }}`},
		"newer cluster":   {"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '>=99'\n"},
		"not yaml":        {"templates/cm.yaml": "a: [\nb"},
		"too much output": {"templates/cm.yaml": `a: "{{ range $i := until 20000 }}{{ repeat 1000 "x" }}{{ end }}"`},
	} {
		if _, err := render(f); err == nil {
			t.Errorf("%s: rendered", what)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error has several lines: %v", what, err)
		}
	}
}
