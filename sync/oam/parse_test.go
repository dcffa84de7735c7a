package oam_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

const shop = `
# the document of the guide
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: shop
  labels: {team: blue}
spec:
  replicas: 3 # no field of an Application: dropped
  components:
    - name: web
      type: webservice
      properties: {image: "web:1", port: 8088, big: 9007199254740993, ratio: 0.5, none: null}
      traits:
        - type: ingress
          properties: {domain: example.com, http: {/: 8088}}
      dependsOn: [db]
    - name: db
      type: raw
      Type: ignored
      outputs: [{name: host, valueFrom: output.status.host}]
  policies:
    - type: health
  workflow:
    steps:
      - {type: apply-component, timeout: 5m, properties: {component: db}}
`

func header(spec string) string {
	return "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: shop}\nspec:\n" + spec
}

func TestParse(t *testing.T) {
	t.Parallel()
	want := &oam.Application{
		TypeMeta:   metav1.TypeMeta{APIVersion: "core.oam.dev/v1beta1", Kind: "Application"},
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "blue"}},
		Spec: oam.Spec{
			Components: []oam.Component{
				{
					Name: "web", Type: "webservice", DependsOn: []string{"db"},
					Properties: map[string]any{"image": "web:1", "port": int64(8088), "big": int64(9007199254740993), "ratio": 0.5, "none": nil},
					Traits: []oam.Trait{{Type: "ingress", Properties: map[string]any{
						"domain": "example.com", "http": map[string]any{"/": int64(8088)},
					}}},
				},
				{Name: "db", Type: "raw", Outputs: []oam.Output{{Name: "host", ValueFrom: "output.status.host"}}},
			},
			Policies: []oam.Policy{{Type: "health"}},
			Workflow: &oam.Workflow{Steps: []oam.Step{{
				Type: "apply-component", Timeout: "5m", Properties: map[string]any{"component": "db"},
			}}},
		},
	}
	for name, data := range map[string]string{
		"yaml": shop, "one document between marks": "---\n" + shop + "---\n# nothing\n", "json": toJSON(t, want),
	} {
		got, err := oam.Parse([]byte(data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, data, want string }{
		{"nothing", "", "parsing Application: the document is empty"},
		{"only a comment", "# later\n---\n", "parsing Application: the document is empty"},
		{"a list", "[]", "parsing Application: list given, object wanted"},
		{"two documents", shop + "---\n" + shop, "parsing Application: more than one document: want one Application"},
		{"another kind", "apiVersion: v1\nkind: Pod", "parsing Application: v1 Pod given, core.oam.dev/v1beta1 Application wanted"},
		{"an old version", "apiVersion: core.oam.dev/v1alpha2\nkind: Application",
			"parsing Application: core.oam.dev/v1alpha2 Application given, core.oam.dev/v1beta1 Application wanted"},
		{"no kind", "a: b", "parsing Application: object without kind given, core.oam.dev/v1beta1 Application wanted"},
		{
			"wrong types, each with its path", header(`  components:
  - {name: web, type: 7, dependsOn: db, traits: {type: ingress}}
  - {name: db, type: raw, properties: [], outputs: [{name: true}]}
  - web
  workflow: {steps: [{timeout: 5}]}
`),
			"parsing Application shop: spec.components[0].type: number given, string wanted; " +
				"spec.components[0].traits: object given, list wanted; spec.components[0].dependsOn: string given, list wanted; " +
				"spec.components[1].properties: list given, object wanted; spec.components[1].outputs[0].name: true or false given, string wanted; " +
				"spec.components[2]: string given, object wanted; spec.workflow.steps[0].timeout: number given, string wanted",
		},
		{
			"wrong metadata", "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: shop, labels: {a: 1, b: {}}, generation: x}\nspec: {components: []}",
			"parsing Application shop: metadata.generation: string given, number wanted; metadata.labels.a: number given, string wanted; metadata.labels.b: object given, string wanted",
		},
		{
			"a date that is none", "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: shop, creationTimestamp: now}\nspec: {components: []}",
			`parsing Application shop: metadata: parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := oam.Parse([]byte(tt.data))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestParseRefusesBrokenYAML(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"a tab": "a:\n\t- b", "a key twice": header("  components: []\n  components: []\n"), "an open bracket": "{",
	} {
		if _, err := oam.Parse([]byte(data)); err == nil || !strings.HasPrefix(err.Error(), "parsing Application: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestFromObjectKeepsIdentityAndStatusOfADocumentThatDoesNotFit(t *testing.T) {
	t.Parallel()
	got, err := oam.FromObject(map[string]any{
		"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
		"metadata": map[string]any{"name": "shop", "namespace": "prod", "generation": int64(3)},
		"spec":     "nonsense",
		"status": map[string]any{
			"status": "running", "services": "of another controller", "observedGeneration": int64(2), "unknown": 1,
			"workflow": map[string]any{"mode": "DAG-DAG", "finished": true},
		},
	})
	if err == nil || err.Error() != "parsing Application shop: spec: string given, object wanted" {
		t.Errorf("error %v", err)
	}
	want := &oam.Application{
		TypeMeta:   metav1.TypeMeta{APIVersion: "core.oam.dev/v1beta1", Kind: "Application"},
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "prod", Generation: 3},
		Status: oam.Status{
			Phase: oam.PhaseRunning, ObservedGeneration: 2, Workflow: &oam.WorkflowStatus{Mode: "DAG-DAG", Finished: true},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	got, err = oam.FromObject(map[string]any{
		"apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
		"metadata": map[string]any{"name": "shop", "namespace": "prod", "uid": "u", "labels": "x"},
	})
	if err == nil || got.Name != "shop" || got.Namespace != "prod" || got.UID != "u" {
		t.Errorf("with wrong metadata: %+v, error %v", got, err)
	}
}

func TestDeepCopySharesNothing(t *testing.T) {
	t.Parallel()
	app, err := oam.Parse([]byte(shop))
	if err != nil {
		t.Fatal(err)
	}
	app.Status.Workflow = &oam.WorkflowStatus{Steps: []oam.StepStatus{{Name: "db", Phase: oam.StepRunning}}}
	before := toJSON(t, app)
	copied, status := app.DeepCopy(), app.Status.DeepCopy()
	if diff := cmp.Diff(app, copied); diff != "" {
		t.Errorf("copy differs (-original +copy):\n%s", diff)
	}
	copied.Labels["team"] = "red"
	copied.Spec.Components[0].Properties["image"] = "web:2"
	http, _ := copied.Spec.Components[0].Traits[0].Properties["http"].(map[string]any)
	http["/"] = int64(1)
	copied.Spec.Workflow.Steps[0].Name = "x"
	status.Workflow.Steps[0].Phase = oam.StepFailed
	if after := toJSON(t, app); after != before {
		t.Errorf("changing the copy changed the original:\n%s\n%s", before, after)
	}
	var none *oam.WorkflowStatus
	if none.DeepCopy() != nil {
		t.Error("a copy of nothing is something")
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in                      string
		interval, timeout, step time.Duration // 0: refused
	}{
		{"90s", 90 * time.Second, 90 * time.Second, 90 * time.Second},
		{"1m30s", 90 * time.Second, 90 * time.Second, 90 * time.Second},
		{"1.5m", 90 * time.Second, 90 * time.Second, 90 * time.Second},
		{"250ms", 250 * time.Millisecond, 250 * time.Millisecond, 250 * time.Millisecond},
		{"1h", time.Hour, 0, time.Hour},
		{"1h30m", 90 * time.Minute, 0, 90 * time.Minute},
		{"10us", 0, 0, 10 * time.Microsecond},
		{"1min", 0, 0, 0},
		{"1d", 0, 0, 0},
		{"60", 0, 0, 0},
		{"", 0, 0, 0},
		{"-1m", 0, 0, 0},
		{" 1m", 0, 0, 0},
		{"1m\n", 0, 0, 0},
		{"9999999999h", 0, 0, 0},
	}
	for _, tt := range tests {
		for _, f := range []struct {
			name string
			read func(string) (time.Duration, error)
			want time.Duration
		}{{"interval", oam.ParseDuration, tt.interval}, {"timeout", oam.ParseTimeout, tt.timeout}, {"step", oam.ParseStepDuration, tt.step}} {
			got, err := f.read(tt.in)
			if got != f.want || (err == nil) != (f.want != 0) {
				t.Errorf("%s %q: %v, error %v; want %v", f.name, tt.in, got, err, f.want)
			}
		}
	}
	_, err := oam.ParseDuration("1d")
	if want := `"1d" is not a duration: want numbers with ms, s, m or h, such as 90s or 1h30m`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// FuzzParse checks that whatever is taken for an Application is one: it survives its own
// encoding, and copies and hashes without surprise.
func FuzzParse(f *testing.F) {
	f.Add([]byte(shop))
	f.Add([]byte(header("  components: []\n  workflow: {steps: [{type: step-group, subSteps: [{type: suspend}]}]}\n")))
	f.Add([]byte(`{"apiVersion":"core.oam.dev/v1beta1","kind":"Application","metadata":{"name":"a"},"spec":{"components":[{"name":"a","type":"b","dependsOn":["a"]}]}}`))
	f.Add([]byte("--- {a: b}\n"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		app, err := oam.Parse(data)
		if app == nil && err == nil {
			t.Fatal("neither an Application nor an error")
		}
		if err != nil {
			return
		}
		again, err := oam.Parse([]byte(toJSON(t, app)))
		if err != nil {
			t.Fatalf("its own encoding is refused: %v", err)
		}
		if diff := cmp.Diff(app.Spec, again.Spec); diff != "" {
			t.Fatalf("its own encoding says something else:\n%s", diff)
		}
		if oam.SpecHash(app.Spec) != oam.SpecHash(app.DeepCopy().Spec) {
			t.Fatal("a copy has another hash")
		}
	})
}
