package git

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
	"github.com/tradewind-dev/tradewind/sync/git/internal/remote"
	"github.com/tradewind-dev/tradewind/sync/guard"
)

// The kinds of errors. Time mends ErrUnreachable; a person has to mend the others.
var (
	ErrAuth         = errors.New("authentication refused")
	ErrRepoNotFound = errors.New("repository not found")
	ErrRefNotFound  = errors.New("ref not found")
	ErrUnreachable  = errors.New("server unreachable")
	// ErrRefused is for what Tradewind itself does not accept: a URL, an address, a
	// redirect, a hostile tree, something over a limit.
	ErrRefused = errors.New("refused")
)

// Error is what goes wrong between us and a repository. Its text names the repository,
// never a credential, and repeats nothing the server wrote.
type Error struct {
	Op     string // "fetching", "listing" or "pushing"
	Repo   string // URL without user, query and fragment; "the repository" when refused
	Kind   error  // one of the kinds above; nil when the caller gave up
	Reason string
	// RetryAfter is how long the server asked to be left alone; zero when it did not.
	RetryAfter time.Duration

	hint  string
	cause error
}

func (e *Error) Error() string { return e.Op + " " + e.Repo + ": " + e.Reason }

// Hint says what to do next; it may be empty.
func (e *Error) Hint() string { return e.hint }

// Unwrap gives the kind and the cause. The cause may hold text of the server.
func (e *Error) Unwrap() []error {
	var out []error
	for _, err := range []error{e.Kind, e.cause} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// newError makes err presentable.
func newError(op string, src Source, repo string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok { // presentable already; perhaps shared
		c := *e
		c.Op = op
		return &c
	}
	e := &Error{Op: op, Repo: repo, cause: err}
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		e.hint = h.Hint()
	}
	if errors.Is(err, ErrMoved) {
		e.Kind, e.Reason = ErrMoved, err.Error()
		return e
	}
	if !e.ofPolicy(src, err) && !e.ofServer(src, err) {
		e.ofNetwork(err)
	}
	return e
}

// ofPolicy recognises what we refuse, or what is wrong with a credential.
func (e *Error) ofPolicy(src Source, err error) bool {
	if a, ok := errors.AsType[*remote.AuthError](err); ok {
		e.Kind, e.Reason = ErrAuth, a.Reason
		if src.Secret != "" {
			e.hint = strings.Replace(e.hint, "the secret", "secret "+src.Secret, 1)
		}
		return true
	}
	for _, match := range []func(error) (error, bool){
		as[*remote.URLError], as[*remote.RedirectError], as[*remote.LimitError], as[*guard.BlockedError],
		as[*objects.EntryError], as[*objects.TooManyError], as[*objects.SizeError], as[*refsError],
	} {
		if found, ok := match(err); ok {
			e.Kind, e.Reason = ErrRefused, found.Error()
			return true
		}
	}
	return false
}

func as[T error](err error) (error, bool) { return errors.AsType[T](err) }

// ofServer recognises answers.
func (e *Error) ofServer(src Source, err error) bool {
	if s, ok := errors.AsType[*remote.StatusError](err); ok {
		e.ofStatus(src, s)
		return true
	}
	if errors.Is(err, remote.ErrNotGit) {
		e.Kind, e.Reason = ErrRepoNotFound, err.Error()
		e.hint = "write the clone URL; the server answered with something that is not Git's smart protocol"
		return true
	}
	if text, ok := remoteText(err); ok {
		e.Kind, e.Reason = ErrUnreachable, "the server refused the request"
		if meansNotFound(text) {
			e.notFound(src, "repository not found")
		}
		return true
	}
	if damaged(err) {
		e.Kind, e.Reason = ErrUnreachable, "the server's answer is incomplete: "+cause(err).Error()
		return true
	}
	return false
}

func (e *Error) ofStatus(src Source, s *remote.StatusError) {
	e.RetryAfter = s.RetryAfter
	switch s.Code {
	case 401, 403:
		e.Kind, e.Reason = ErrAuth, fmt.Sprintf("authentication refused (%d)", s.Code)
		e.hint = "name a secret in secretRef; it " + remote.AuthNeeds
		if src.Secret != "" {
			e.hint = "secret " + src.Secret + " " + remote.AuthNeeds
		}
		if e.Op == "pushing" {
			e.hint += ", of somebody who may write to the repository"
		}
	case 404, 410:
		e.notFound(src, fmt.Sprintf("repository not found (%d)", s.Code))
	case 429:
		e.Kind, e.Reason = ErrUnreachable, "the server asks for fewer requests (429)"
	default:
		e.Kind, e.Reason = ErrUnreachable, s.Error()
	}
}

func (e *Error) notFound(src Source, reason string) {
	e.Kind, e.Reason = ErrRepoNotFound, reason
	e.hint = "check the URL; a private repository needs a secret in secretRef"
	if src.Secret != "" {
		e.hint = "check the URL, and that the credential in secret " + src.Secret + " may read the repository"
	}
}

// ofNetwork is everything else.
func (e *Error) ofNetwork(err error) {
	e.Kind = ErrUnreachable
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind, e.Reason = nil, "canceled"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		e.Reason = "the server did not answer in time"
	case isCertificate(err):
		e.Reason = "the server's certificate is not trusted"
		e.hint = "put the certificate authority into the secret under ca.crt"
	default:
		e.Reason = "the exchange with the server broke off"
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			e.Reason = "the host name does not resolve (" + dns.Err + ")"
		} else if no, ok := errors.AsType[syscall.Errno](err); ok {
			e.Reason = no.Error()
		}
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

func isCertificate(err error) bool {
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	return verify || unknown
}

// damaged reports whether the server sent less or other than it announced; starting over
// with an empty store may help.
func damaged(err error) bool { return cause(err) != nil }

func cause(err error) error {
	if e, ok := errors.AsType[*objects.MissingError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*objects.PackError](err); ok {
		return e
	}
	return nil
}

// remoteText is what the server wrote instead of an answer.
func remoteText(err error) (string, bool) {
	if r, ok := errors.AsType[*remote.ServerError](err); ok {
		return r.Line, true
	}
	if p, ok := errors.AsType[*pktline.ErrorLine](err); ok {
		return p.Text, true
	}
	return "", false
}

// meansNotFound knows how servers say over SSH what HTTP has a status for.
func meansNotFound(text string) bool {
	text = strings.ToLower(text)
	for _, phrase := range []string{
		"not found", "does not exist", "does not appear to be a git repository",
		"no such repository", "could not be found", "access denied",
	} {
		if strings.Contains(text, phrase) {
			return true
		}
	}
	return false
}
