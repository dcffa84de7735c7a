package events

import (
	"errors"
	"time"
)

// A handler's error decides what becomes of the work, and only package queue acts on it:
// nil is done, [Skip] is done with nothing to do, [Drop] parks it for a human,
// [RetryAfter] tries again after a set time, anything else is retried by the table of
// delays in package queue.
type verdictError struct {
	verdict Verdict
	delay   time.Duration
	err     error
}

func (e *verdictError) Error() string { return e.err.Error() }
func (e *verdictError) Unwrap() error { return e.err }

// Verdict is what a handler made of its work; the strings are metric label values.
type Verdict string

// The verdicts.
const (
	Done    Verdict = "done"
	Skipped Verdict = "skip"
	Retry   Verdict = "retry"
	Dropped Verdict = "drop"
)

// Skip says there was nothing to do, and why. It is not a failure.
func Skip(reason string) error {
	return &verdictError{verdict: Skipped, err: errors.New(reason)}
}

// Drop says that no retry can help; the work is parked until something changes.
func Drop(err error) error {
	return &verdictError{verdict: Dropped, err: err}
}

// RetryAfter asks for another look after d, whatever the table of delays says.
func RetryAfter(d time.Duration, err error) error {
	return &verdictError{verdict: Retry, delay: d, err: err}
}

// Judge reads the verdict out of a handler's error. The delay is zero unless
// [RetryAfter] set one.
func Judge(err error) (Verdict, time.Duration) {
	if err == nil {
		return Done, 0
	}
	if v, ok := errors.AsType[*verdictError](err); ok {
		return v.verdict, v.delay
	}
	return Retry, 0
}
