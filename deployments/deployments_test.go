package deployments_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/deployments"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const (
	base         = "kustomize/base"
	singleTenant = "kustomize/overlays/single-tenant"
)

// build renders a kustomization out of the embedded files, so that it is proven to need
// nothing else.
func build(t *testing.T, dir string) (manifest []byte, objects map[string]*unstructured.Unstructured) {
	t.Helper()
	memory := filesys.MakeFsInMemory()
	err := fs.WalkDir(deployments.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(deployments.Files(), name)
		if err != nil {
			return err
		}
		return memory.WriteFile("/"+name, data)
	})
	if err != nil {
		t.Fatal(err)
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, "/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err = resources.AsYaml(); err != nil {
		t.Fatal(err)
	}
	objects = map[string]*unstructured.Unstructured{}
	for _, o := range decode(t, manifest) {
		objects[o.GetKind()+" "+o.GetName()] = o
	}
	return manifest, objects
}

func decode(t *testing.T, stream []byte) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			t.Fatal(err)
		}
		if string(data) == "null" {
			continue
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(data); err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
}

func at[T any](t *testing.T, o *unstructured.Unstructured, path string) T {
	t.Helper()
	v, ok, err := unstructured.NestedFieldNoCopy(o.Object, strings.Split(path, ".")...)
	value, is := v.(T)
	if err != nil || !ok || !is {
		t.Fatalf("%s %s: %s is %#v (%v)", o.GetKind(), o.GetName(), path, v, err)
	}
	return value
}

