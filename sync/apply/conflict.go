package apply

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conflict is a field that somebody else owns and our apply would change.
type conflict struct{ field, manager string }

// conflicts lists them; empty when the error is another one.
func conflicts(err error) []conflict {
	var out []conflict
	for _, cause := range causes(err) {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			out = append(out, conflict{field: cause.Field, manager: managerOf(cause)})
		}
	}
	return out
}

// managerOf reads the name out of `conflict with "kubectl-edit" using apps/v1`.
func managerOf(cause metav1.StatusCause) string {
	_, rest, _ := strings.Cut(cause.Message, `"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// yielding are the field managers of people at a keyboard and of earlier deployers: Git
// wins over those. A controller that owns a field keeps it.
var yielding = []string{
	FieldOwner, "kubectl", "before-first-apply", "kustomize-controller", "helm", "flux", "argocd", "vela", "kapp", "k9s", "lens",
	"Lens", "Mozilla", "node-fetch", "dashboard", "curl",
}

func yields(manager string) bool {
	for _, prefix := range yielding {
		if strings.HasPrefix(manager, prefix) {
			return true
		}
	}
	return false
}

// conflictError names the first field that its owner keeps.
func conflictError(ref ObjectRef, found []conflict) error {
	for _, c := range found {
		if yields(c.manager) {
			continue
		}
		leaf := c.field[strings.LastIndexByte(c.field, '.')+1:]
		return &Error{
			Reason: ReasonFailedApply, Ref: ref, Field: c.field, Manager: c.manager,
			Advice: fmt.Sprintf("leave %s out of the manifest, or annotate the object with %s: merge (leave such fields alone) or %s: enabled (take them over)",
				leaf, AnnotationApply, annotationForce),
			Err: fmt.Errorf("applying %s: field %s is owned by %q", ref, c.field, c.manager),
		}
	}
	return nil
}
