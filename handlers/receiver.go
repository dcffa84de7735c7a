package handlers

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"github.com/tradewind-dev/tradewind/handlers/internal/intake"
	"github.com/tradewind-dev/tradewind/handlers/internal/scope"
	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

// Receiver is one endpoint for one sender: /hooks/<sender>/<id>.
type Receiver struct {
	// ID is the end of the path: letters, digits, - and _. That of an unsigned receiver
	// is all that protects it: 128 random bits or more, from openssl rand -hex 16.
	ID string
	// Name is what logs, metrics and events call it, so that the path stays unknown;
	// empty means the ID, except for an unsigned receiver.
	Name string
	// Sender is the product that posts, see [webhook.Names].
	Sender string
	// Secrets are the shared secret and, while it is being replaced, the one before,
	// which needs an end ([Secret.Until]). Put the new one in front here first, then
	// change the sender, then wait until the previous one is not counted any more.
	Secrets []Secret
	// Scope lists the repositories and images the sender may speak for: host/path, or
	// host/org/* for all below host/org. Whoever administers the hook at the sender knows the secret and
	// can post anything, so what is not listed here is ignored. Required.
	Scope []string
	// Unsigned takes posts without signature, from senders that cannot sign. It must
	// have no secret.
	Unsigned bool
	// Algorithms are those that the generic sender may sign with: sha256, which is the
	// default, and sha512.
	Algorithms []string
	// AllowFrom restricts the addresses that may post; empty means anywhere.
	AllowFrom []netip.Prefix
	// MaxBody replaces the largest body the sender may post: 25 MiB for github and
	// gitlab, 3 MiB for others.
	MaxBody int64
	// Suspended ignores genuine posts for a while, without the sender seeing errors.
	Suspended bool
}

var (
	receiverID   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	receiverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	randomID     = regexp.MustCompile(`^[0-9a-f]{32,128}$`)
)

// Validate refuses a receiver that would accept what nobody vouches for, or nothing.
func (r Receiver) Validate() error {
	sender, ok := webhook.Lookup(r.Sender)
	if !ok {
		return r.errorf("sender %q is not known: want one of %s", r.Sender, strings.Join(webhook.Names(), ", "))
	}
	errs := []error{r.validateKeys(sender)}
	if !receiverID.MatchString(r.ID) {
		errs = append(errs, r.errorf("its id must be 1 to 128 letters, digits, - or _"))
	}
	if !receiverName.MatchString(r.name()) {
		errs = append(errs, r.errorf("its name must be 1 to 63 letters, digits, dots, - or _"))
	}
	for _, a := range r.Algorithms {
		if !slices.Contains(sender.Algorithms, a) {
			errs = append(errs, r.errorf("algorithm %q is not one of the sender's: %q", a, sender.Algorithms))
		}
	}
	if r.MaxBody < 0 {
		errs = append(errs, r.errorf("its largest body must not be negative"))
	}
	if _, err := scope.Parse(r.Scope); err != nil {
		errs = append(errs, r.errorf("%w", err))
	}
	return errors.Join(errs...)
}

func (r Receiver) validateKeys(sender webhook.Sender) error {
	if r.Unsigned {
		switch {
		case !sender.MayBeUnsigned:
			return r.errorf("this sender signs its posts: set a secret instead of unsigned")
		case len(r.Secrets) > 0:
			return r.errorf("it is unsigned and has a secret: remove one of both")
		case !randomID.MatchString(r.ID) || distinct(r.ID) < 8:
			return r.errorf("unsigned, its id must be random: make one with openssl rand -hex 16")
		case r.Name == "" || r.Name == r.ID:
			return r.errorf("unsigned, it needs a name other than its id, which must not appear in logs")
		}
		return nil
	}
	switch {
	case sender.CannotSign:
		return r.errorf("this sender cannot sign its posts: set unsigned, and a random id")
	case len(r.Secrets) == 0:
		return r.errorf("it has no secret: make one with openssl rand -hex 32 and enter it at the sender too")
	case len(r.Secrets) > 2:
		return r.errorf("it has %d secrets: at most the current and the previous one", len(r.Secrets))
	case !r.Secrets[0].expires().IsZero():
		return r.errorf("its first secret is the current one and cannot expire")
	case len(r.Secrets) == 2 && r.Secrets[1].expires().IsZero():
		return r.errorf("its previous secret needs a time until which it is accepted")
	}
	for _, s := range r.Secrets {
		if err := s.Validate(); err != nil {
			return r.errorf("%w", err)
		}
	}
	return nil
}

// errorf names the receiver, but never the path of an unsigned one.
func (r Receiver) errorf(format string, args ...any) error {
	name := r.name()
	if r.Unsigned && (r.Name == "" || r.Name == r.ID) {
		name = "without a name"
	}
	return fmt.Errorf("receiver %s: "+format, append([]any{endpointID(r.Sender, name)}, args...)...)
}

func (r Receiver) name() string {
	if r.Name == "" {
		return r.ID
	}
	return r.Name
}

func distinct(s string) int {
	seen := map[rune]bool{}
	for _, c := range s {
		seen[c] = true
	}
	return len(seen)
}

// endpoint is a receiver at work.
type endpoint struct {
	Receiver
	sender webhook.Sender
	scope  scope.Scope
	rate   *rate.Limiter
	failed *intake.Failures
}

// endpoints is a complete set of them, never changed after it was made.
type endpoints struct {
	byPath map[string]*endpoint
	names  []string // of all, in the order of the configuration
}

func newEndpoints(receivers []Receiver, limits Limits) (*endpoints, error) {
	set := &endpoints{byPath: map[string]*endpoint{}}
	var errs []error
	for _, r := range receivers {
		if err := r.Validate(); err != nil {
			errs = append(errs, err)
			continue
		}
		path := endpointID(r.Sender, r.ID)
		if set.byPath[path] != nil || slices.Contains(set.names, r.name()) {
			errs = append(errs, r.errorf("another receiver has its id or name"))
			continue
		}
		sender, _ := webhook.Lookup(r.Sender)
		if r.MaxBody > 0 {
			sender.MaxBody = r.MaxBody
		}
		covers, _ := scope.Parse(r.Scope)
		limiter := rate.NewLimiter(rate.Limit(limits.PerMinute)/60, limits.Burst)
		if r.Unsigned {
			limiter = rate.NewLimiter(rate.Limit(limits.UnsignedPerMinute)/60, limits.UnsignedPerMinute)
		}
		set.byPath[path] = &endpoint{Receiver: r, sender: sender, scope: covers, rate: limiter, failed: &intake.Failures{}}
		set.names = append(set.names, r.name())
	}
	return set, errors.Join(errs...)
}

// inherit keeps what is known of receivers that stay: a reload must not fill their
// allowance again.
func (e *endpoints) inherit(last *endpoints) {
	for path, old := range last.byPath {
		if now := e.byPath[path]; now != nil && now.Unsigned == old.Unsigned {
			now.rate, now.failed = old.rate, old.failed
		}
	}
}
