package apply_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/sync/apply"
)

// configMaps renders ConfigMaps of the given names.
func configMaps(names ...string) string {
	docs := make([]string, 0, len(names))
	for _, name := range names {
		docs = append(docs, strings.Replace(config, "name: config", "name: "+name, 1))
	}
	return strings.Join(docs, "\n---\n")
}

func (f *fixture) prune(t *testing.T, app string, keep []apply.Item, opts apply.PruneOptions) string {
	t.Helper()
	changes, err := f.Prune(t.Context(), f.inventory(t, app), keep, opts)
	return receipt(f.ns, changes, err)
}

func (f *fixture) exists(t *testing.T, kind, name string) bool {
	t.Helper()
	return f.value(t, kind+"", name, "metadata.name") == name
}

func (f *fixture) entries(t *testing.T, app string) string {
	t.Helper()
	var names []string
	for _, e := range f.inventory(t, app).Entries {
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}

func TestPruneDeletesWhatIsNotWanted(t *testing.T) {
	t.Parallel()
	f := setup(t)
	all := f.items(t, "site", configMaps("a", "b", "c"))
	f.apply(t, "site", all)
	f.asked.take()
	if diff := cmp.Diff("", f.prune(t, "site", all, apply.PruneOptions{})+strings.Join(f.asked.take(), "\n")); diff != "" {
		t.Errorf("nothing to prune: %s", diff)
	}
	if diff := cmp.Diff("ConfigMap $NS/b deleted\nConfigMap $NS/c deleted\n", f.prune(t, "site", all[:1], apply.PruneOptions{})); diff != "" {
		t.Error(diff)
	}
	got := f.asked.take()
	slices.Sort(got)
	want := []string{
		"DELETE /api/v1/namespaces/" + f.ns + "/configmaps/b", "DELETE /api/v1/namespaces/" + f.ns + "/configmaps/c",
		"PUT /apis/core.oam.dev/v1beta1/resourcetrackers/site-" + f.ns,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got := f.entries(t, "site"); got != "a" {
		t.Errorf("the inventory holds %q", got)
	}
}

func TestPruneRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("c%02d", i))
	}
	all := f.items(t, "site", configMaps(names...))
	f.apply(t, "site", all)

	want := "error: nothing is wanted any more, so nothing was pruned\n"
	if diff := cmp.Diff(want, f.prune(t, "site", nil, apply.PruneOptions{Approved: true})); diff != "" {
		t.Error(diff)
	}
	want = "error: 12 of 20 objects would be deleted, held until approved: ConfigMap $NS/c08, ConfigMap $NS/c09, ConfigMap $NS/c10, ConfigMap $NS/c11, " +
		"ConfigMap $NS/c12, ConfigMap $NS/c13, ConfigMap $NS/c14, ConfigMap $NS/c15, ConfigMap $NS/c16, ConfigMap $NS/c17, and 2 more\n"
	if diff := cmp.Diff(want, f.prune(t, "site", all[:8], apply.PruneOptions{})); diff != "" {
		t.Error(diff)
	}
	_, err := f.Prune(t.Context(), f.inventory(t, "site"), all[:8], apply.PruneOptions{})
	if e, ok := errors.AsType[*apply.Error](err); !ok || e.Reason != apply.ReasonPruneHeld || len(e.Objects) != 12 {
		t.Errorf("error is %+v", err)
	}
	lost := errors.New("the lease is lost")
	if _, err := f.Prune(t.Context(), f.inventory(t, "site"), all[:8], apply.PruneOptions{Approved: true, Check: func(contextType) error { return lost }}); !errors.Is(err, lost) {
		t.Errorf("error is %v", err)
	}
	if got := f.entries(t, "site"); got != strings.Join(names, " ") {
		t.Errorf("the inventory shrank to %q", got)
	}
	if got := strings.Count(f.prune(t, "site", all[:8], apply.PruneOptions{Approved: true}), "deleted"); got != 12 {
		t.Errorf("%d were deleted with approval", got)
	}
	if got := strings.Count(f.prune(t, "site", nil, apply.PruneOptions{AllowEmpty: true}), "deleted"); got != 8 {
		t.Errorf("%d were deleted with empty allowed", got)
	}
}

