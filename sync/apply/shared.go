package apply

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// annotationShared lists the Applications that share an object, "ns1/app1,ns2/app2", as
// in KubeVela. The first of them writes it; the last that leaves deletes it.
const annotationShared = "app.oam.dev/shared-by"

func sharersOf(o *unstructured.Unstructured) []string {
	var out []string
	for name := range strings.SplitSeq(o.GetAnnotations()[annotationShared], ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// sends says whose turn it is to write a shared object that is there.
func (t *task) sends() bool {
	sharers := sharersOf(t.live)
	return len(sharers) == 0 || sharers[0] == t.owner.String()
}

// join names the Application among those that share the object. The annotation is no part
// of what we apply: each sharer would take the others' names off.
func (c *Cluster) join(ctx context.Context, client dynamic.ResourceInterface, t *task) error {
	if !t.joins() {
		return nil
	}
	sharers := append(sharersOf(t.live), t.owner.String())
	live, err := setSharers(ctx, client, t.live, sharers)
	if err != nil {
		return classify(t.ref, "joining those that share", err)
	}
	t.live = strip(live)
	return nil
}

// setSharers writes the list as it was read, so that two who change it at once do not
// lose one another.
func setSharers(ctx context.Context, client dynamic.ResourceInterface, live *unstructured.Unstructured, sharers []string) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": live.GetResourceVersion(),
		"annotations":     map[string]any{annotationShared: strings.Join(sharers, ",")},
	}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return client.Patch(ctx, live.GetName(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: FieldOwner})
}

// sharersWithout is the list of those that go on sharing an object when owner leaves; ok says
// that owner is one of them.
func sharersWithout(live *unstructured.Unstructured, owner Owner) (left []string, ok bool) {
	sharers := sharersOf(live)
	left = slices.DeleteFunc(slices.Clone(sharers), func(name string) bool { return name == owner.String() })
	return left, len(left) < len(sharers)
}

// sharer is the Application that a name in the list means.
func sharer(name string) Owner {
	namespace, app, _ := strings.Cut(name, "/")
	return Owner{Namespace: namespace, Name: app}
}
