package apply_test

import (
	"errors"
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

func TestStatusIsWrittenWhenItSaysSomethingNew(t *testing.T) {
	t.Parallel()
	f := setup(t)
	app := f.application(t, "site")
	zombie := app.DeepCopy()
	f.asked.take()
	status := oam.Status{Phase: oam.PhaseRunning, Services: []oam.Service{{Name: "web", Healthy: true, Message: "1/1"}}, Conditions: []metav1.Condition{
		{Type: oam.ConditionReady, Status: metav1.ConditionTrue, Reason: "ReconcileSuccess", LastTransitionTime: metav1.Now().Rfc3339Copy()},
	}}
	for i, want := range []string{"true PATCH", "false "} {
		wrote, err := f.WriteStatus(t.Context(), app, status)
		if err != nil {
			t.Fatal(err)
		}
		got := f.asked.take()
		if verb, _, _ := strings.Cut(strings.Join(got, ","), " "); fmt.Sprint(wrote, " ", verb) != want {
			t.Errorf("write %d: %v by %v, want %s", i, wrote, got, want)
		}
	}
	stored, found, err := f.Application(f.ns, "site")
	if !found || err != nil || stored.Status.Phase != oam.PhaseRunning {
		t.Errorf("right after the write the cache has %+v, %v", stored, err)
	}
	if diff := cmp.Diff(status, stored.Status); diff != "" {
		t.Error(diff)
	}
	if wrote, err := f.WriteStatus(t.Context(), stored.DeepCopy(), status); wrote || err != nil {
		t.Errorf("from the cache: %v %v", wrote, err)
	}

	status.Phase = oam.PhaseUnhealthy
	_, err = f.WriteStatus(t.Context(), zombie, status)
	if e, ok := errors.AsType[*apply.Error](err); !ok || !e.Retryable || e.Ref.Name != "site" {
		t.Errorf("a worker that was superseded wrote: %v", err)
	}
	if got := f.value(t, "Application", "site", "status.status"); got != "running" {
		t.Errorf("phase is %s", got)
	}
}

// Images have a writer of their own: a look that began before they were written stores its
// status all the same, and leaves them as they are.
func TestStatusBesideImages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	app := f.application(t, "site")
	for i, tag := range []string{"1.0.0", "1.1.0"} {
		images := []oam.Image{{Component: "web", Image: "r.example/web", Current: tag}}
		if err := f.WriteImages(t.Context(), f.ns, "site", images); err != nil {
			t.Fatal(err)
		}
		status := *app.Status.DeepCopy()
		status.Phase = []oam.Phase{oam.PhaseRunningWorkflow, oam.PhaseRunning}[i]
		if wrote, err := f.WriteStatus(t.Context(), app, status); !wrote || err != nil {
			t.Fatalf("write %d: %v, %v", i, wrote, err)
		}
		stored, _, _ := f.Application(f.ns, "site")
		if stored.Status.Phase != status.Phase || len(stored.Status.Images) != 1 || stored.Status.Images[0].Current != tag {
			t.Errorf("after write %d there is %+v", i, stored.Status)
		}
	}
	late := app.DeepCopy()
	if err := f.WriteImages(t.Context(), f.ns, "site", nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Annotate(t.Context(), f.ns, "site", map[string]string{oam.AnnotationRequestedAt: "now"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteStatus(t.Context(), late, oam.Status{Phase: oam.PhaseUnhealthy}); err == nil {
		t.Error("a change that was not of images was overlooked")
	}
}

func TestFinalizerAndMetadata(t *testing.T) {
	t.Parallel()
	f := setup(t)
	app := f.application(t, "site")
	f.asked.take()
	for range 2 {
		if err := f.SetFinalizer(t.Context(), app, true); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.asked.take(); len(got) != 1 {
		t.Errorf("setting it twice asked %v", got)
	}
	if got := f.value(t, "Application", "site", "metadata.finalizers"); got != `["app.oam.dev/resource-tracker-finalizer"]` {
		t.Errorf("finalizers are %s", got)
	}
	if err := f.Annotate(t.Context(), f.ns, "site", map[string]string{oam.AnnotationRequestedAt: "now"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Label(t.Context(), f.ns, "site", map[string]string{oam.LabelPause: "true"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Label(t.Context(), f.ns, "site", map[string]string{oam.LabelPause: ""}); err != nil {
		t.Fatal(err)
	}
	got, _, _ := f.Application(f.ns, "site")
	if got.Annotations[oam.AnnotationRequestedAt] != "now" || len(got.Labels) > 0 {
		t.Errorf("annotations %v, labels %v", got.Annotations, got.Labels)
	}
	app = got.DeepCopy()
	if err := f.kube.Delete(t.Context(), kube.Object{Kind: "Application", Namespace: f.ns, Name: "site"}); err != nil {
		t.Fatal(err)
	}
	err := f.SetFinalizer(t.Context(), app, false)
	if !apply.IsRetryable(err) {
		t.Errorf("it was deleted meanwhile, and the error is %v", err)
	}
	app, err = f.GetApplication(t.Context(), f.ns, "site")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetFinalizer(t.Context(), app, false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.GetApplication(t.Context(), f.ns, "site"); !apply.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestApplicationThatDoesNotDecode(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if _, err := f.kube.Apply(t.Context(), []byte(`
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {name: odd, labels: {team: a}}
spec: {components: [{name: web, type: webservice, properties: {image: x}}]}`), f.ns); err != nil {
		t.Fatal(err)
	}
	apps, err := f.ListApplications(t.Context(), f.ns)
	if err != nil || len(apps) != 1 || apps[0].Labels["team"] != "a" || apps[0].Spec.Components[0].Properties["image"] != "x" {
		t.Errorf("list is %+v, %v", apps, err)
	}
	if _, err := f.GetApplication(t.Context(), f.ns, "none"); err == nil || err.Error() != "reading Application "+f.ns+`/none: applications.core.oam.dev "none" not found` {
		t.Errorf("error is %v", err)
	}
}

func TestRevisionsAreKept(t *testing.T) {
	t.Parallel()
	f := setup(t)
	app := f.application(t, "site")
	save := func(n int, hash string) {
		t.Helper()
		app.Spec.Components = []oam.Component{{Name: hash, Type: "webservice"}}
		if err := f.SaveRevision(t.Context(), app, oam.Revision{Name: fmt.Sprintf("site-v%d", n), N: int64(n), Hash: hash}, 0); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= 12; n++ {
		save(n, fmt.Sprintf("h%d", n))
	}
	save(12, "h12")    // after a crash
	save(12, "h12bis") // after a crash, and another change
	revisions, err := f.Revisions(t.Context(), f.ns, "site")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range revisions {
		got = append(got, r.Name+" "+r.Application.Spec.Components[0].Name)
	}
	want := []string{"site-v12 h12bis"}
	for n := 11; n >= 3; n-- {
		want = append(want, fmt.Sprintf("site-v%d h%d", n, n))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestInventoryGrowsFirst(t *testing.T) {
	t.Parallel()
	f := setup(t)
	items := f.items(t, "site", configMaps("a", "b"))
	inv := f.inventory(t, "site")
	lost := errors.New("the lease is lost")
	if _, err := f.Apply(t.Context(), inv, items, apply.ApplyOptions{Check: func(contextType) error { return lost }}); !errors.Is(err, lost) {
		t.Errorf("error is %v", err)
	}
	if got := f.asked.take(); slices.ContainsFunc(got, func(s string) bool { return !strings.HasPrefix(s, "GET") }) {
		t.Errorf("without a lease it asked %v", got)
	}
	if err := inv.Widen(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	f.asked.take()
	if err := inv.Widen(t.Context(), items[:1]); err != nil {
		t.Fatal(err)
	}
	if got := f.asked.take(); len(got) > 0 {
		t.Errorf("widening by what is there asked %v", got)
	}
	if got := f.entries(t, "site"); got != "a b" {
		t.Errorf("right after the write it holds %q", got)
	}

	zombie := f.inventory(t, "site")
	if err := inv.Widen(t.Context(), f.items(t, "site", configMaps("c"))); err != nil {
		t.Fatal(err)
	}
	if err := zombie.Widen(t.Context(), f.items(t, "site", configMaps("d"))); !apply.IsRetryable(err) {
		t.Errorf("an inventory that was read before is stored: %v", err)
	}
	if err := inv.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.entries(t, "site"); got != "" {
		t.Errorf("right after it was forgotten it holds %q", got)
	}
}

func TestInventoryThatCannotBeRead(t *testing.T) {
	t.Parallel()
	f := setup(t)
	name := "site-" + f.ns
	if _, err := f.kube.Apply(t.Context(), []byte("apiVersion: core.oam.dev/v1beta1\nkind: ResourceTracker\nmetadata: {name: "+name+
		", labels: {app.oam.dev/name: site, app.oam.dev/namespace: "+f.ns+"}}\nspec: {managedResources: [{apiVersion: v1, kind: ConfigMap, name: a, component: {not: text}}]}"), ""); err == nil {
		t.Fatal("the API server takes a component that is not text")
	}
	// Two Applications whose names, joined, are the same.
	first, second := apply.Owner{Namespace: f.ns, Name: "a-b"}, apply.Owner{Namespace: "b-" + f.ns, Name: "a"}
	for _, owner := range []apply.Owner{first, second} {
		inv, err := f.LoadInventory(owner)
		if err != nil {
			t.Fatal(err)
		}
		if err := inv.Widen(t.Context(), f.items(t, owner.Name, configMaps("of-"+owner.Name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, owner := range []apply.Owner{first, second} {
		inv, err := f.LoadInventory(owner)
		if err != nil || len(inv.Entries) != 1 || inv.Entries[0].Name != "of-"+owner.Name {
			t.Errorf("%s has %+v, %v", owner, inv, err)
		}
	}

	big := f.items(t, "big", configMaps("x"))
	for i := range 6000 {
		item := apply.Item{Object: big[0].Object.DeepCopy(), Component: "c"}
		item.Object.SetName(fmt.Sprintf("a-rather-long-name-of-an-object-%05d", i))
		big = append(big, item)
	}
	err := f.inventory(t, "big").Widen(t.Context(), big)
	if e, ok := errors.AsType[*apply.Error](err); !ok || e.Retryable || !strings.Contains(err.Error(), "at most 512 KiB") {
		t.Errorf("error is %v", err)
	}
}
