package forge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is what went wrong at a forge.
type Error struct {
	Op, Host   string
	Status     int           // of the answer; 0 when there was none
	RetryAfter time.Duration // when the forge said so
	kind       Kind
	limited    bool
	err        error
}

// answerError is an answer that says no, in what way ever a library puts it.
type answerError struct {
	resp *http.Response
	text string // what the forge says
}

func (e *answerError) Error() string { return e.text }

// answered turns the error of a library into one that has the answer.
func answered(resp *http.Response, text string, err error) error {
	if err == nil || resp == nil || resp.StatusCode < 300 {
		return err
	}
	return &answerError{resp, text}
}

const maxText = 200 // bytes of what a forge says

func newError(op string, at place, err error) error {
	e := &Error{Op: op, Host: at.host, kind: at.kind, err: err}
	answer, ok := errors.AsType[*answerError](err)
	if !ok {
		return e
	}
	header := answer.resp.Header
	e.Status = answer.resp.StatusCode
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds >= 0 {
		e.RetryAfter = min(time.Duration(seconds)*time.Second, time.Hour)
	}
	// GitHub answers 403 for both of its limits.
	e.limited = e.Status == http.StatusTooManyRequests ||
		e.Status == http.StatusForbidden && (header.Get("X-RateLimit-Remaining") == "0" || header.Get("Retry-After") != "")
	return e
}

// Denied reports whether the token may not do it. Trying again is of no use.
func (e *Error) Denied() bool {
	return !e.limited && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Status == http.StatusNotFound)
}

// Retriable reports whether time may mend it.
func (e *Error) Retriable() bool {
	switch {
	case errors.Is(e.err, context.Canceled), errors.Is(e.err, ErrNoForge):
		return false
	case e.Status == 0, e.limited, e.Status >= 500:
		return true
	}
	return false
}

func (e *Error) Error() string {
	host := cmp.Or(e.Host, "the forge")
	if e.Status == 0 {
		return fmt.Sprintf("%s at %s: %v", e.Op, host, e.err)
	}
	text := ""
	if e.err != nil {
		text = strings.Join(strings.Fields(e.err.Error()), " ")
	}
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	if text != "" {
		text = ": " + text
	}
	return fmt.Sprintf("%s at %s: it answered %d%s", e.Op, host, e.Status, text)
}

// Unwrap returns what was behind it.
func (e *Error) Unwrap() error { return e.err }

// Hint is what to do about it.
func (e *Error) Hint() string {
	switch {
	case errors.Is(e.err, ErrNoForge):
		return "say what it is under forges, such as git.example.com: gitlab"
	case e.limited:
		return "it limits how often it is asked; it is tried again later"
	case e.Denied() && e.kind == GitHub:
		return "the token needs the permissions contents, pull requests and commit statuses (write) for the repository"
	case e.Denied():
		return "the token needs the scope api for the repository, or tokenSecretRef another one"
	}
	var hinted interface{ Hint() string }
	if errors.As(e.err, &hinted) {
		return hinted.Hint()
	}
	return ""
}
