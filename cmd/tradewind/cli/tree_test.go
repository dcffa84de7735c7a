package cli

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

func entriesOf(names ...string) (entries []apply.Entry, applied []oam.AppliedResource) {
	for _, name := range names { // "apiVersion Kind namespace/name"
		fields := strings.Fields(name)
		namespace, name, _ := strings.Cut(fields[2], "/")
		entries = append(entries, apply.Entry{APIVersion: fields[0], Kind: fields[1], Namespace: namespace, Name: name})
		applied = append(applied, oam.AppliedResource{APIVersion: fields[0], Kind: fields[1], Namespace: namespace, Name: name})
	}
	return entries, applied
}

// padRight gives every line of a picture the width that trailing blanks make.
func padRight(picture string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(picture) {
		line = strings.TrimSuffix(line, "\n")
		b.WriteString(line + strings.Repeat(" ", width-displayWidth(line)) + "\n")
	}
	return b.String()
}

// TestTreeIsKubeVelas holds the pictures of the reference, byte for byte.
func TestTreeIsKubeVelas(t *testing.T) {
	t.Parallel()
	t.Run("one namespace", func(t *testing.T) {
		t.Parallel()
		app := myApp()
		l := &lab{shelf: shelf{apps: []*oam.Application{app}}}
		l.entries, app.Status.AppliedResources = entriesOf(
			"networking.k8s.io/v1 Ingress default/my-server", "apps/v1 Deployment default/my-server", "v1 Service default/my-server")
		want := padRight(`CLUSTER       NAMESPACE     RESOURCE             STATUS
local     ─── default   ─┬─ Service/my-server    updated
                         ├─ Deployment/my-server updated
                         └─ Ingress/my-server    updated
`, 14+14+21+10)
		for _, args := range [][]string{{"status", "my-app", "--tree"}, {"tree", "my-app"}} {
			p, code := at(t, l, nil, args...)
			if p.out.String() != want || code != 0 || p.err.Len() > 0 {
				t.Errorf("%v: exit %d, stderr %q, stdout\n%s\nwant\n%s", args, code, &p.err, &p.out, want)
			}
		}
	})
	t.Run("clusters, a cluster-scoped object, an outdated one", func(t *testing.T) {
		t.Parallel()
		rows := []treeRow{
			{cluster: "local", namespace: "-", resource: "ClusterRole/x", status: "updated"},
			{cluster: "local", namespace: "default", resource: "Service/my-server", status: "updated"},
			{cluster: "local", namespace: "default", resource: "Deployment/my-server", status: "outdated"},
			{cluster: "prod", namespace: "demo", resource: "Deployment/a", status: "updated"},
			{cluster: "prod", namespace: "demo", resource: "Deployment/b", status: "updated"},
		}
		want := padRight(`CLUSTER       NAMESPACE     RESOURCE             STATUS
local     ─┬─ -         ─── ClusterRole/x        updated
           └─ default   ─┬─ Service/my-server    updated
                         └─ Deployment/my-server outdated
prod      ─── demo      ─┬─ Deployment/a         updated
                         └─ Deployment/b         updated
`, 14+14+21+10)
		var got strings.Builder
		if err := writeTree(&got, rows, false); err != nil || got.String() != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got.String(), want)
		}
	})
}

func TestTreeRows(t *testing.T) {
	t.Parallel()
	app := myApp()
	entries, applied := entriesOf("v1 Namespace default/shop", "apps/v1 Deployment a/web", "apps/v1 Deployment a/old", "v1 Service b/web")
	entries[0].Namespace = "" // its scope was learned after it was applied
	app.Status.AppliedResources = append(applied[:2:2], applied[3])
	var got []string
	for _, r := range treeRows(app, entries) {
		got = append(got, strings.Join([]string{r.namespace, r.resource, r.status}, " "))
	}
	want := "- Namespace/shop updated, a Deployment/old outdated, a Deployment/web updated, b Service/web updated"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, ", "), want)
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	app := myApp()
	l := &lab{shelf: shelf{apps: []*oam.Application{app}}}
	l.entries, app.Status.AppliedResources = entriesOf("v1 Service default/my-server", "apps/v1 Deployment default/my-server", "v1 ConfigMap vela-system/settings", "apps/v1 Deployment another/worker")
	web := objectFrom(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: my-server, namespace: default}}")
	web.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: "tradewind", Time: new(created(27, 9, 0, 0))}, {Manager: "kube-controller-manager", Time: new(created(28, 9, 0, 0))},
	})
	l.objects = append(l.objects, web)
	l.columns = map[string][]apply.Column{"Deployment": {{Name: "Ready", Value: "1/1"}, {Name: "Age", Value: "5m"}}}
	for name, args := range map[string][]string{
		"tree": {"tree", "my-app"}, "tree-detail": {"status", "my-app", "--tree", "--detail"}, "tree-not-found": {"tree", "my-ap"},
	} {
		p, code := at(t, l, nil, args...)
		golden(t, name, p.transcript(args, code))
	}
	args := []string{"tree", "infra"}
	p, code := at(t, &lab{shelf: shelf{apps: seedApps()}}, nil, args...)
	golden(t, "tree-empty", p.transcript(args, code))
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	app := myApp()
	l := &lab{shelf: shelf{apps: []*oam.Application{app}}}
	for _, text := range []string{
		"{apiVersion: v1, kind: Service, metadata: {name: my-server, namespace: default}, spec: {ports: [{port: 8088}, {port: 9090}]}}",
		"{apiVersion: v1, kind: Service, metadata: {name: public, namespace: default}, spec: {ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{ip: 10.0.0.7}, {hostname: lb.example.com}]}}}",
		"{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: my-server, namespace: default}, spec: {tls: [{hosts: [safe.example.com]}], " +
			"rules: [{host: plain.example.com, http: {paths: [{path: /}, {path: /api}]}}, {host: safe.example.com, http: {paths: [{path: /}]}}]}}",
		"{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: route, namespace: default}, spec: {hostnames: [gate.example.com]}}",
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: my-server, namespace: default}}",
	} {
		o := objectFrom(t, text)
		l.objects = append(l.objects, o)
		l.entries = append(l.entries, apply.Entry{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), Component: "my-server"})
	}
	args := []string{"status", "my-app", "--endpoint"}
	p, code := at(t, l, nil, args...)
	golden(t, "endpoints", p.transcript(args, code))
	p, code = at(t, &lab{shelf: l.shelf}, nil, args...)
	golden(t, "endpoints-none", p.transcript(args, code))
	args = []string{"status", "my-app", "--endpoint", "--tree"}
	p, code = at(t, l, nil, args...)
	golden(t, "status-two-views", p.transcript(args, code))
}
