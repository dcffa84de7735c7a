package render

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"cuelang.org/go/cue"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// tags are the "+key=value" doc comments of a field that steer how it is patched.
type tags map[string]string

func tagsOf(v cue.Value) tags {
	t := tags{}
	for _, group := range v.Doc() {
		for line := range strings.SplitSeq(group.Text(), "\n") {
			key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if ok && strings.HasPrefix(key, "+") && !strings.ContainsAny(value, " \t") {
				t[key[1:]] = value
			}
		}
	}
	return t
}

// applyPatch merges a trait's patch into a workload: fields are added, equal values
// agree, different ones are a conflict, unless a tag says otherwise.
func applyPatch(base map[string]any, patch cue.Value) (map[string]any, error) {
	switch tagsOf(patch)["patchStrategy"] {
	case "jsonMergePatch":
		return viaJSON(base, patch, jsonpatch.MergePatch)
	case "jsonPatch":
		return viaJSON(base, patch.LookupPath(cue.ParsePath("operations")), func(doc, ops []byte) ([]byte, error) {
			decoded, err := jsonpatch.DecodePatch(ops)
			if err != nil {
				return nil, err
			}
			return decoded.Apply(doc)
		})
	}
	merged, err := merge("", base, patch, "")
	if err != nil {
		return nil, err
	}
	return merged.(map[string]any), nil
}

func viaJSON(base map[string]any, patch cue.Value, apply func(doc, patch []byte) ([]byte, error)) (map[string]any, error) {
	doc, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	raw, err := patch.MarshalJSON()
	if err != nil {
		return nil, err
	}
	if doc, err = apply(doc, raw); err != nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(doc, &out); err != nil {
		return nil, err
	}
	return normalizeNumbers(out).(map[string]any), nil
}

// merge returns base with patch merged in; it does not change base. patchKey is the key
// inherited from a field above.
func merge(path string, base any, patch cue.Value, patchKey string) (any, error) {
	t := tagsOf(patch)
	if key := t["patchKey"]; key != "" {
		patchKey = key
	}
	strategy := t["patchStrategy"]
	list := patch.IncompleteKind() == cue.ListKind
	if base == nil || strategy == "replace" && list || strategy == "retainKeys" && (!list || patchKey == "") {
		return export(patch)
	}
	switch patch.IncompleteKind() {
	case cue.StructKind:
		return mergeStruct(path, base, patch, patchKey)
	case cue.ListKind:
		return mergeList(path, base, patch, patchKey, strategy == "retainKeys")
	}
	value, err := export(patch)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(base, value) {
		return nil, fmt.Errorf("%s: conflicting values %v and %v", path, base, value)
	}
	return value, nil
}

func mergeStruct(path string, base any, patch cue.Value, patchKey string) (any, error) {
	object, ok := base.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: cannot put an object in the place of %v", path, base)
	}
	out := make(map[string]any, len(object))
	for k, v := range object {
		out[k] = v
	}
	fields, err := patch.Fields()
	if err != nil {
		return nil, err
	}
	for fields.Next() {
		name := fields.Selector().Unquoted()
		if out[name], err = merge(strings.TrimPrefix(path+"."+name, "."), out[name], fields.Value(), patchKey); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// mergeList merges elements with an equal key, or, without a key, by position; what has
// no partner is appended.
func mergeList(path string, base any, patch cue.Value, patchKey string, replaceMatched bool) (any, error) {
	items, ok := base.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: cannot put a list in the place of %v", path, base)
	}
	out := append([]any(nil), items...)
	elements, err := patch.List()
	if err != nil {
		return nil, err
	}
	for i := 0; elements.Next(); i++ {
		element := elements.Value()
		at := i
		if patchKey != "" {
			if at, err = indexByKey(out, element, patchKey); err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", path, i, err)
			}
		}
		var merged any
		if at < 0 || at >= len(out) || replaceMatched {
			merged, err = export(element)
		} else {
			merged, err = merge(fmt.Sprintf("%s[%d]", path, at), out[at], element, patchKey)
		}
		if err != nil {
			return nil, err
		}
		if at < 0 || at >= len(out) {
			out = append(out, merged)
		} else {
			out[at] = merged
		}
	}
	return out, nil
}

// indexByKey finds the item whose key equals the element's, or -1.
func indexByKey(items []any, element cue.Value, key string) (int, error) {
	path := cue.ParsePath(key)
	value := element.LookupPath(path)
	if !value.Exists() {
		return -1, nil
	}
	want, err := export(value)
	if err != nil {
		return -1, err
	}
	for i, item := range items {
		got := item
		for part := range strings.SplitSeq(key, ".") {
			object, _ := got.(map[string]any)
			got = object[part]
		}
		if reflect.DeepEqual(got, want) {
			return i, nil
		}
	}
	return -1, nil
}

func export(v cue.Value) (any, error) {
	raw, err := v.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	return normalizeNumbers(out), nil
}
