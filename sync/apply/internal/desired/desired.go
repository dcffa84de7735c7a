// Package desired is what is wanted of one object, and whether the live object has it.
//
// In: rendered objects and live ones. Out: the document to send, a hash that names it, and
// a yes or no. It promises that a live object which differs in nothing that the document
// speaks about counts as equal, whatever the server and others added to it. It changes
// nothing that it is given and knows nothing of clusters.
package desired

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// labelRevisionHash names the Application's revision, like [oam.LabelRevision].
const labelRevisionHash = "app.oam.dev/app-revision-hash"

// Object is a wanted object.
type Object struct {
	// Hash names what is wanted, leaving out which revision of the Application wants it:
	// a new revision must not touch the objects that it did not change, so the label
	// says in which revision an object last changed.
	Hash string
	body map[string]any // shares what is below metadata with the rendered object
}

// serverSet are the fields of the metadata that only the API server sets; manifests that
// were exported from a cluster have them.
var serverSet = []string{"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}

// New takes a rendered object as it is.
func New(o *unstructured.Unstructured) *Object {
	body := maps.Clone(o.Object)
	delete(body, "status")
	metadata := cloned(body["metadata"])
	for _, field := range serverSet {
		delete(metadata, field)
	}
	body["metadata"] = metadata
	if o.GetKind() == "Secret" && o.GetAPIVersion() == "v1" {
		encodeStringData(body)
	}
	rendered := metadata["labels"]
	labels := cloned(rendered)
	for _, label := range []string{oam.LabelRevision, labelRevisionHash, oam.LabelRenderHash} {
		delete(labels, label)
	}
	metadata["labels"] = labels
	hash := Fingerprint(body)
	labels = cloned(rendered)
	labels[oam.LabelRenderHash] = hash
	metadata["labels"] = labels
	return &Object{Hash: hash, body: body}
}

// cloned copies one level; what is not a map becomes an empty one.
func cloned(v any) map[string]any {
	m, _ := v.(map[string]any)
	if m = maps.Clone(m); m == nil {
		m = map[string]any{}
	}
	return m
}

// encodeStringData does what the server does on a write. Server-side apply would remember
// stringData as a field of its own and never remove a key from data.
func encodeStringData(body map[string]any) {
	plain, _ := body["stringData"].(map[string]any)
	if plain == nil {
		return
	}
	data := cloned(body["data"])
	for k, v := range plain {
		text, ok := v.(string)
		if !ok {
			return // the server's error will name it
		}
		data[k] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	body["data"] = data
	delete(body, "stringData")
}

// Body is the document to send.
func (o *Object) Body() ([]byte, error) { return json.Marshal(o.body) }

// BodyIfAbsent is the document to send when the object must not exist yet: the server
// refuses it as a conflict if it does, because no object ever has that version.
func (o *Object) BodyIfAbsent() ([]byte, error) {
	body := maps.Clone(o.body)
	metadata := cloned(body["metadata"])
	metadata["resourceVersion"] = "1"
	body["metadata"] = metadata
	return json.Marshal(body)
}

// IsIn says whether live has everything that is wanted.
func (o *Object) IsIn(live *unstructured.Unstructured) bool {
	return comparisonFor(live).contains("", live.Object, o.withoutRevision())
}

func comparisonFor(live *unstructured.Unstructured) comparison {
	group, _, _ := strings.Cut(live.GetAPIVersion(), "/")
	return comparison{builtin: !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")}
}

// Form is how live has what is wanted: the server writes some values in another form, and
// an equal form later means that nothing changed since.
func (o *Object) Form(live *unstructured.Unstructured) string {
	return Fingerprint(projection(live.Object, o.withoutRevision()))
}

func (o *Object) withoutRevision() map[string]any {
	body := maps.Clone(o.body)
	metadata := cloned(body["metadata"])
	labels := cloned(metadata["labels"])
	delete(labels, oam.LabelRevision)
	delete(labels, labelRevisionHash)
	metadata["labels"] = labels
	body["metadata"] = metadata
	return body
}

// Fingerprint names a document.
func Fingerprint(v any) string {
	raw, err := json.Marshal(v) // map keys are sorted
	if err != nil {
		panic("desired: an object that was decoded does not encode: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}
