package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

func unknownType(defs Definitions, kind Kind, given, component string) *Error {
	e := &Error{Component: component, Err: fmt.Errorf("%s type %q is not known", kind, given)}
	names := defs.Names(kind)
	if near := nearest(given, names); near != "" {
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
