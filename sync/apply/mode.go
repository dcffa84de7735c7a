package apply

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Annotations by which a single object takes itself out of the usual treatment; Flux's
// spellings mean the same.
const (
	// AnnotationApply is how an object is applied; one value is [IfAbsent].
	AnnotationApply     = "tradewind.dev/apply"     // merge, if-absent, ignore
	annotationForce     = "tradewind.dev/force"     // enabled
	annotationPrune     = "tradewind.dev/prune"     // disabled, allowed
	annotationReconcile = "tradewind.dev/reconcile" // disabled

	// IfAbsent is the value of [AnnotationApply] for: created, never changed.
	IfAbsent = string(modeIfAbsent)

	flux = "kustomize.toolkit.fluxcd.io/"
)

// mode is how an object is applied.
type mode string

const (
	modeUsual    mode = ""
	modeMerge    mode = "merge"     // fields of others stay theirs
	modeIfAbsent mode = "if-absent" // created, never changed
	modeIgnore   mode = "ignore"    // never touched
)

// modeOf reads the wanted object, and the live one for a hand that says stop.
func modeOf(wanted, live *unstructured.Unstructured) mode {
	for _, o := range []*unstructured.Unstructured{wanted, live} {
		if o == nil {
			continue
		}
		a := o.GetAnnotations()
		if is(a[annotationReconcile], "disabled") || is(a[flux+"reconcile"], "disabled") {
			return modeIgnore
		}
	}
	a := wanted.GetAnnotations()
	switch m := mode(strings.ToLower(a[AnnotationApply])); m {
	case modeMerge, modeIfAbsent, modeIgnore:
		return m
	}
	switch strings.ToLower(a[flux+"ssa"]) {
	case "merge":
		return modeMerge
	case "ifnotpresent":
		return modeIfAbsent
	case "ignore":
		return modeIgnore
	}
	return modeUsual
}

// forced says that conflicts are taken over and immutable fields changed by creating the
// object anew.
func forced(wanted *unstructured.Unstructured) bool {
	a := wanted.GetAnnotations()
	return is(a[annotationForce], "enabled") || is(a[flux+"force"], "enabled")
}

// protected says that leaving Git is not enough to delete a live object.
func protected(live *unstructured.Unstructured, guarded func(ObjectRef) bool) bool {
	a := live.GetAnnotations()
	for _, value := range []string{a[annotationPrune], a[flux+"prune"]} {
		if is(value, "disabled") {
			return true
		}
	}
	return guarded(RefOf(live)) && !is(a[annotationPrune], "allowed")
}

func is(value, wanted string) bool { return strings.EqualFold(value, wanted) }

// needsAllowance lists the kinds whose deletion takes other people's objects or data with
// it: an annotation on the object itself must allow it.
func needsAllowance(ref ObjectRef) bool {
	return holdsData(ref) || ref.Group == "apps" && ref.Kind == "StatefulSet"
}

// holdsData lists the kinds that outlive even their Application.
func holdsData(ref ObjectRef) bool {
	switch ref.Kind {
	case "Namespace", "PersistentVolumeClaim", "PersistentVolume":
		return ref.Group == ""
	case "CustomResourceDefinition":
		return true
	}
	return false
}