func TestPruneLeavesWhatIsProtected(t *testing.T) {
	t.Parallel()
	f := setup(t)
	manifest := configMaps("kept", "marked", "flux", "taken") + `
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: scratch, finalizers: [example.com/wait], annotations: {tradewind.dev/prune: allowed}}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}`
	manifest = strings.Replace(manifest, "{name: marked}", "{name: marked, annotations: {tradewind.dev/prune: disabled}}", 1)
	manifest = strings.Replace(manifest, "{name: flux}", "{name: flux, annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}}", 1)
	items := f.items(t, "site", manifest)
	f.apply(t, "site", items)
	taken := kube.Object{Kind: "ConfigMap", Namespace: f.ns, Name: "taken"}
	if err := f.kube.Patch(t.Context(), taken, `{"metadata":{"labels":{"app.oam.dev/name":"other"}}}`); err != nil {
		t.Fatal(err)
	}
	f.await(t, "other: ConfigMap $NS/taken")
	f.application(t, "other")

	got := f.prune(t, "site", items[:1], apply.PruneOptions{})
	for _, want := range []string{"ConfigMap $NS/marked skipped", "ConfigMap $NS/flux skipped", "ConfigMap $NS/taken skipped", "Claim $NS/data skipped", "Claim $NS/scratch deleted"} {
		if !strings.Contains(got, want) {
			t.Errorf("receipt lacks %q:\n%s", want, got)
		}
	}
	if got := f.entries(t, "site"); got != "flux kept marked data scratch" {
		t.Errorf("the inventory holds %q although a claim has a finalizer", got)
	}
	f.unfinalize(t, "PersistentVolumeClaim", "scratch")
	f.await(t, "site: PersistentVolumeClaim $NS/scratch deleted")
	f.prune(t, "site", items[:1], apply.PruneOptions{})
	if got := f.entries(t, "site"); got != "flux kept marked data" {
		t.Errorf("the inventory holds %q", got)
	}
}

// unfinalize removes what holds an object back from going.
func (f *fixture) unfinalize(t *testing.T, kind, name string) {
	t.Helper()
	if err := f.kube.Patch(t.Context(), kube.Object{Kind: kind, Namespace: f.ns, Name: name}, `{"metadata":{"finalizers":null}}`); err != nil {
		t.Fatal(err)
	}
}

func TestDeleteAllWaitsUntilAllIsGone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	manifest := strings.Replace(configMaps("a", "slow"), "{name: slow}", "{name: slow, finalizers: [example.com/wait]}", 1) +
		"\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n" +
		"spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}"
	f.apply(t, "site", f.items(t, "site", manifest))

	want := "PersistentVolumeClaim $NS/data skipped\nConfigMap $NS/a deleted\nConfigMap $NS/slow deleted\nServiceAccount $NS/robot skipped\n" +
		"error: waiting until these are gone: ConfigMap $NS/slow, ServiceAccount $NS/robot\n"
	all := func() string {
		changes, err := f.DeleteAll(t.Context(), f.inventory(t, "site"), apply.PruneOptions{})
		lines := strings.SplitAfter(receipt(f.ns, changes, err), "\n")
		slices.SortStableFunc(lines[:max(0, len(lines)-2)], func(a, b string) int {
			return strings.Count(b, "Claim") - strings.Count(a, "Claim")
		})
		return strings.Join(lines, "")
	}
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Error(diff)
	}
	f.asked.take()
	want = "ConfigMap $NS/slow skipped\nServiceAccount $NS/robot skipped\nerror: waiting until these are gone: ConfigMap $NS/slow, ServiceAccount $NS/robot\n"
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("while it waits: %s", diff)
	}
	if got := f.asked.take(); len(got) > 0 {
		t.Errorf("waiting costs %v", got)
	}
	f.unfinalize(t, "ConfigMap", "slow")
	f.await(t, "site: ConfigMap $NS/slow deleted")
	if diff := cmp.Diff("ConfigMap $NS/slow skipped\nServiceAccount $NS/robot deleted\n", all()); diff != "" {
		t.Error(diff)
	}
	if got := f.entries(t, "site"); got != "" {
		t.Errorf("the inventory holds %q", got)
	}
	if !f.exists(t, "PersistentVolumeClaim", "data") {
		t.Error("the claim, and its data, are gone")
	}
}

func TestPruneNeedsToSee(t *testing.T) {
	t.Parallel()
	f := setup(t)
	all := f.items(t, "site", configMaps("a", "b"))
	f.apply(t, "site", all)
	f = connect(t, f.kube, f.ns)
	f.asked.failWith(func(req *http.Request) *http.Response {
		if strings.HasSuffix(req.URL.Path, "/configmaps") || strings.Contains(req.URL.Path, "/configmaps/") {
			return answer(http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"configmaps is forbidden: User \"x\" cannot list resource"}`)
		}
		return nil
	})
	want := "ConfigMap $NS/b failed: looking for ConfigMap $NS/b: configmaps is forbidden: User \"x\" cannot list resource\n"
	if diff := cmp.Diff(want, f.prune(t, "site", all[:1], apply.PruneOptions{})); diff != "" {
		t.Error(diff)
	}
	if got := f.entries(t, "site"); got != "a b" {
		t.Errorf("the inventory holds %q", got)
	}
}
