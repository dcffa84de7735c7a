package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/tradewind-dev/tradewind/sync/files"
	"github.com/tradewind-dev/tradewind/sync/guard"
)

// Error is what goes wrong with a bucket. Its text repeats nothing that the store wrote
// but its error code.
type Error struct {
	Bucket string // host/bucket
	Reason string
	Err    error // the cause; may be nil

	hint string
}

func (e *Error) Error() string { return "reading bucket " + e.Bucket + ": " + e.Reason }

// Unwrap gives the cause, which may hold text of the store.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what to do next; it may be empty.
func (e *Error) Hint() string { return e.hint }

// endpointError is a URL that is none of an object store.
type endpointError struct{ reason, hint string }

func (e *endpointError) Error() string { return e.reason }

var hostPort = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$`)

// endpointOf reads what people write as an endpoint.
func endpointOf(raw string, insecure []string) (host string, secure bool, err error) {
	text := raw
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" || !hostPort.MatchString(u.Host) {
		return "", false, &endpointError{"its url is no endpoint", "write https://host or https://host:port; the bucket's name goes into oss.bucketName"}
	}
	listed := guard.Listed(insecure, u.Hostname(), u.Port())
	switch {
	case u.Scheme == "https":
		// Without a scheme, what is listed is spoken to as it is listed.
		return u.Host, !listed || strings.HasPrefix(raw, "https://"), nil
	case u.Scheme == "http" && listed:
		return u.Host, false, nil
	case u.Scheme == "http":
		return "", false, &endpointError{"plain http is not allowed for this host", "use https, or list the host under git.insecureHosts"}
	}
	return "", false, &endpointError{"its url is neither https nor http", "write https://host or https://host:port"}
}

// failed says in our words what went wrong.
func (f *fetch) failed(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	out := &Error{Bucket: strings.TrimPrefix(f.endpoint+"/"+f.src.Bucket, "/"), Reason: "the store cannot be reached", Err: err}
	out.hint = "we try again by ourselves; check that the url can be reached from the worker"
	if wrong, ok := errors.AsType[*endpointError](err); ok {
		out.Reason, out.hint = wrong.reason, wrong.hint
	} else if blocked, ok := errors.AsType[*guard.BlockedError](err); ok {
		out.Reason, out.hint = blocked.Error(), blocked.Hint()
	} else if wrong, ok := errors.AsType[*files.Error](err); ok {
		out.Reason, out.hint = wrong.Error(), "put what is deployed below a path of its own"
	} else if errors.Is(err, context.DeadlineExceeded) {
		out.Reason = "no answer in time"
	} else if answer := minio.ToErrorResponse(err); answer.StatusCode != 0 {
		out.Reason, out.hint = f.refused(answer)
	}
	return out
}

var errorCode = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)

func (f *fetch) refused(answer minio.ErrorResponse) (reason, hint string) {
	code := answer.Code
	if !errorCode.MatchString(code) {
		code = http.StatusText(answer.StatusCode)
	}
	reason = fmt.Sprintf("the store answers %s (%d)", code, answer.StatusCode)
	switch {
	case answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusUnauthorized:
		hint = "set secretRef to a Secret with accesskey and secretkey that may list and read the bucket"
		if f.src.Secret != "" {
			hint = "check accesskey and secretkey of Secret " + f.src.Secret + " and that they may list and read the bucket"
		}
	case answer.StatusCode == http.StatusNotFound:
		hint = "check url, oss.bucketName and oss.region"
	case answer.StatusCode == http.StatusPreconditionFailed:
		hint = "an object changed while it was read; we try again by ourselves"
	case answer.StatusCode >= http.StatusMultipleChoices && answer.StatusCode < http.StatusBadRequest:
		hint = "the bucket is elsewhere: set oss.region and the endpoint of that region"
	case answer.StatusCode >= http.StatusInternalServerError:
		hint = "we try again by ourselves"
	}
	return reason, hint
}
