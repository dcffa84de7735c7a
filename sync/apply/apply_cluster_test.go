package apply_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/sync/apply"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, creationTimestamp: null}
    spec:
      hostNetwork: false
      containers:
        - name: web
          image: docker.io/library/nginx:1.29
          ports: [{containerPort: 80}]
          resources: {requests: {cpu: 1000m, memory: 0.5Gi}}
          env: [{name: A, value: "1"}]
status: {}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData: {password: hunter2}
`

func TestApplyCountsRequests(t *testing.T) {
	t.Parallel()
	f := setup(t)
	items := f.items(t, "site", web)
	f.asked.take()
	step := func(name, wantReceipt string, wantRequests ...string) {
		t.Helper()
		if diff := cmp.Diff(wantReceipt, f.apply(t, "site", items)); diff != "" {
			t.Errorf("%s: receipt (-want +got):\n%s", name, diff)
		}
		got := f.asked.take()
		slices.Sort(got)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], f.ns, "$NS")
		}
		if diff := cmp.Diff(wantRequests, got); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", name, diff)
		}
	}
	const deployment = "PATCH /apis/apps/v1/namespaces/$NS/deployments/web"
	step("first", "Secret $NS/web created\nService $NS/web created\nDeployment $NS/web created\n",
		"PATCH /api/v1/namespaces/$NS/secrets/web", "PATCH /api/v1/namespaces/$NS/services/web", deployment,
		"POST /apis/core.oam.dev/v1beta1/resourcetrackers")
	step("again", "Secret $NS/web unchanged\nService $NS/web unchanged\nDeployment $NS/web unchanged\n")
	if !f.Holds(t.Context(), f.owner("site"), items) {
		t.Error("what was applied and is unchanged does not hold")
	}

	items = f.items(t, "site", strings.Replace(web, "nginx:1.29", "nginx:1.30", 1))
	if f.Holds(t.Context(), f.owner("site"), items) {
		t.Error("another image than the live one holds")
	}
	step("one changed", "Secret $NS/web unchanged\nService $NS/web unchanged\nDeployment $NS/web configured\n", deployment)
	step("and again", "Secret $NS/web unchanged\nService $NS/web unchanged\nDeployment $NS/web unchanged\n")

	generation := f.value(t, "Deployment", "web", "metadata.generation")
	for _, item := range items {
		labels := item.Object.GetLabels()
		labels["app.oam.dev/appRevision"] = "site-v2"
		item.Object.SetLabels(labels)
	}
	step("another revision", "Secret $NS/web unchanged\nService $NS/web unchanged\nDeployment $NS/web unchanged\n")
	if got := f.value(t, "Deployment", "web", "metadata.generation"); got != generation {
		t.Errorf("generation moved from %s to %s", generation, got)
	}
	if got := f.value(t, "Secret", "web", "data.password"); got != "aHVudGVyMg==" {
		t.Errorf("password is %q", got)
	}

	f = connect(t, f.kube, f.ns)
	items = f.items(t, "site", strings.Replace(web, "nginx:1.29", "nginx:1.30", 1))
	f.asked.take()
	step("after a restart", "Secret $NS/web unchanged\nService $NS/web unchanged\nDeployment $NS/web unchanged\n", deployment)
	step("which is remembered", "Secret $NS/web unchanged\nService $NS/web unchanged\nDeployment $NS/web unchanged\n")
}

func TestDriftIsTakenBack(t *testing.T) {
	t.Parallel()
	f := setup(t)
	items := f.items(t, "site", web)
	f.apply(t, "site", items)
	object := kube.Object{Kind: "Deployment", Namespace: f.ns, Name: "web"}
	ref := apply.ObjectRef{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: f.ns, Name: "web"}

	if err := f.kube.Patch(t.Context(), object, `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"docker.io/library/httpd:2.4"}]}}}}`); err != nil {
		t.Fatal(err)
	}
	const image = "spec.template.spec.containers[name=web].image"
	f.awaitLive(t, "site", ref, image, "docker.io/library/httpd:2.4")
	if f.Holds(t.Context(), f.owner("site"), items) {
		t.Error("what somebody has changed holds")
	}
	if got := f.apply(t, "site", items); !strings.Contains(got, "Deployment $NS/web configured") {
		t.Errorf("receipt:\n%s", got)
	}
	if got := f.value(t, "Deployment", "web", image); got != "docker.io/library/nginx:1.29" {
		t.Errorf("image is %s", got)
	}

	if err := f.kube.Patch(t.Context(), object, `{"spec":{"paused":true},"metadata":{"annotations":{"note":"mine"}}}`); err != nil {
		t.Fatal(err)
	}
	f.awaitLive(t, "site", ref, "spec.paused", "true")
	f.asked.take()
	f.apply(t, "site", items)
	if got := f.asked.take(); len(got) > 0 {
		t.Errorf("fields that Git says nothing about caused %v", got)
	}

	if err := f.kube.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	f.await(t, "site: Deployment $NS/web deleted")
	if got := f.apply(t, "site", items); !strings.Contains(got, "Deployment $NS/web created") {
		t.Errorf("receipt:\n%s", got)
	}
}

const config = `
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {a: "1"}
`

func TestOwnership(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if _, err := f.kube.Apply(t.Context(), []byte(config), f.ns); err != nil {
		t.Fatal(err)
	}
	items := f.items(t, "site", strings.Replace(config, "data: {a", "data: {b", 1))
	want := "ConfigMap $NS/config failed: ConfigMap $NS/config exists but not managed by any application now\n"
	if diff := cmp.Diff(want, f.apply(t, "site", items)); diff != "" {
		t.Error(diff)
	}
	if got := f.value(t, "ConfigMap", "config", "data"); got != `{"a":"1"}` {
		t.Errorf("data is %s", got)
	}

	changes, err := f.Apply(t.Context(), f.inventory(t, "site"), items, apply.ApplyOptions{Adopt: true})
	if diff := cmp.Diff("ConfigMap $NS/config configured\n", receipt(f.ns, changes, err)); diff != "" {
		t.Errorf("adopting: %s", diff)
	}

	f.application(t, "site")
	want = "ConfigMap $NS/config failed: ConfigMap $NS/config is managed by other application $NS/site\n"
	other := f.items(t, "other", config)
	if diff := cmp.Diff(want, f.apply(t, "other", other)); diff != "" {
		t.Error(diff)
	}
	if e, ok := errors.AsType[*apply.Error](f.applyErr(t, "other", other)); !ok || e.Reason != apply.ReasonConflictingOwner || e.Retryable || e.Ref.Name != "config" {
		t.Errorf("error is %+v", e)
	}
}

func TestMovesToAnotherApplication(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.application(t, "a")
	f.application(t, "b")
	kept := f.items(t, "a", strings.Replace(config, "name: config", "name: kept", 1))
	f.apply(t, "a", append(f.items(t, "a", config), kept...))
	uid := f.value(t, "ConfigMap", "config", "metadata.uid")
	moved := f.items(t, "b", config)
	if got := f.apply(t, "b", moved); !strings.Contains(got, "failed") {
		t.Errorf("taken while the other still wants it: %s", got)
	}
	changes, err := f.Prune(t.Context(), f.inventory(t, "a"), kept, apply.PruneOptions{})
	if diff := cmp.Diff("ConfigMap $NS/config skipped\n", receipt(f.ns, changes, err)); diff != "" {
		t.Error(diff)
	}
	f.await(t, "b: ConfigMap $NS/config")
	if diff := cmp.Diff("ConfigMap $NS/config configured\n", f.apply(t, "b", moved)); diff != "" {
		t.Error(diff)
	}
	if got := f.value(t, "ConfigMap", "config", "metadata.uid"); got != uid {
		t.Errorf("it was created anew")
	}
	if n := len(f.inventory(t, "a").Entries); n != 1 {
		t.Errorf("the first still lists %d objects", n)
	}
}

func TestFieldsOfOthers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	scaled := func(annotations string) []apply.Item {
		return f.items(t, "site", strings.Replace(web[:strings.Index(web, "\n---")], "metadata: {name: web}", "metadata: {name: web, annotations: {"+annotations+"}}", 1))
	}
	f.apply(t, "site", scaled(""))
	object := kube.Object{Kind: "Deployment", Namespace: f.ns, Name: "web"}
	controller := func(replicas int) {
		t.Helper()
		f.patchAs(t, "hpa-controller", object, fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
		ref := apply.ObjectRef{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: f.ns, Name: "web"}
		f.awaitLive(t, "site", ref, "spec.replicas", fmt.Sprint(replicas))
	}
	controller(3)
	want := "Deployment $NS/web failed: applying Deployment $NS/web: field .spec.replicas is owned by \"hpa-controller\"\n"
	if diff := cmp.Diff(want, f.apply(t, "site", scaled(""))); diff != "" {
		t.Error(diff)
	}

	merged := scaled("tradewind.dev/apply: merge")
	if diff := cmp.Diff("Deployment $NS/web configured\n", f.apply(t, "site", merged)); diff != "" {
		t.Error(diff)
	}
	controller(4)
	f.asked.take()
	if diff := cmp.Diff("Deployment $NS/web unchanged\n", f.apply(t, "site", merged)); diff != "" {
		t.Error(diff)
	}
	if got := f.asked.take(); len(got) > 0 {
		t.Errorf("a field left to its owner caused %v", got)
	}
	if got := f.value(t, "Deployment", "web", "spec.replicas"); got != "4" {
		t.Errorf("replicas are %s", got)
	}

	if diff := cmp.Diff("Deployment $NS/web configured\n", f.apply(t, "site", scaled("tradewind.dev/force: enabled"))); diff != "" {
		t.Error(diff)
	}
	if got := f.value(t, "Deployment", "web", "spec.replicas"); got != "1" {
		t.Errorf("replicas are %s after forcing", got)
	}
}

func TestAnnotationsOfSingleObjects(t *testing.T) {
	t.Parallel()
	for name, annotation := range map[string]string{
		"if-absent": "tradewind.dev/apply: if-absent", "flux-ifnotpresent": "kustomize.toolkit.fluxcd.io/ssa: IfNotPresent",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			once := func(v string) []apply.Item {
				return f.items(t, "site", strings.NewReplacer("{name: config}", "{name: config, annotations: {"+annotation+"}}", `"1"`, v).Replace(config))
			}
			got := f.apply(t, "site", once("one")) + f.apply(t, "site", once("two"))
			if diff := cmp.Diff("ConfigMap $NS/config created\nConfigMap $NS/config skipped\n", got); diff != "" {
				t.Error(diff)
			}
			if got := f.value(t, "ConfigMap", "config", "data.a"); got != "one" {
				t.Errorf("value is %q", got)
			}
		})
	}
	for name, annotation := range map[string]string{
		"ignore": "tradewind.dev/apply: ignore", "disabled": "tradewind.dev/reconcile: disabled", "flux-disabled": "kustomize.toolkit.fluxcd.io/reconcile: disabled",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			items := f.items(t, "site", strings.Replace(config, "{name: config}", "{name: config, annotations: {"+annotation+"}}", 1))
			if diff := cmp.Diff("ConfigMap $NS/config skipped\n", f.apply(t, "site", items)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImmutableFields(t *testing.T) {
	t.Parallel()
	f := setup(t)
	job := func(image, annotations string) []apply.Item {
		return f.items(t, "site", `
