package desired

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Keeping returns what is wanted with the live value at path, if there is one. The hash
// stays, because what is wanted has not changed. A path is made of names (string) and
// indexes (int).
func (o *Object) Keeping(path []any, live *unstructured.Unstructured) *Object {
	value, ok := at(live.Object, path)
	if !ok {
		return o
	}
	body, _ := with(o.body, path, value).(map[string]any)
	return &Object{Hash: o.Hash, body: body}
}

// Differs says that live has not what is wanted at path; nothing wanted there is no
// difference.
func (o *Object) Differs(path []any, live *unstructured.Unstructured) bool {
	wanted, ok := at(o.body, path)
	if !ok {
		return false
	}
	found, _ := at(live.Object, path)
	field, _ := path[len(path)-1].(string)
	return !comparisonFor(live).contains(field, found, wanted)
}

// Replacing is the document that takes the place of live as a whole. Finalizers and
// owners stay: they are promises of others.
func (o *Object) Replacing(live *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: maps.Clone(o.body)}
	out.Object["metadata"] = cloned(o.body["metadata"])
	out.SetResourceVersion(live.GetResourceVersion())
	out.SetUID(live.GetUID())
	if out.GetFinalizers() == nil {
		out.SetFinalizers(live.GetFinalizers())
	}
	if out.GetOwnerReferences() == nil {
		out.SetOwnerReferences(live.GetOwnerReferences())
	}
	return out
}

func at(value any, path []any) (any, bool) {
	for _, step := range path {
		switch step := step.(type) {
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil, false
			}
			value = list[step]
		case string:
			fields, _ := value.(map[string]any)
			inner, ok := fields[step]
			if !ok {
				return nil, false
			}
			value = inner
		}
	}
	return value, true
}

// with copies what it changes; where the path leads into something else, nothing changes.
func with(value any, path []any, inner any) any {
	if len(path) == 0 {
		return inner
	}
	switch step := path[0].(type) {
	case int:
		list, _ := value.([]any)
		if step < len(list) {
			list = slices.Clone(list)
			list[step] = with(list[step], path[1:], inner)
			return list
		}
	case string:
		fields, ok := value.(map[string]any)
		if ok || value == nil {
			fields = cloned(fields)
			fields[step] = with(fields[step], path[1:], inner)
			return fields
		}
	}
	return value
}
