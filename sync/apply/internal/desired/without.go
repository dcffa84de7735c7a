package desired

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Without leaves the fields at paths out of what is wanted; the hash stays, because what
// is wanted has not changed, only what is asked for. Paths are written as the API server
// writes them in a conflict: .spec.template.spec.containers[name="web"].image. It is false
// when a path leads nowhere.
func (o *Object) Without(paths ...string) (*Object, bool) {
	body := any(o.body)
	for _, path := range paths {
		less, ok := without(body, path)
		if !ok {
			return nil, false
		}
		body = less
	}
	m, ok := body.(map[string]any)
	return &Object{Hash: o.Hash, body: m}, ok
}

// without copies what it changes. Names may hold dots, so that what is there decides where
// a name ends.
func without(value any, path string) (any, bool) {
	switch v := value.(type) {
	case map[string]any:
		rest, ok := strings.CutPrefix(path, ".")
		if !ok {
			return nil, false
		}
		names := slices.Sorted(maps.Keys(v))
		for _, name := range slices.Backward(names) { // the longer of two first
			inner := v[name]
			after, ok := strings.CutPrefix(rest, name)
			if !ok || after != "" && after[0] != '.' && after[0] != '[' {
				continue
			}
			out := maps.Clone(v)
			if after == "" {
				delete(out, name)
				return out, true
			}
			if less, ok := without(inner, after); ok {
				out[name] = less
				return out, true
			}
		}
	case []any:
		if i, after := element(v, path); i >= 0 {
			if after == "" {
				return slices.Delete(slices.Clone(v), i, i+1), true
			}
			if less, ok := without(v[i], after); ok {
				out := slices.Clone(v)
				out[i] = less
				return out, true
			}
		}
	}
	return nil, false
}

// element finds the one that [name="web"], [containerPort=80,protocol="TCP"] or [="x"]
// means; -1 when there is none.
func element(list []any, path string) (i int, after string) {
	for i, value := range list {
		for _, key := range selectors(value) {
			if after, ok := strings.CutPrefix(path, key); ok {
				return i, after
			}
		}
	}
	return -1, ""
}

// selectors are the ways in which the API server may name an element.
func selectors(value any) []string {
	m, ok := value.(map[string]any)
	if !ok {
		return []string{"[=" + encode(value) + "]"}
	}
	var out []string
	for _, keys := range [][]string{
		{"name"}, {"mountPath"}, {"devicePath"}, {"ip"}, {"uid"}, {"type"}, {"topologyKey", "whenUnsatisfiable"},
		{"containerPort", "protocol"}, {"port", "protocol"},
	} {
		parts := make([]string, 0, len(keys))
		for _, key := range keys {
			v := m[key]
			if v == nil {
				v = keyDefaults[key]
			}
			if v != nil {
				parts = append(parts, key+"="+encode(v))
			}
		}
		if len(parts) == len(keys) {
			out = append(out, "["+strings.Join(parts, ",")+"]")
		}
	}
	return out
}

func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(raw)
}