apiVersion: batch/v1
kind: Job
metadata: {name: job, annotations: {`+annotations+`}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: `+image+`}]}}}
`)
	}
	f.apply(t, "site", job("one", ""))
	uid := f.value(t, "Job", "job", "metadata.uid")
	got := f.apply(t, "site", job("two", ""))
	if !strings.HasPrefix(got, "Job $NS/job failed: applying Job $NS/job: spec.template: Invalid value: ") || !strings.Contains(got, "field is immutable") {
		t.Errorf("receipt: %s", got)
	}
	if len(got) > 200 {
		t.Errorf("the error repeats the template: %s", got)
	}
	if e, ok := errors.AsType[*apply.Error](f.applyErr(t, "site", job("two", ""))); !ok || e.Field != "spec.template" || e.Retryable || !strings.Contains(e.Hint(), "tradewind.dev/force: enabled") {
		t.Errorf("error is %+v", e)
	}
	got = f.apply(t, "site", job("two", "tradewind.dev/force: enabled"))
	for range 50 { // until the old one is gone, it says so
		if got == "Job $NS/job created\n" {
			break
		}
		got = f.apply(t, "site", job("two", "tradewind.dev/force: enabled"))
	}
	if got != "Job $NS/job created\n" || f.value(t, "Job", "job", "metadata.uid") == uid {
		t.Errorf("receipt: %s", got)
	}
}

func TestErrorsNameObjectAndField(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for name, test := range map[string]struct{ manifest, want string }{
		"unknown field": {
			strings.Replace(web[:strings.Index(web, "\n---")], "image:", "imaje:", 1),
			"Deployment $NS/web failed: applying Deployment $NS/web: .spec.template.spec.containers[name=\"web\"].imaje: there is no such field\n",
		},
		"invalid value": {
			strings.Replace(web[:strings.Index(web, "\n---")], "matchLabels: {app: web}", "matchLabels: {app: other}", 1),
			"Deployment $NS/web failed: applying Deployment $NS/web: spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`\n",
		},
		"secret of the wrong type": {
			"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: {hunter2: hunter2}",
			"Secret $NS/s failed: applying Secret $NS/s: field .type is not valid (its value is not shown)\n",
		},
		"secret that is not base64": {
			"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {password: hunter2!}",
			"Secret $NS/s failed: applying Secret $NS/s: the server answered 500 Internal Server Error (its message is not shown, it may quote the Secret)\n",
		},
		"no such kind": {
			"apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: thing}",
			"Nothing $NS/thing failed: applying Nothing $NS/thing: the cluster has no kind Nothing in example.com/v1\n",
		},
		"no such namespace": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: nowhere}",
			"ConfigMap nowhere/c failed: applying ConfigMap nowhere/c: namespace nowhere does not exist\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			good := f.items(t, "site", strings.Replace(config, "name: config", "name: c-"+strings.ReplaceAll(name, " ", "-"), 1))
			bad := f.items(t, "site", test.manifest)
			got := f.apply(t, "site", append(bad, good...))
			if !strings.Contains(got, "c-"+strings.ReplaceAll(name, " ", "-")+" created\n") {
				t.Errorf("the other object was not created:\n%s", got)
			}
			if _, rest, _ := strings.Cut(got, "created\n"); rest != test.want {
				if first, _, _ := strings.Cut(got, "ConfigMap $NS/c-"); first != test.want {
					t.Errorf("receipt:\n%s\nwant:\n%s", got, test.want)
				}
			}
			if e, ok := errors.AsType[*apply.Error](f.applyErr(t, "site", bad)); !ok || e.Retryable {
				t.Errorf("error is %+v", e)
			}
		})
	}
}

