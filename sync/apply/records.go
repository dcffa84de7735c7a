package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

var recordResource = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}

// Record is something worth telling about an Application, as a Kubernetes Event.
type Record struct {
	ID      string // the same id is recorded once, whoever records it
	Warning bool
	Reason  string // CamelCase, from the conventions
	Note    string // one sentence without durations, counters or ids
	Commit  string
	Time    time.Time
}

const maxNote = 1024 // bytes; the API server's bound

// Record writes r about an Application; one that is gone has no records.
func (c *Cluster) Record(ctx context.Context, namespace, name string, r Record) error {
	app, found, _ := c.Application(namespace, name)
	if !found {
		return nil
	}
	kind := "Normal"
	if r.Warning {
		kind = "Warning"
	}
	sum := sha256.Sum256([]byte(r.ID))
	record := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "events.k8s.io/v1", "kind": "Event",
		"eventTime": r.Time.UTC().Format(metav1.RFC3339Micro), "type": kind, "reason": r.Reason, "action": "Deliver",
		"note": strings.ToValidUTF8(r.Note[:min(len(r.Note), maxNote)], ""), "reportingController": "tradewind.dev/worker", "reportingInstance": FieldOwner,
		"regarding": map[string]any{
			"apiVersion": oam.APIVersion, "kind": oam.Kind, "namespace": namespace, "name": name,
			"uid": string(app.UID), "resourceVersion": app.ResourceVersion,
		},
	}}
	record.SetNamespace(namespace)
	record.SetName(name[:min(len(name), 200)] + "." + hex.EncodeToString(sum[:8]))
	if r.Commit != "" {
		record.SetAnnotations(map[string]string{"tradewind.dev/commit": r.Commit})
	}
	_, err := c.dynamic.Resource(recordResource).Namespace(namespace).Create(ctx, record, metav1.CreateOptions{FieldManager: FieldOwner})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return classify(ObjectRef{Kind: "Event", Namespace: namespace, Name: record.GetName()}, "writing", err)
	}
	return nil
}
