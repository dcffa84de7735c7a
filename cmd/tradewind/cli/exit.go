package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The exit codes, for scripts.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2 // wrong usage or configuration
	exitDifferent   = 3 // a difference, drift, or not healthy
	exitNotFound    = 4
	exitTimeout     = 5
	exitForbidden   = 6
	exitInterrupted = 130
)

// exitError is an error that chooses the exit code and may say what to do next.
type exitError struct {
	code  int
	hint  string
	quiet bool // the output said it already
	err   error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usageErrorf(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// exit prints err, if there is one, and returns the exit code.
func (e *env) exit(err error) int {
	if err == nil {
		return exitOK
	}
	code, hint := exitFailure, hintOf(err)
	chosen, ok := errors.AsType[*exitError](err)
	switch {
	case ok:
		code = chosen.code
		if chosen.hint != "" {
			hint = chosen.hint
		}
		if chosen.quiet {
			return code
		}
	case errors.Is(err, context.Canceled):
		code = exitInterrupted
	case strings.HasPrefix(err.Error(), "unknown command"):
		code, hint = exitUsage, "tradewind --help lists the commands"
	}
	fmt.Fprintf(e.stderr, "tradewind: %s\n", strings.TrimSpace(err.Error()))
	if hint != "" {
		fmt.Fprintf(e.stderr, "hint: %s\n", hint)
	}
	return code
}

// hintOf is the next step that the package an error came from knows of.
func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}
