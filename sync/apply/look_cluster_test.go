package apply_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// TestRevisionsSayHowTheyEnded reads it from the record that came after.
func TestRevisionsSayHowTheyEnded(t *testing.T) {
	t.Parallel()
	f := setup(t)
	app := f.application(t, "site")
	for n, phase := range []oam.WorkflowPhase{oam.WorkflowSucceeded, oam.WorkflowFailed, oam.WorkflowExecuting} {
		name := fmt.Sprintf("site-v%d", n+1)
		app.Spec.Components = []oam.Component{{Name: name, Type: "webservice"}}
		f.asked.take()
		if err := f.SaveRevision(t.Context(), app, oam.Revision{Name: name, N: int64(n + 1), Hash: name}, 0); err != nil {
			t.Fatal(err)
		}
		if asked := f.asked.take(); len(asked) != 1 {
			t.Errorf("recording asked %v, want one request", asked)
		}
		app.Status.Workflow = &oam.WorkflowStatus{AppRevision: name, Phase: phase, StartTime: new(metav1.Now().Rfc3339Copy())}
	}
	revisions, err := f.Revisions(t.Context(), f.ns, "site")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range revisions {
		phase := "unknown"
		if r.Ended != nil {
			phase = string(r.Ended.Phase)
		}
		got = append(got, fmt.Sprint(r.Name, " ", phase, " ", r.Size > 100))
	}
	if diff := cmp.Diff([]string{"site-v3 unknown true", "site-v2 failed true", "site-v1 succeeded true"}, got); diff != "" {
		t.Error(diff)
	}
	if now := apply.DeliveryOf(app); now.Revision != "site-v3" || now.Phase != oam.WorkflowExecuting {
		t.Errorf("of the latest the status says %+v", now)
	}
}

const previewed = `
apiVersion: v1
kind: ConfigMap
metadata: {name: same}
data: {a: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: changed}
data: {a: after}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: new}
data: {a: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: foreign}
data: {a: b}
---
apiVersion: v1
kind: Service
metadata: {name: wrong}
spec: {nonsense: true, ports: [{port: 80}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: $NS-later}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inside, namespace: $NS-later}
data: {a: b}
---
apiVersion: example.com/v1
kind: Nothing
metadata: {name: unknown}
`

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	before := strings.ReplaceAll(strings.Join(strings.SplitN(previewed, "\n---\n", 3)[:2], "\n---\n"), "after", "before")
	f.apply(t, "site", f.items(t, "site", before))
	if _, err := f.kube.Apply(t.Context(), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: foreign}\ndata: {a: theirs}"), f.ns); err != nil {
		t.Fatal(err)
	}
	versions := func() (out []string) {
		for _, name := range []string{"same", "changed", "foreign"} {
			out = append(out, f.value(t, "ConfigMap", name, "metadata.resourceVersion"))
		}
		return out
	}
	had := versions()
	// A command does not watch.
	c, err := apply.Connect(apply.Config{Kubeconfig: f.kube.Kubeconfig}, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	preview := func(adopt bool) (out []string) {
		for _, p := range c.DryRun(t.Context(), f.owner("site"), f.items(t, "site", previewed), adopt) {
			line := fmt.Sprint(p.Ref.Name, " ", p.Action)
			if p.Applied != nil && p.Ref.Kind == "ConfigMap" {
				data, _ := json.Marshal(p.Applied.Object["data"])
				line += " " + string(data)
			}
			if p.Err != nil {
				line += ": " + p.Err.Error()
			}
			out = append(out, strings.ReplaceAll(line, f.ns, "$NS"))
		}
		slices.Sort(out)
		return out
	}
	want := []string{
		`$NS-later created`,
		`changed configured {"a":"after"}`,
		`foreign failed: ConfigMap $NS/foreign exists but is not managed by any Application`,
		`inside created {"a":"b"}`,
		`new created {"a":"b"}`,
		`same unchanged {"a":"b"}`,
		`unknown failed: looking for Nothing $NS/unknown: the cluster has no kind Nothing in example.com/v1`,
		`wrong failed: applying Service $NS/wrong: .spec.nonsense: there is no such field`,
	}
	if diff := cmp.Diff(want, preview(false)); diff != "" {
		t.Error(diff)
	}
	if got := preview(true); !slices.Contains(got, `foreign configured {"a":"b"}`) {
		t.Errorf("adopting: %v", got)
	}
	if now := versions(); !slices.Equal(now, had) {
		t.Errorf("versions were %v, are %v", had, now)
	}
	if _, err := f.kube.Get(t.Context(), kube.Object{Kind: "ConfigMap", Namespace: f.ns, Name: "new"}); !apply.IsNotFound(err) {
		t.Errorf("a dry run created an object: %v", err)
	}
}

