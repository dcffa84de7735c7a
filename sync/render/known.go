package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Defined says whether there is a definition of a type.
func (r *Renderer) Defined(kind Kind, namespace, name string) bool {
	_, ok := r.definition(kind, namespace, name)
	return ok
}

// usable finds a type that can be used, or says why there is none: with the nearest known
// name, or with what a pinned name would need.
func (r *Renderer) usable(kind Kind, namespace, given string) (*Definition, error) {
	def, ok := r.definition(kind, namespace, given)
	switch {
	case !ok:
		return nil, unknownType(r.definitions, kind, namespace, given)
	case def.Err != nil:
		return nil, &Error{Err: fmt.Errorf("%s type %q cannot be used: %w", kind, given, def.Err)}
	}
	return def, nil
}

// definition finds a type. What fetches its objects is the engine's own business: a
// definition of that name, which clusters with KubeVela's addons have, makes objects for
// controllers that need not be there.
func (r *Renderer) definition(kind Kind, namespace, given string) (*Definition, bool) {
	if kind == KindComponent && given == typeKustomize {
		return Builtins().Definition(kind, namespace, given)
	}
	return r.definitions.Definition(kind, namespace, given)
}

func unknownType(defs Definitions, kind Kind, namespace, given string) *Error {
	e := &Error{Err: fmt.Errorf("%s type %q is not known", kind, given)}
	name, pin, pinned := strings.Cut(given, "@")
	if pinned {
		if _, ok := defs.Definition(kind, namespace, name); ok {
			wanted := "a DefinitionRevision " + name + "-" + pin
			if !isRevision(pin) {
				wanted = fmt.Sprintf("a %s %s, or a DefinitionRevision of one, with spec.version %s", kind.ObjectKind(), name, pin)
			}
			e.Advice = fmt.Sprintf("want %s in namespace %s or %s; type %q without a version is there", wanted, namespace, SystemNamespace, name)
			return e
		}
	}
	names := defs.Names(kind, namespace)
	if near := nearest(name, names); near != "" {
		e.Advice = fmt.Sprintf("did you mean %q? ", near)
	}
	e.Advice += fmt.Sprintf("installed %s types: %s", kind, strings.Join(names, ", "))
	return e
}

// nearest returns the name at most a third of its letters away from given, or "".
func nearest(given string, names []string) string {
	best := slices.MinFunc(append([]string{""}, names...), func(a, b string) int {
		return cmp.Compare(distance(given, a), distance(given, b))
	})
	if best != "" && distance(given, best) <= max(1, len(best)/3) {
		return best
	}
	return ""
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