func TestBaseHoldsWhatItShould(t *testing.T) {
	t.Parallel()
	_, objects := build(t, base)
	var got []string
	for name, o := range objects {
		name, _, _ := strings.Cut(name, "tradewind-config-") // the rest is a hash
		got = append(got, name)
		if o.GetKind() == "CustomResourceDefinition" {
			continue
		}
		labels := o.GetLabels()
		if labels["app.kubernetes.io/name"] != "tradewind" || labels["app.kubernetes.io/instance"] != "tradewind" || labels["app.kubernetes.io/part-of"] != "tradewind" {
			t.Errorf("%s has labels %v", name, labels)
		}
		if ns := o.GetNamespace(); ns != "" && ns != "tradewind-system" {
			t.Errorf("%s is in %s", name, ns)
		}
	}
	slices.Sort(got)
	want := []string{
		"ClusterRole tradewind", "ClusterRole tradewind-applier", "ClusterRole tradewind-impersonator", "ClusterRole tradewind-source-reader", "ClusterRole tradewind-workflow-context",
		"ClusterRoleBinding tradewind", "ClusterRoleBinding tradewind-applier", "ConfigMap ",
		"CustomResourceDefinition applicationrevisions.core.oam.dev", "CustomResourceDefinition applications.core.oam.dev",
		"CustomResourceDefinition componentdefinitions.core.oam.dev", "CustomResourceDefinition definitionrevisions.core.oam.dev",
		"CustomResourceDefinition policies.core.oam.dev", "CustomResourceDefinition policydefinitions.core.oam.dev", "CustomResourceDefinition resourcetrackers.core.oam.dev",
		"CustomResourceDefinition traitdefinitions.core.oam.dev", "CustomResourceDefinition workflows.core.oam.dev", "CustomResourceDefinition workflowstepdefinitions.core.oam.dev",
		"Deployment tradewind", "Namespace tradewind-system",
		"PersistentVolumeClaim tradewind-queue", "Service tradewind", "ServiceAccount tradewind",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(decode(t, deployments.CRDs())); n != 10 {
		t.Errorf("CRDs holds %d documents", n)
	}
}

// drain is what comes before and after the work in hand when the process is asked to
// stop: readiness off (3 s), deliveries in flight (10 s), closing the queue (5 s).
const drain = 18 * time.Second

func TestGraceIsLongerThanTheDrain(t *testing.T) {
	t.Parallel()
	_, objects := build(t, base)
	var config struct {
		Worker struct{ Grace string }
	}
	for name, o := range objects {
		if strings.HasPrefix(name, "ConfigMap tradewind-config-") {
			file, _ := at[map[string]any](t, o, "data")["config.yaml"].(string)
			if err := yaml.Unmarshal([]byte(file), &config); err != nil {
				t.Fatal(err)
			}
		}
	}
	grace, err := time.ParseDuration(config.Worker.Grace)
	if err != nil {
		t.Fatalf("worker.grace: %v", err)
	}
	pod := at[int64](t, objects["Deployment tradewind"], "spec.template.spec.terminationGracePeriodSeconds")
	if time.Duration(pod)*time.Second < grace+drain {
		t.Errorf("the pod is killed after %ds, stopping may take %s + %s", pod, grace, drain)
	}
}

func TestPodIsRestricted(t *testing.T) {
	t.Parallel()
	_, objects := build(t, base)
	deployment := objects["Deployment tradewind"]
	pod := at[map[string]any](t, deployment, "spec.template.spec.securityContext")
	if pod["runAsNonRoot"] != true {
		t.Errorf("securityContext of the pod is %v", pod)
	}
	containers := at[[]any](t, deployment, "spec.template.spec.containers")
	if len(containers) != 1 {
		t.Fatalf("%d containers", len(containers))
	}
	c := &unstructured.Unstructured{Object: containers[0].(map[string]any)}
	if !at[bool](t, c, "securityContext.readOnlyRootFilesystem") || at[bool](t, c, "securityContext.allowPrivilegeEscalation") {
		t.Error("securityContext of the container is not restricted")
	}
	image := at[string](t, c, "image")
	if name, tag, ok := strings.Cut(image, ":"); !ok || name != "ghcr.io/tradewind-dev/tradewind" || tag == "latest" {
		t.Errorf("image is %s", image)
	}
	ports := map[string]any{}
	for _, p := range at[[]any](t, c, "ports") {
		port := p.(map[string]any)
		ports[port["name"].(string)] = port["containerPort"]
	}
	if diff := cmp.Diff(map[string]any{"http-hooks": int64(9292), "http-metrics": int64(9090)}, ports); diff != "" {
		t.Error(diff)
	}
	for probe, path := range map[string]string{"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
		if got := at[string](t, c, probe+".httpGet.path") + at[string](t, c, probe+".httpGet.port"); got != path+"http-metrics" {
			t.Errorf("%s asks %s", probe, got)
		}
	}
}

// TestBaseGrantsNothingButItsOwnKinds is the bound on what a compromised worker may do.
func TestBaseGrantsNothingButItsOwnKinds(t *testing.T) {
	t.Parallel()
	_, objects := build(t, base)
	bound := map[string]bool{}
	for _, o := range objects {
		if o.GetKind() == "ClusterRoleBinding" {
			bound[at[string](t, o, "roleRef.name")] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{"tradewind": true, "tradewind-applier": true}, bound); diff != "" {
		t.Error(diff)
	}
	if rules := at[[]any](t, objects["ClusterRole tradewind-applier"], "rules"); len(rules) > 0 {
		t.Errorf("tradewind-applier ships with %v", rules)
	}
	for _, r := range at[[]any](t, objects["ClusterRole tradewind"], "rules") {
		rule := &unstructured.Unstructured{Object: r.(map[string]any)}
		var words []string
		for _, field := range []string{"apiGroups", "resources", "verbs"} {
			values, _, err := unstructured.NestedStringSlice(rule.Object, field)
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, values...)
		}
		for _, word := range words {
			if slices.Contains([]string{"*", "secrets", "impersonate", "escalate", "bind", "pods", ""}, word) {
				t.Errorf("rule %v holds %q", r, word)
			}
		}
	}
	for _, name := range []string{"tradewind", "tradewind-applier"} {
		subjects := at[[]any](t, objects["ClusterRoleBinding "+name], "subjects")
		want := []any{map[string]any{"kind": "ServiceAccount", "name": "tradewind", "namespace": "tradewind-system"}}
		if diff := cmp.Diff(want, subjects); diff != "" {
			t.Error(diff)
		}
	}
	_, single := build(t, singleTenant)
	if at[string](t, single["ClusterRoleBinding tradewind-single-tenant"], "roleRef.name") != "cluster-admin" {
		t.Error("the overlay single-tenant does not do what its name says")
	}
}

// TestClusterTakesEverything applies with strict validation, for which there is no
// substitute.
func TestClusterTakesEverything(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs the real cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cluster, err := kube.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatalf("starting the cluster: %v\nrun: make cluster", err)
	}
	defer func() {
		if err := cluster.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	manifest, _ := build(t, singleTenant)
	applied, err := cluster.Apply(ctx, manifest, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range applied {
		if o.Kind == "CustomResourceDefinition.apiextensions.k8s.io" {
			if err := cluster.Await(ctx, o, kube.Want{Path: "status.conditions[type=NonStructuralSchema].status", Match: kube.Exactly("")}); err != nil {
				t.Error(err)
			}
		}
	}
	// The Secret is the administrator's to make; then the pod comes up in a namespace that
	// enforces the restricted standard.
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: tradewind-receiver, namespace: tradewind-system}\nstringData: {secret: 0123456789abcdef}"
	if _, err := cluster.Apply(ctx, []byte(secret), ""); err != nil {
		t.Fatal(err)
	}
	ready := kube.Want{Path: "status.readyReplicas", Match: kube.Exactly("1")}
	if err := cluster.Await(ctx, kube.Object{Kind: "Deployment", Namespace: "tradewind-system", Name: "tradewind"}, ready); err != nil {
		t.Error(err)
	}
	example, err := os.ReadFile("testdata/application.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Apply(ctx, example, "default"); err != nil {
		t.Errorf("an Application with everything in it: %v", err)
	}
	for _, wrong := range []string{"spec: {components: [{name: a}]}", "spec: {}", "spec: {components: [], unknown: 1}"} {
		if _, err := cluster.Apply(ctx, []byte("apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata: {name: wrong}\n"+wrong), "default"); err == nil {
			t.Errorf("the API server takes %s", wrong)
		}
	}
}