func TestAllowDecidesByKindAndPlace(t *testing.T) {
	t.Parallel()
	f := setup(t)
	items := f.items(t, "site", config+"\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: of-$NS, namespace: $NS}")
	allow := func(ref apply.ObjectRef) error {
		if ref.Namespace != f.ns {
			return errors.New("outside of its namespace")
		}
		return nil
	}
	changes, err := f.Apply(t.Context(), f.inventory(t, "site"), items, apply.ApplyOptions{Allow: allow})
	// Namespaces come first, and nothing is built on one that failed.
	want := "Namespace $NS/of-$NS failed: applying Namespace of-$NS: outside of its namespace\nConfigMap $NS/config skipped\n"
	if diff := cmp.Diff(want, receipt(f.ns, changes, err)); diff != "" {
		t.Error(diff)
	}
	if got := f.entries(t, "site"); got != "config" {
		t.Errorf("the inventory claims %q", got)
	}
}

func TestDriftIsInTheReceipt(t *testing.T) {
	t.Parallel()
	f := setup(t)
	items := f.items(t, "site", config)
	if changes, err := f.Apply(t.Context(), f.inventory(t, "site"), items, apply.ApplyOptions{}); err != nil || changes[0].Drift {
		t.Errorf("creating: %+v %v", changes, err)
	}
	if err := f.kube.Patch(t.Context(), kube.Object{Kind: "ConfigMap", Namespace: f.ns, Name: "config"}, `{"data":{"a":"2"}}`); err != nil {
		t.Fatal(err)
	}
	f.awaitLive(t, "site", apply.RefOf(items[0].Object), "data.a", "2")
	changes, err := f.Apply(t.Context(), f.inventory(t, "site"), items, apply.ApplyOptions{})
	if err != nil || !changes[0].Drift || changes[0].Action != apply.Configured {
		t.Errorf("taking it back: %+v %v", changes, err)
	}
}

func TestObjectThatIsTooLarge(t *testing.T) {
	t.Parallel()
	f := setup(t)
	items := f.items(t, "site", strings.Replace(config, `"1"`, `"`+strings.Repeat("x", 1<<20)+`"`, 1))
	want := "ConfigMap $NS/config failed: applying ConfigMap $NS/config: it takes 1024 KiB, at most 1024 KiB\n"
	if diff := cmp.Diff(want, f.apply(t, "site", items)); diff != "" {
		t.Error(diff)
	}
}
