package template

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// jsonPatch is RFC 6902, to the letter: what an operation replaces, removes or tests must
// be there. doc stays as it was.
func jsonPatch(doc any, operations []any) (any, error) {
	for i, o := range operations {
		operation, ok := o.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("operations[%d]: %s given, object wanted", i, describe(o))
		}
		changed, err := operate(doc, operation)
		if err != nil {
			return nil, fmt.Errorf("operations[%d]: %w", i, err)
		}
		doc = changed
	}
	return doc, nil
}

func operate(doc any, operation map[string]any) (any, error) {
	path, err := pointer(operation, "path")
	if err != nil {
		return nil, err
	}
	value, hasValue := operation["value"]
	op, _ := operation["op"].(string)
	switch op {
	case "add", "replace", "test":
		if !hasValue {
			return nil, fmt.Errorf("%s: value is required", op)
		}
	case "move", "copy":
		from, err := pointer(operation, "from")
		if err != nil {
			return nil, err
		}
		if value, err = at(doc, from); err != nil {
			return nil, err
		}
		if op == "move" {
			if len(path) > len(from) && slices.Equal(path[:len(from)], from) {
				return nil, fmt.Errorf("move: %q is inside of %q", operation["path"], operation["from"])
			}
			if doc, err = edit(doc, from, remove); err != nil {
				return nil, err
			}
		}
	}
	switch op {
	case "add", "move", "copy":
		return edit(doc, path, func(parent any, key string) (any, error) { return add(parent, key, value) })
	case "remove":
		return edit(doc, path, remove)
	case "replace":
		return edit(doc, path, func(parent any, key string) (any, error) { return set(parent, key, value) })
	case "test":
		found, err := at(doc, path)
		if err == nil && !reflect.DeepEqual(found, value) {
			err = fmt.Errorf("test: %q is %v", operation["path"], found)
		}
		return doc, err
	}
	return nil, fmt.Errorf("op %q: want add, remove, replace, move, copy or test", op)
}

// pointer reads a JSON pointer (RFC 6901).
func pointer(operation map[string]any, field string) ([]string, error) {
	text, ok := operation[field].(string)
	switch {
	case !ok || text != "" && text[0] != '/':
		return nil, fmt.Errorf("%s %v: want a JSON pointer, such as /spec/replicas", field, operation[field])
	case text == "":
		return nil, nil
	}
	parts := strings.Split(text[1:], "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
	}
	return parts, nil
}

func at(doc any, path []string) (any, error) {
	for _, key := range path {
		next, err := child(doc, key)
		if err != nil {
			return nil, err
		}
		doc = next
	}
	return doc, nil
}

func child(parent any, key string) (any, error) {
	switch parent := parent.(type) {
	case map[string]any:
		if value, ok := parent[key]; ok {
			return value, nil
		}
	case []any:
		if i, ok := index(key, len(parent)-1); ok {
			return parent[i], nil
		}
	}
	return nil, fmt.Errorf("there is no %q", key)
}

// index reads a list index of at most last.
func index(key string, last int) (int, bool) {
	i, err := strconv.Atoi(key)
	return i, err == nil && i >= 0 && i <= last && strconv.Itoa(i) == key
}

// edit returns doc with change applied at path; what it changes it copies.
func edit(doc any, path []string, change func(parent any, key string) (any, error)) (any, error) {
	switch len(path) {
	case 0: // the document is the only element of something above it
		whole, err := change([]any{doc}, "0")
		if list, ok := whole.([]any); ok && len(list) > 0 {
			return list[0], err
		}
		return nil, err
	case 1:
		return change(doc, path[0])
	}
	next, err := child(doc, path[0])
	if err != nil {
		return nil, err
	}
	changed, err := edit(next, path[1:], change)
	if err != nil {
		return nil, err
	}
	return set(doc, path[0], changed)
}

// set replaces what is there.
func set(parent any, key string, value any) (any, error) {
	if _, err := child(parent, key); err != nil {
		return nil, err
	}
	if list, ok := parent.([]any); ok {
		i, _ := index(key, len(list)-1)
		out := slices.Clone(list)
		out[i] = value
		return out, nil
	}
	return add(parent, key, value)
}

// add sets a field or inserts into a list.
func add(parent any, key string, value any) (any, error) {
	switch parent := parent.(type) {
	case map[string]any:
		out := maps.Clone(parent)
		out[key] = value
		return out, nil
	case []any:
		i, ok := index(key, len(parent))
		if key == "-" {
			i, ok = len(parent), true
		}
		if ok {
			return slices.Insert(slices.Clone(parent), i, value), nil
		}
	}
	return nil, fmt.Errorf("%q cannot be added to %s", key, describe(parent))
}

func remove(parent any, key string) (any, error) {
	if _, err := child(parent, key); err != nil {
		return nil, err
	}
	if list, ok := parent.([]any); ok {
		i, _ := index(key, len(list)-1)
		return slices.Delete(slices.Clone(list), i, i+1), nil
	}
	object, _ := parent.(map[string]any)
	out := maps.Clone(object)
	delete(out, key)
	return out, nil
}
