package apply_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/deployments"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

func ownDefinition(kind, namespace, template string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": oam.APIVersion, "kind": kind, "metadata": map[string]any{"namespace": namespace, "name": "own"},
		"spec": map[string]any{"schematic": map[string]any{"cue": map[string]any{"template": template}}},
	}}
}

// watchDefinitions returns what OnDefinition says: kind, name and template, or "gone".
func watchDefinitions(t *testing.T, k *kube.Cluster, ns string) <-chan string {
	t.Helper()
	c, err := apply.Connect(apply.Config{Kubeconfig: k.Kubeconfig}, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 100)
	c.OnDefinition(func(before, after *unstructured.Unstructured) {
		o, what := after, "gone"
		if after == nil {
			o = before
		} else {
			what, _, _ = unstructured.NestedString(o.Object, "spec", "schematic", "cue", "template")
		}
		if o.GetNamespace() == ns {
			told <- o.GetKind() + " " + o.GetName() + " " + what
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	if err := c.WaitForSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return told
}

func hear(t *testing.T, told <-chan string, want string) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("not told of %q", want)
	}
}

// TestDefinitions: what is there is known once the watches are in, and every change is
// told.
func TestDefinitions(t *testing.T) {
	t.Parallel()
	f := setup(t)
	put := func(o *unstructured.Unstructured, want apply.Action) {
		t.Helper()
		if got, err := f.ApplyDefinition(t.Context(), o, false); err != nil || got != want {
			t.Fatalf("ApplyDefinition = %s, %v, want %s", got, err, want)
		}
	}
	put(ownDefinition("ComponentDefinition", f.ns, "output: a: 1"), apply.Created)
	told := watchDefinitions(t, f.kube, f.ns)
	select { // before WaitForSync returned
	case got := <-told:
		if got != "ComponentDefinition own output: a: 1" {
			t.Errorf("told %q", got)
		}
	default:
		t.Error("the definition that was there is not known after the first sync")
	}
	put(ownDefinition("ComponentDefinition", f.ns, "output: a: 1"), apply.Unchanged)
	put(ownDefinition("ComponentDefinition", f.ns, "output: a: 2"), apply.Configured)
	hear(t, told, "ComponentDefinition own output: a: 2")
	for _, kind := range []string{"TraitDefinition", "PolicyDefinition", "WorkflowStepDefinition"} {
		put(ownDefinition(kind, f.ns, "x: 1"), apply.Created)
		hear(t, told, kind+" own x: 1")
	}
	if err := f.kube.Delete(t.Context(), kube.Object{Kind: "TraitDefinition.core.oam.dev", Namespace: f.ns, Name: "own"}); err != nil {
		t.Fatal(err)
	}
	hear(t, told, "TraitDefinition own gone")
	list, err := f.ListDefinitions(t.Context(), "PolicyDefinition", f.ns)
	if err != nil || len(list) != 1 || list[0].GetName() != "own" || list[0].GetManagedFields() != nil {
		t.Errorf("listed %v, %v", list, err)
	}
	if list, err := f.ListDefinitions(t.Context(), "NoSuchDefinition", f.ns); err != nil || list != nil {
		t.Errorf("a kind that is not there: %v, %v", list, err)
	}
	stranger := ownDefinition("ComponentDefinition", "nowhere-"+f.ns, "output: {}")
	if _, err := f.ApplyDefinition(t.Context(), stranger, false); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a namespace that is not there: %v", err)
	}
}

// TestDefinitionsLater: without their CRDs Tradewind works, and takes them up when they
// come. It has a cluster of its own, because the kinds go.
func TestDefinitionsLater(t *testing.T) {
	t.Parallel()
	server(t)
	k, err := kube.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Stop(context.WithoutCancel(t.Context())) })
	crds := []string{"componentdefinitions", "definitionrevisions"}
	for _, plural := range crds {
		crd := kube.Object{Kind: "CustomResourceDefinition.apiextensions.k8s.io", Name: plural + ".core.oam.dev"}
		if err := k.Delete(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
		if err := k.Await(t.Context(), crd, kube.Want{Gone: true}); err != nil {
			t.Fatal(err)
		}
	}
	ns, err := k.NewNamespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := watchDefinitions(t, k, ns)
	for _, plural := range crds {
		manifest, err := fs.ReadFile(deployments.Files(), "crds/core.oam.dev_"+plural+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Apply(t.Context(), manifest, ""); err != nil {
			t.Fatal(err)
		}
	}
	c, err := apply.Connect(apply.Config{Kubeconfig: k.Kubeconfig}, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second) // until the server serves the kind
	for {
		_, err = c.ApplyDefinition(t.Context(), ownDefinition("ComponentDefinition", ns, "output: a: 3"), false)
		if err == nil || time.Now().After(deadline) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	hear(t, told, "ComponentDefinition own output: a: 3")
}

// TestSaveDefinitions: each form is recorded once, however many workers saw it, and the
// oldest go unless somebody uses them.
func TestSaveDefinitions(t *testing.T) {
	t.Parallel()
	f := setup(t)
	record := func(template string, workers int) {
		t.Helper()
		if _, err := f.ApplyDefinition(t.Context(), ownDefinition("TraitDefinition", f.ns, template), false); err != nil {
			t.Fatal(err)
		}
		all, err := f.ListDefinitions(t.Context(), "TraitDefinition", f.ns)
		if err != nil || len(all) != 1 {
			t.Fatalf("%d definitions, %v", len(all), err)
		}
		errs := make(chan error, workers)
		for range workers {
			go func() {
				errs <- f.SaveDefinitions(t.Context(), f.ns, []*unstructured.Unstructured{&all[0]}, func(revision string) bool { return revision == "own-v2" })
			}()
		}
		for range workers {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	names := func() string {
		t.Helper()
		all, err := f.ListDefinitions(t.Context(), "DefinitionRevision", f.ns)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, o := range all {
			template, _, _ := unstructured.NestedString(o.Object, "spec", "traitDefinition", "spec", "schematic", "cue", "template")
			out = append(out, o.GetName()+"="+template)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	record("a: 1", 4)
	record("a: 1", 2)
	record("a: 2", 4)
	record("a: 1", 1) // an earlier form again is a form of its own
	if got, want := names(), "own-v1=a: 1 own-v2=a: 2 own-v3=a: 1"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
	for n := 4; n <= 24; n++ {
		record(fmt.Sprintf("a: %d", n), 1)
	}
	got := names()
	if n := strings.Count(got, "="); n != 21 || !strings.Contains(got, "own-v2=") || strings.Contains(got, "own-v3=") || !strings.Contains(got, "own-v5=a: 5") {
		t.Errorf("%d are kept: %s", n, got)
	}
}
