package template

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// tags are the "+key=value" comments of a field that steer how it is patched. A line
// with more words is prose.
type tags map[string]string

const (
	tagKey      = "patchKey"
	tagStrategy = "patchStrategy"

	strategyRetainKeys = "retainKeys"
	strategyReplace    = "replace"
	strategyMerge      = "jsonMergePatch"
	strategyJSON       = "jsonPatch"
)

func tagsOf(v cue.Value) tags {
	var t tags
	for _, group := range v.Doc() {
		for line := range strings.SplitSeq(group.Text(), "\n") {
			key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if ok && strings.HasPrefix(key, "+") && !strings.ContainsAny(value, " \t") {
				if t == nil {
					t = tags{}
				}
				t[key[1:]] = value
			}
		}
	}
	return t
}

// apply returns base as patch changes it; base stays as it was. inherited are the tags
// of the field above, which count where patch has none.
func (e *Engine) apply(base map[string]any, patch cue.Value, inherited tags) (map[string]any, error) {
	own := tagsOf(patch)
	strategy := own[tagStrategy]
	if strategy == "" {
		strategy = inherited[tagStrategy]
	}
	switch strategy {
	case strategyMerge:
		value, err := export(patch)
		if err != nil {
			return nil, err
		}
		merged, _ := mergePatch(base, value).(map[string]any)
		return merged, nil
	case strategyJSON:
		return asObject(operations(base, patch))
	}
	return asObject(e.merge("", base, patch, inherited[tagKey]))
}

func operations(base map[string]any, patch cue.Value) (any, error) {
	value, err := export(patch.LookupPath(cue.ParsePath("operations")))
	if err != nil {
		return nil, err
	}
	list, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("operations: %s given, list wanted", describe(value))
	}
	return jsonPatch(base, list)
}

func asObject(merged any, err error) (map[string]any, error) {
	if err != nil {
		return nil, err
	}
	out, ok := merged.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s given, an object wanted", describe(merged))
	}
	return out, nil
}

// mergePatch is RFC 7396: null removes, lists are replaced.
func mergePatch(base, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if object, ok := base.(map[string]any); ok {
		maps.Copy(out, object)
	}
	for k, v := range changes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = mergePatch(out[k], v)
		}
	}
	return out
}

// merge returns base with patch merged in. patchKey is inherited from a field above.
func (e *Engine) merge(path string, base any, patch cue.Value, patchKey string) (any, error) {
	t := tagsOf(patch)
	if key := t[tagKey]; key != "" {
		patchKey = key
	}
	kind := patch.IncompleteKind()
	isList := kind == cue.ListKind
	replaces := t[tagStrategy] == strategyReplace && isList ||
		t[tagStrategy] == strategyRetainKeys && (!isList || patchKey == "")
	if base == nil || replaces {
		return export(patch)
	}
	switch kind {
	case cue.StructKind:
		return e.mergeObject(path, base, patch, patchKey)
	case cue.ListKind:
		return e.mergeList(path, base, patch, patchKey, t[tagStrategy] == strategyRetainKeys)
	}
	// What remains is CUE's own question: do the two agree? A default gives way.
	value, err := export(e.encode(base).Unify(patch))
	if err != nil {
		given, exportErr := export(patch)
		if exportErr != nil {
			return nil, exportErr
		}
		return nil, fmt.Errorf("%s: conflicting values %v and %v", path, base, given)
	}
	return value, nil
}

func (e *Engine) mergeObject(path string, base any, patch cue.Value, patchKey string) (any, error) {
	object, ok := base.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: cannot put an object in the place of %v", path, base)
	}
	out := make(map[string]any, len(object))
	maps.Copy(out, object)
	fields, err := patch.Fields()
	if err != nil {
		return nil, err
	}
	for fields.Next() {
		key := fields.Selector().Unquoted()
		if out[key], err = e.merge(strings.TrimPrefix(path+"."+key, "."), out[key], fields.Value(), patchKey); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// mergeList merges elements with an equal key or, where no element has the key, by
// position; what has no partner is appended, in the patch's order.
func (e *Engine) mergeList(path string, base any, patch cue.Value, patchKey string, replaceMatched bool) (any, error) {
	items, ok := base.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: cannot put a list in the place of %v", path, base)
	}
	elements, err := patch.List()
	if err != nil {
		return nil, err
	}
	var patches []cue.Value
	for elements.Next() {
		patches = append(patches, elements.Value())
	}
	key := cue.ParsePath(patchKey)
	byKey := patchKey != "" && slices.ContainsFunc(patches, func(v cue.Value) bool { return v.LookupPath(key).Exists() })
	out := slices.Clone(items)
	for i, element := range patches {
		at := i
		if byKey {
			at = indexByKey(out, element.LookupPath(key), patchKey)
		}
		var merged any
		found := at >= 0 && at < len(out)
		if found && !replaceMatched {
			merged, err = e.merge(fmt.Sprintf("%s[%d]", path, at), out[at], element, patchKey)
		} else {
			merged, err = export(element)
		}
		if err != nil {
			return nil, err
		}
		if found {
			out[at] = merged
		} else {
			out = append(out, merged)
		}
	}
	return out, nil
}

// indexByKey finds the item whose value at the dotted key is want, or -1.
func indexByKey(items []any, want cue.Value, key string) int {
	value, err := export(want)
	if !want.Exists() || err != nil {
		return -1
	}
	return slices.IndexFunc(items, func(item any) bool {
		for part := range strings.SplitSeq(key, ".") {
			object, _ := item.(map[string]any)
			item = object[part]
		}
		return reflect.DeepEqual(item, value)
	})
}

// Combine merges two objects that were made separately but are the same one. Elements of
// lists with an equal key are taken for the same; where the two differ it is an error.
func (e *Engine) Combine(first, second map[string]any, key string) (map[string]any, error) {
	return e.apply(first, e.encode(second), tags{tagKey: key})
}
