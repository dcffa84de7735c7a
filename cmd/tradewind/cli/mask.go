package cli

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// What stands for a value that must not be seen.
const (
	masked       = "***"
	maskedBefore = "*** (before)"
	maskedAfter  = "*** (after)"
)

// maskPair hides the values of Secrets in two forms of one document, wherever in it one
// is written down (an Application may hold a whole Secret). That a value changed is shown.
func maskPair(before, after map[string]any) (map[string]any, map[string]any) {
	b, a := maskValues(before, after)
	hidBefore, _ := b.(map[string]any)
	hidAfter, _ := a.(map[string]any)
	return hidBefore, hidAfter
}

func maskValues(before, after any) (any, any) {
	b, bIsMap := before.(map[string]any)
	a, aIsMap := after.(map[string]any)
	bList, bIsList := before.([]any)
	aList, aIsList := after.([]any)
	switch {
	case (bIsMap || before == nil) && (aIsMap || after == nil) && (bIsMap || aIsMap):
		return maskMaps(b, a)
	case (bIsList || before == nil) && (aIsList || after == nil) && (bIsList || aIsList):
		return maskLists(bList, aList)
	case before == nil || after == nil || !bIsMap && !bIsList && !aIsMap && !aIsList:
		return before, after
	}
	hidBefore, _ := maskValues(before, nil) // one became something else
	_, hidAfter := maskValues(nil, after)
	return hidBefore, hidAfter
}

func maskMaps(before, after map[string]any) (any, any) {
	b, a := maps.Clone(before), maps.Clone(after)
	secret := isSecret(before) || isSecret(after)
	for _, key := range slices.Sorted(maps.Keys(union(before, after))) {
		vb, inBefore := before[key]
		va, inAfter := after[key]
		// An annotation with what was applied last holds a copy of the whole object.
		if secret && (key == "data" || key == "stringData") || strings.Contains(key, "last-applied") {
			vb, va = hide(vb, va)
		} else {
			vb, va = maskValues(vb, va)
		}
		if inBefore {
			b[key] = vb
		}
		if inAfter {
			a[key] = va
		}
	}
	return nilMap(b), nilMap(a)
}

// nilMap keeps "is not there" apart from "is empty".
func nilMap(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

func maskLists(before, after []any) (any, any) {
	b, a := slices.Clone(before), slices.Clone(after)
	for i := range max(len(b), len(a)) {
		var vb, va any
		if i < len(b) {
			vb = b[i]
		}
		if i < len(a) {
			va = a[i]
		}
		vb, va = maskValues(vb, va)
		if i < len(b) {
			b[i] = vb
		}
		if i < len(a) {
			a[i] = va
		}
	}
	var outB, outA any
	if before != nil {
		outB = b
	}
	if after != nil {
		outA = a
	}
	return outB, outA
}

func isSecret(m map[string]any) bool { return m["kind"] == "Secret" && m["apiVersion"] == "v1" }

// hide replaces every value below data; the keys are no secret.
func hide(before, after any) (any, any) {
	b, bIsMap := before.(map[string]any)
	a, aIsMap := after.(map[string]any)
	hidB, hidA := map[string]any{}, map[string]any{}
	for key := range union(b, a) {
		vb, inB := b[key]
		va, inA := a[key]
		same := inB && inA && reflect.DeepEqual(vb, va)
		if inB {
			hidB[key] = maskOf(same || !inA, maskedBefore)
		}
		if inA {
			hidA[key] = maskOf(same || !inB, maskedAfter)
		}
	}
	outB, outA := any(hidB), any(hidA)
	if !bIsMap {
		outB = maskScalar(before)
	}
	if !aIsMap {
		outA = maskScalar(after)
	}
	return outB, outA
}

func maskOf(plain bool, otherwise string) string {
	if plain {
		return masked
	}
	return otherwise
}

func maskScalar(v any) any {
	if v == nil {
		return nil
	}
	return masked
}

func union(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	maps.Copy(out, b)
	return out
}
