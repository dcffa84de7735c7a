package apply_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

// definition is a CustomResourceDefinition; GROUP keeps parallel tests apart.
const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.GROUP}
spec:
  group: GROUP
  scope: SCOPE
  names: {kind: Boat, listKind: BoatList, plural: boats, singular: boat}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {sails: {type: integer}, crew: {type: array, items: {type: string}}}}}}}
`

const boat = `
apiVersion: GROUP/v1
kind: Boat
metadata: {name: dinghy}
spec: {sails: 1, crew: [ada]}
`

func in(group, scope, manifest string) string {
	return strings.NewReplacer("GROUP", group, "SCOPE", scope).Replace(manifest)
}

func TestKindAndItsObjectsAtOnce(t *testing.T) {
	t.Parallel()
	for _, scope := range []string{"Namespaced", "Cluster"} {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			group := strings.ToLower(scope) + "." + f.ns + ".example.com"
			manifest := in(group, scope, boat+"\n---\n"+definition)
			items := f.items(t, "fleet", manifest)
			place := map[string]string{"Namespaced": "$NS/"}[scope]
			group = strings.Replace(group, f.ns, "$NS", 1)
			want := "CustomResourceDefinition boats." + group + " created\nBoat $NS/dinghy created\n"
			if diff := cmp.Diff(want, f.apply(t, "fleet", items)); diff != "" {
				t.Error(diff)
			}
			// Now that the kind is known it is known where its objects are.
			items = f.items(t, "fleet", manifest)
			want = "CustomResourceDefinition boats." + group + " unchanged\nBoat " + place + "dinghy unchanged\n"
			if diff := cmp.Diff(want, f.apply(t, "fleet", items)); diff != "" {
				t.Error(diff)
			}
			f.asked.take()
			if got := f.prune(t, "fleet", items, pruneAll); got != "" {
				t.Errorf("one object under two names was pruned: %s", got)
			}
			if got := f.asked.take(); len(got) > 0 {
				t.Errorf("which cost %v", got)
			}
			if err := f.kube.Patch(t.Context(), kube.Object{Kind: "Boat." + strings.Replace(group, "$NS", f.ns, 1), Namespace: f.ns, Name: "dinghy"}, `{"spec":{"crew":["ada","eve"]}}`); err != nil {
				t.Fatal(err)
			}
			f.await(t, "fleet: Boat "+place+"dinghy")
			if got := f.apply(t, "fleet", items); !strings.HasSuffix(got, "dinghy configured\n") {
				t.Errorf("an element added to a list of a custom kind stays: %s", got)
			}
		})
	}
}

func TestMissingKindWakesItsOwner(t *testing.T) {
	t.Parallel()
	f := setup(t)
	group := f.ns + ".example.com"
	items := f.items(t, "fleet", in(group, "Namespaced", boat))
	want := "Boat $NS/dinghy failed: applying Boat $NS/dinghy: the cluster has no kind Boat in $NS.example.com/v1\n"
	if diff := cmp.Diff(want, f.apply(t, "fleet", items)); diff != "" {
		t.Error(diff)
	}
	if _, err := f.kube.Apply(t.Context(), []byte(in(group, "Namespaced", definition)), ""); err != nil {
		t.Fatal(err)
	}
	f.await(t, "fleet: Boat")
	deadline := time.Now().Add(10 * time.Second)
	got := f.apply(t, "fleet", items)
	for got != "Boat $NS/dinghy created\n" && time.Now().Before(deadline) { // established a moment later
		got = f.apply(t, "fleet", items)
	}
	if diff := cmp.Diff("Boat $NS/dinghy created\n", got); diff != "" {
		t.Error(diff)
	}

	// The kind goes, and comes back with nothing of what there was.
	crd := kube.Object{Kind: "CustomResourceDefinition", Name: "boats." + group}
	if err := f.kube.Delete(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	if err := f.kube.Await(t.Context(), crd, kube.Want{Gone: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.kube.Apply(t.Context(), []byte(in(group, "Namespaced", definition)), ""); err != nil {
		t.Fatal(err)
	}
	if err := f.kube.Await(t.Context(), crd, kube.Want{Path: "status.conditions[type=Established].status", Match: kube.Exactly("True")}); err != nil {
		t.Fatal(err)
	}
	deadline = time.Now().Add(20 * time.Second)
	for got = f.apply(t, "fleet", items); got != "Boat $NS/dinghy created\n" && time.Now().Before(deadline); got = f.apply(t, "fleet", items) {
		time.Sleep(20 * time.Millisecond)
	}
	if diff := cmp.Diff("Boat $NS/dinghy created\n", got); diff != "" {
		t.Error(diff)
	}
}
