package desired

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/resource"
)

// comparison is by the rules of Kubernetes' own kinds, or, for custom kinds whose rules
// are not known here, by the strict ones: lists are equal element by element.
type comparison struct{ builtin bool }

// contains says that live has every field of wanted with the same value; field is the
// name under which they stand.
func (c comparison) contains(field string, live, wanted any) bool {
	switch w := wanted.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok && live != nil {
			return false
		}
		for name, value := range w {
			same := c.contains
			if quantities[field] { // requests: {cpu: 1000m}
				same = func(_ string, live, wanted any) bool { return c.equalQuantities(live, wanted) }
			}
			if !same(name, l[name], value) {
				return false
			}
		}
		return true
	case []any:
		l, ok := live.([]any)
		if !ok && live != nil {
			return false
		}
		return c.containsList(field, l, w)
	case nil:
		return true
	default:
		return equalScalars(live, wanted) || quantities[field] && c.equalQuantities(live, wanted)
	}
}

// keyed are the lists of Kubernetes' own kinds whose elements are told apart by a field;
// others may add elements to them (a sidecar, a mounted token).
var keyed = map[string][]string{
	"containers": {"name"}, "initContainers": {"name"}, "ephemeralContainers": {"name"}, "volumes": {"name"}, "env": {"name"},
	"imagePullSecrets": {"name"}, "secrets": {"name"}, "webhooks": {"name"}, "resourceClaims": {"name"}, "schedulingGates": {"name"},
	"claims": {"name"}, "listeners": {"name"}, "volumeMounts": {"mountPath"}, "volumeDevices": {"devicePath"}, "hostAliases": {"ip"},
	"topologySpreadConstraints": {"topologyKey", "whenUnsatisfiable"}, "ownerReferences": {"uid"}, "conditions": {"type"},
	"ports": {"containerPort", "port", "protocol"},
}

// keyDefaults are what the server fills in for a key that was left out.
var keyDefaults = map[string]any{"protocol": "TCP"}

func (c comparison) containsList(field string, live, wanted []any) bool {
	if field == "finalizers" || field == "ownerReferences" || c.builtin && keyed[field] != nil {
		return c.containsAll(field, live, wanted)
	}
	if len(live) != len(wanted) {
		return false
	}
	for i := range wanted {
		if !c.contains("", live[i], wanted[i]) {
			return false
		}
	}
	return true
}

// containsAll looks for each wanted element among the live ones.
func (c comparison) containsAll(field string, live, wanted []any) bool {
	for _, w := range wanted {
		id := identity(field, w)
		i := slices.IndexFunc(live, func(l any) bool { return reflect.DeepEqual(identity(field, l), id) })
		if i < 0 || !c.contains("", live[i], w) {
			return false
		}
	}
	return true
}

func identity(field string, element any) any {
	m, ok := element.(map[string]any)
	if !ok {
		return element
	}
	id := map[string]any{}
	for _, key := range keyed[field] {
		if n, ok := number(m[key]); ok {
			id[key] = n
		} else if v := m[key]; v != nil {
			id[key] = v
		} else if v := keyDefaults[key]; v != nil {
			id[key] = v
		}
	}
	return id
}

func equalScalars(a, b any) bool {
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
	case int:
		return float64(n), true
	case float64:
		return n, true
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	}
	return 0, false
}

// quantities are the fields that hold amounts, which the server writes in its own form:
// "1000m" becomes "1".
var quantities = map[string]bool{
	"requests": true, "limits": true, "hard": true, "capacity": true, "overhead": true, "max": true, "min": true,
	"default": true, "defaultRequest": true, "maxLimitRequestRatio": true, "sizeLimit": true, "divisor": true,
	"averageValue": true,
}

func (c comparison) equalQuantities(live, wanted any) bool {
	if equalScalars(live, wanted) {
		return true
	}
	if _, deeper := wanted.(map[string]any); deeper || !c.builtin { // max of something else
		return c.contains("", live, wanted)
	}
	l, okLive := amount(live)
	w, okWanted := amount(wanted)
	return okLive && okWanted && l.Cmp(w) == 0
}

func amount(v any) (resource.Quantity, bool) {
	text, ok := v.(string)
	if f, isNumber := number(v); isNumber {
		text, ok = strconv.FormatFloat(f, 'f', -1, 64), true
	}
	if !ok {
		return resource.Quantity{}, false
	}
	q, err := resource.ParseQuantity(text)
	return q, err == nil
}

// projection is the part of live that wanted speaks about; lists are taken whole.
func projection(live, wanted any) any {
	w, ok := wanted.(map[string]any)
	if !ok {
		return live
	}
	l, ok := live.(map[string]any)
	if !ok {
		return live
	}
	out := make(map[string]any, len(w))
	for name, value := range w {
		out[name] = projection(l[name], value)
	}
	return out
}
