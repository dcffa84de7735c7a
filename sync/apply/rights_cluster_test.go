package apply_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tradewind-dev/tradewind/deployments"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// account writes a kubeconfig that acts as the service account Tradewind is installed
// with.
func account(t *testing.T, k *kube.Cluster) *kube.Cluster {
	t.Helper()
	cfg, err := clientcmd.LoadFromFile(k.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range cfg.AuthInfos {
		user.Impersonate = "system:serviceaccount:tradewind-system:tradewind"
		user.ImpersonateGroups = []string{"system:serviceaccounts", "system:serviceaccounts:tradewind-system", "system:authenticated"}
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, file); err != nil {
		t.Fatal(err)
	}
	return &kube.Cluster{Kubeconfig: file}
}

// TestShippedRightsSuffice works with what deployments/ grants and nothing more.
func TestShippedRightsSuffice(t *testing.T) {
	t.Parallel()
	admin := setup(t)
	rbac, err := fs.ReadFile(deployments.Files(), "kustomize/base/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	role := `
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: of-the-administrator, labels: {tradewind.dev/aggregate-to-applier: "true"}}
rules:
  - {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, create, patch, delete]}
`
	if _, err := admin.kube.Apply(t.Context(), append(rbac, role...), ""); err != nil {
		t.Fatal(err)
	}
	aggregated := kube.Want{Path: "rules[0].resources[0]", Match: kube.Exactly("configmaps")}
	if err := admin.kube.Await(t.Context(), kube.Object{Kind: "ClusterRole", Name: "tradewind-applier"}, aggregated); err != nil {
		t.Fatal(err)
	}

	f := connect(t, account(t, admin.kube), admin.ns)
	f.kube = admin.kube
	app := f.application(t, "site")
	items := f.items(t, "site", configMaps("a", "b"))
	deadline := time.Now().Add(10 * time.Second) // until the authorizer has seen the role
	want := "ConfigMap $NS/a created\nConfigMap $NS/b created\n"
	got := f.apply(t, "site", items)
	for got != want && time.Now().Before(deadline) {
		got = f.apply(t, "site", items)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for what, do := range map[string]func() error{
		"finalizer": func() error { return f.SetFinalizer(t.Context(), app, true) },
		"status": func() error {
			_, err := f.WriteStatus(t.Context(), app, oam.Status{Phase: oam.PhaseRunning})
			return err
		},
		"revision": func() error {
			return f.SaveRevision(t.Context(), app, oam.Revision{Name: "site-v11", N: 11, Hash: "h"}, 0)
		},
		"revisions": func() error { _, err := f.Revisions(t.Context(), f.ns, "site"); return err },
		"record": func() error {
			return f.Record(t.Context(), f.ns, "site", apply.Record{ID: "1", Reason: "Applied", Note: "done", Time: time.Now()})
		},
		"list":  func() error { _, err := f.ListApplications(t.Context(), f.ns); return err },
		"ready": func() error { return f.Ready(t.Context()) },
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	got = f.prune(t, "site", items[:1], apply.PruneOptions{})
	all, err := f.DeleteAll(t.Context(), f.inventory(t, "site"), apply.PruneOptions{})
	if diff := cmp.Diff("ConfigMap $NS/b deleted\nConfigMap $NS/a deleted\n", got+receipt(f.ns, all, err)); diff != "" {
		t.Error(diff)
	}
	child := f.items(t, "site", "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: child}\nspec: {components: []}")
	if diff := cmp.Diff("Application $NS/child created\n", f.apply(t, "site", child)); diff != "" {
		t.Error(diff)
	}

	service := f.items(t, "site", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}")
	got = f.apply(t, "site", service)
	if !strings.HasPrefix(got, "Service $NS/s failed: applying Service $NS/s: services is forbidden: ") {
		t.Errorf("receipt: %s", got)
	}
	if _, err := f.SecretData(t.Context(), f.ns, "git"); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("it may read Secrets: %v", err)
	}
}
