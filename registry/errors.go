package registry

import (
	"fmt"
	"time"
)

// Kind says what is wrong between us and a registry, and so whose move it is.
type Kind string

// The kinds of errors. Time mends RateLimited and Unavailable; a person the others.
const (
	Unauthorized Kind = "authentication refused"
	Forbidden    Kind = "access refused"
	NotFound     Kind = "not found"
	RateLimited  Kind = "rate limited"
	Unavailable  Kind = "registry unavailable"
	TooLarge     Kind = "answer too large"
	Malformed    Kind = "answer malformed"
	Blocked      Kind = "refused by Tradewind"
)

// Error is what goes wrong with a registry. Its text repeats nothing the server wrote.
type Error struct {
	Kind   Kind
	Op     string // "listing tags of" or another gerund that the image follows
	Image  Image
	Tag    string // the tag or digest asked for; may be empty
	Status int    // of HTTP; 0 when there was none
	Detail string // more about Kind; may be empty
	// RetryAfter is how long the registry wants to be left alone; zero when it did not say.
	RetryAfter time.Duration
	Err        error // the cause; may be nil

	hint string
}

func (e *Error) Error() string {
	ref := Reference{Image: e.Image}
	if ValidDigest(e.Tag) {
		ref.Digest = e.Tag
	} else {
		ref.Tag = e.Tag
	}
	text := e.Op + " " + ref.String() + ": " + string(e.Kind)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Status != 0 {
		text += fmt.Sprintf(" (%d)", e.Status)
	}
	return text
}

// Unwrap gives the cause, which may hold text of the server.
func (e *Error) Unwrap() error { return e.Err }

// Retriable reports whether the same call may succeed later without anybody's doing.
func (e *Error) Retriable() bool { return e.Kind == RateLimited || e.Kind == Unavailable }

// Hint is what to do next; it may be empty.
func (e *Error) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	host := e.Image.Host
	switch e.Kind {
	case Unauthorized:
		return "set imageRepository.secretRef to a docker-registry Secret with credentials for " + host
	case Forbidden:
		return "the credentials are known to " + host + " but may not read this repository; give them pull rights"
	case NotFound:
		if e.Tag != "" {
			return "the registry does not have this tag; it may have been deleted, or not be pushed yet"
		}
		return "check imageRepository.image; some registries also answer 404 for a private image without credentials"
	case RateLimited:
		return "we go on by ourselves; credentials (imageRepository.secretRef) or a longer imageRepository.interval raise the limit"
	case Unavailable:
		return "we try again by ourselves; check that " + host + " can be reached from the worker"
	case TooLarge:
		return "delete old tags, or keep fewer; webhooks of this image still work"
	case Malformed, Blocked:
		return "check that " + host + " is an OCI registry"
	}
	return ""
}

// RedirectError is a redirect that would lead away from the registry.
type RedirectError struct{ From, To string }

func (e *RedirectError) Error() string { return fmt.Sprintf("%s redirects to %s", e.From, e.To) }
