package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// hashOf identifies what is wanted of an object. The revision label is left out: a new
// revision of the Application must not touch the objects that it did not change, so the
// label says in which revision an object last changed.
func hashOf(o *unstructured.Unstructured) string {
	wanted := maps.Clone(o.Object)
	metadata, _ := wanted["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	labels, _ := metadata["labels"].(map[string]any)
	labels = maps.Clone(labels)
	delete(labels, oam.LabelRevision)
	delete(labels, oam.LabelRenderHash)
	metadata["labels"] = labels
	wanted["metadata"] = metadata
	return fingerprint(wanted)
}

func fingerprint(v any) string {
	raw, err := json.Marshal(v) // map keys are sorted
	if err != nil {
		panic("apply: an object that was decoded does not encode: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// contains says that live has every field of wanted with the same value; what the server
// and others added does not matter.
func contains(live, wanted any) bool {
	switch w := wanted.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok && live != nil {
			return false
		}
		for k, v := range w {
			if !contains(l[k], v) {
				return false
			}
		}
		return true
	case []any:
		l, ok := live.([]any)
		if !ok && live != nil || len(l) < len(w) {
			return false
		}
		return containsAll(l, w)
	case nil:
		return true
	case string:
		return live == wanted || w == "" && live == nil
	default:
		return equalNumbers(live, wanted)
	}
}

// containsAll compares by position when the lists are equally long; otherwise others
// added elements, and each wanted one must be somewhere.
func containsAll(live, wanted []any) bool {
	if len(live) == len(wanted) {
		for i := range wanted {
			if !contains(live[i], wanted[i]) {
				return false
			}
		}
		return true
	}
	for _, w := range wanted {
		found := false
		for _, l := range live {
			found = found || contains(l, w)
		}
		if !found {
			return false
		}
	}
	return true
}

func equalNumbers(a, b any) bool {
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return x == y
		}
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	case int:
		return float64(n), true
	}
	return 0, false
}

// projection is the part of live that wanted speaks about. The server writes some values
// in another form ("1000m" becomes "1"); comparing projections over time tells such a
// form from a change.
func projection(live, wanted any) any {
	w, ok := wanted.(map[string]any)
	if !ok {
		return live
	}
	l, _ := live.(map[string]any)
	out := make(map[string]any, len(w))
	for k, v := range w {
		out[k] = projection(l[k], v)
	}
	return out
}