func TestWhatACommandSees(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.application(t, "site")
	f.apply(t, "site", f.items(t, "site", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b, c: d}"))
	c, err := apply.Connect(apply.Config{Kubeconfig: f.kube.Kubeconfig}, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := c.Tracked(t.Context(), f.ns, "site")
	if err != nil || len(entries) != 1 || entries[0].Ref().Name != "settings" {
		t.Fatalf("tracked: %v, %v", entries, err)
	}
	if none, err := c.Tracked(t.Context(), f.ns, "other"); err != nil || len(none) > 0 {
		t.Errorf("tracked by an Application that is not there: %v, %v", none, err)
	}
	columns, err := c.Columns(t.Context(), entries[0].Ref())
	if err != nil || len(columns) < 2 || columns[0] != (apply.Column{Name: "Data", Value: "2"}) {
		t.Errorf("columns: %v, %v", columns, err)
	}
	_, err = c.Columns(t.Context(), apply.ObjectRef{Version: "v1", Kind: "ConfigMap", Namespace: f.ns, Name: "none"})
	if !apply.IsNotFound(err) {
		t.Errorf("columns of nothing: %v", err)
	}
}

func TestEdits(t *testing.T) {
	t.Parallel()
	f := setup(t)
	app := f.application(t, "site")
	was := &oam.Application{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{oam.AnnotationPublishVersion: "alpha"}}}
	was.Spec = oam.Spec{Components: []oam.Component{{Name: "web", Type: "webservice", Properties: map[string]any{"image": "nginx"}}}}
	for _, dryRun := range []bool{true, false} {
		if err := f.Restore(t.Context(), app, was, dryRun); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "0", false: "1"}[dryRun]
		if got := f.value(t, "Application", "site", "spec.components.#"); got != want {
			t.Errorf("dry run %t: %s components, want %s", dryRun, got, want)
		}
	}
	if err := f.Restore(t.Context(), app, was, false); err == nil {
		t.Error("a spec was written over one that nobody had seen")
	}
	app, err := f.GetApplication(t.Context(), f.ns, "site")
	if err != nil {
		t.Fatal(err)
	}
	if version := app.Annotations[oam.AnnotationPublishVersion]; version != "alpha" {
		t.Errorf("publishVersion is %q", version)
	}
	was.Annotations = nil
	if err := f.Restore(t.Context(), app, was, false); err != nil {
		t.Fatal(err)
	}
	if app, err = f.GetApplication(t.Context(), f.ns, "site"); err != nil || app.Annotations[oam.AnnotationPublishVersion] != "" {
		t.Errorf("publishVersion stays: %v, %v", app.Annotations, err)
	}
	for _, dryRun := range []bool{true, false} {
		if err := f.DeleteApplication(t.Context(), app, true, dryRun); err != nil {
			t.Fatal(err)
		}
		// The finalizer by which the objects stay also holds the Application, for the worker.
		got := f.value(t, "Application", "site", "metadata.deletionTimestamp")
		if (got == "") != dryRun {
			t.Errorf("dry run %t: deleted at %q", dryRun, got)
		}
	}
	if got := f.value(t, "Application", "site", "metadata.finalizers[0]"); got != oam.FinalizerOrphan {
		t.Errorf("finalizers are %s", got)
	}
}
