package apply

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Error is a failed call. Retryable ones are mended by time (the platform), the others
// by changing a manifest or a permission.
type Error struct {
	Reason     string // from the conventions: FailedApply, ConflictingOwner, PruneHeld …
	Retryable  bool
	RetryAfter time.Duration // what the server asked for, or zero
	Advice     string        // what to do next, or empty
	Err        error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next, or is empty.
func (e *Error) Hint() string { return e.Advice }

// The reasons an Error may carry.
const (
	ReasonFailedApply      = "FailedApply"
	ReasonConflictingOwner = "ConflictingOwner"
	ReasonPruneHeld        = "PruneHeld"
	ReasonFailedPrune      = "FailedPrune"
)

// classify wraps an error of the API server. The server repeats Secret values in some
// messages, so for Secrets only the kind of error is kept.
func classify(ref ObjectRef, verb string, err error) error {
	e := &Error{Reason: ReasonFailedApply}
	seconds, _ := apierrors.SuggestsClientDelay(err)
	e.RetryAfter = time.Duration(seconds) * time.Second
	var netErr net.Error
	switch {
	case meta.IsNoMatchError(err):
		e.Advice = "install the CustomResourceDefinition of " + ref.Kind + " first, or put it into an earlier component"
		err = fmt.Errorf("the cluster has no kind %s in %s", ref.Kind, strings.Trim(ref.Group+"/"+ref.Version, "/"))
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err), apierrors.IsInternalError(err),
		apierrors.IsServiceUnavailable(err), apierrors.IsConflict(err), errors.As(err, &netErr), errors.Is(err, context.DeadlineExceeded),
		apierrors.ReasonForError(err) == metav1.StatusReasonUnknown:
		e.Retryable = true
	case apierrors.IsForbidden(err):
		e.Advice = "grant Tradewind's service account this right, see deployments/README.md"
	case ref.Kind == "Secret" && !apierrors.IsNotFound(err):
		err = errors.New(string(apierrors.ReasonForError(err)))
	}
	e.Err = fmt.Errorf("%s %s: %w", verb, ref, err)
	return e
}

// conflicts lists who owns the fields that an apply would take over; empty when the
// error is another one.
func conflicts(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	ok := errors.As(err, &status)
	if !ok || status.Status().Details == nil {
		return nil
	}
	var out []metav1.StatusCause
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			out = append(out, cause)
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

// yields says that a field manager is a person at a keyboard or an earlier deployer:
// Git wins over those. A controller that owns a field keeps it.
func yields(manager string) bool {
	for _, prefix := range []string{"kubectl", "before-first-apply", "kustomize-controller", "helm", "argocd", "vela", "k9s", "lens", "Mozilla", "node-fetch"} {
		if strings.HasPrefix(manager, prefix) {
			return true
		}
	}
	return false
}
