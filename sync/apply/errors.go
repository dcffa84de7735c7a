package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Error is a failed call. Retryable ones are mended by time (the platform), the others
// by changing a manifest or a permission.
type Error struct {
	Reason     string      // from the conventions: FailedApply, ConflictingOwner, PruneHeld …
	Ref        ObjectRef   // the object it is about
	Field      string      // the field of it, when the server named one
	Manager    string      // who owns the field, in a conflict
	Objects    []ObjectRef // that would be deleted, in PruneHeld
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
	// ReasonWaiting is of a delete that was accepted and is not done: something with a
	// finalizer is still going.
	ReasonWaiting = "DependencyNotReady"
)

// IsRetryable says that time may mend the error.
func IsRetryable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Retryable
}

// maxServerText bounds what is passed on of the server's words.
const maxServerText = 600

// classify wraps an error of the API server: who has to do something about it, and what.
func classify(ref ObjectRef, verb string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Reason: ReasonFailedApply, Ref: ref}
	said := plain(err)
	code := statusCode(err)
	switch {
	case meta.IsNoMatchError(err):
		said = fmt.Sprintf("the cluster has no kind %s in %s", ref.Kind, strings.Trim(ref.Group+"/"+ref.Version, "/"))
		e.Advice = "install the CustomResourceDefinition of " + ref.Kind + " first, or put it into an earlier component"
	case isTooBusy(err, e):
	case isSchemaError(err):
		e.Field, said = schemaError(said)
	case apierrors.IsInvalid(err):
		e.Field, said = invalid(err, said)
		if isImmutable(err) {
			e.Advice = "the field cannot be changed; to delete the object and create it anew, annotate it with " + annotationForce + ": enabled"
		}
	case isMissingNamespace(ref, err):
		said = fmt.Sprintf("namespace %s does not exist", ref.Namespace)
		e.Advice = "create it first, or put it into the same source"
	case apierrors.IsForbidden(err):
		e.Retryable = apierrors.HasStatusCause(err, "NamespaceTerminating")
		switch { // RBAC, and not a quota or an admission policy
		case strings.Contains(said, " cannot impersonate "):
			e.Advice = "let Tradewind act as that account: bind the ClusterRole tradewind-impersonator in its namespace, see deployments/README.md"
		case strings.Contains(said, " cannot "):
			e.Advice = "grant that account this right, see deployments/README.md"
		}
	case apierrors.IsUnauthorized(err):
		e.Retryable = true
		e.Advice = "the credentials of the kubeconfig or the service account are not valid any more"
	case code == 0 || code >= http.StatusInternalServerError || apierrors.IsConflict(err) || code == http.StatusRequestTimeout:
		e.Retryable = true
	}
	e.Err = fmt.Errorf("%s %s: %w", verb, ref, &serverError{text: withoutSecrets(ref, e.Field, code, said), err: err})
	return e
}

// serverError shows filtered words and keeps the error for errors.Is; the server repeats
// parts of what it was sent.
type serverError struct {
	text string
	err  error
}

func (e *serverError) Error() string { return e.text }
func (e *serverError) Unwrap() error { return e.err }

// withoutSecrets keeps of an error about a Secret only what kind it is of.
func withoutSecrets(ref ObjectRef, field string, code int, said string) string {
	if ref.Kind != "Secret" || ref.Group != "" || code == 0 || code == http.StatusNotFound || code == http.StatusForbidden {
		return shorten(said)
	}
	if field != "" {
		return "field " + field + " is not valid (its value is not shown)"
	}
	return fmt.Sprintf("the server answered %d %s (its message is not shown, it may quote the Secret)", code, http.StatusText(code))
}

func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxServerText {
		s = strings.ToValidUTF8(s[:maxServerText], "") + "…"
	}
	return s
}

// plain is the message without the request's address, which says nothing to a user.
func plain(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return e.Error() // without what client-go says around it
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer from the API server in time"
	}
	return err.Error()
}

func statusCode(err error) int {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return int(status.Status().Code)
	}
	return 0
}

// isTooBusy fills in how long the server wants to be left alone.
func isTooBusy(err error, e *Error) bool {
	if later, ok := errors.AsType[*retryLater](err); ok {
		e.Retryable, e.RetryAfter = true, later.after
		return true
	}
	seconds, ok := apierrors.SuggestsClientDelay(err)
	if !ok && !apierrors.IsTooManyRequests(err) {
		return false
	}
	e.Retryable, e.RetryAfter = true, time.Duration(seconds)*time.Second
	return true
}

// isSchemaError finds the errors that server-side apply reports as its own (500) although
// the manifest is wrong: an unknown field, a string where a number belongs.
func isSchemaError(err error) bool {
	if statusCode(err) != http.StatusInternalServerError {
		return false
	}
	said := err.Error()
	return strings.Contains(said, "failed to create typed patch object") || strings.Contains(said, "failed to convert new object")
}

// schemaError takes ".spec.foo: field not declared in schema" out of the server's words.
func schemaError(said string) (field, text string) {
	_, text, ok := strings.Cut(said, "): ")
	if !ok {
		return "", said
	}
	path, why, ok := strings.Cut(text, ": ")
	if !ok || !strings.HasPrefix(path, ".") {
		return "", text
	}
	if why == "field not declared in schema" {
		why = "there is no such field"
	}
	return path, path + ": " + why
}

// invalid lists what validation found, field by field.
func invalid(err error, said string) (field, text string) {
	var parts []string
	for _, cause := range causes(err) {
		if cause.Field == "" || cause.Field == "<nil>" {
			continue
		}
		if field == "" {
			field = cause.Field
		}
		parts = append(parts, cause.Field+": "+withoutValue(cause.Message))
	}
	if len(parts) == 0 {
		return "", said
	}
	return field, strings.Join(parts, "; ")
}

// withoutValue shortens "Invalid value: {a whole pod template}: field is immutable".
func withoutValue(message string) string {
	const kept = 120
	if end := strings.LastIndex(message, "}: "); end > kept && strings.HasPrefix(message, "Invalid value: ") {
		return "Invalid value: " + message[end+len("}: "):]
	}
	return message
}

// isImmutable knows the server's ways of saying it.
func isImmutable(err error) bool {
	said := err.Error()
	return apierrors.IsInvalid(err) && (strings.Contains(said, "field is immutable") || strings.Contains(said, "is immutable after") ||
		strings.Contains(said, "updates to statefulset spec for fields other than") || strings.Contains(said, "may not change once set"))
}

func isMissingNamespace(ref ObjectRef, err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && apierrors.IsNotFound(err) && ref.Namespace != "" && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

func causes(err error) []metav1.StatusCause {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}
