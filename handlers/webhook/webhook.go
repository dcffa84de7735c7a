// Package webhook knows the products that post webhooks. For each there is one [Sender]:
// what its posts look like, how one proves that it is genuine (Verify), and what it says
// (Parse). Both take the bytes as received, are pure functions and may be called by
// anyone with anything: whatever the input, they end soon, in bounded memory, and never
// panic.
//
// What comes out is normalized and checked: refs follow git's grammar, object ids are
// lower-case hex, texts are short. It is still only a hint (requirement R2): nothing of it
// is fetched, opened or handed to git.
//
// A sender is one file here, one line in [senders] and one folder in testdata.
package webhook

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/events"
)

// Body is a body as received, in pieces: one that is not known to be genuine is not worth
// joining.
type Body [][]byte

// Sender is one product that posts.
type Sender struct {
	// MediaTypes are what its bodies are posted as.
	MediaTypes []string
	// SignatureHeader proves, EventHeader says what happened, DeliveryHeader numbers the
	// post; empty where the product has none. None of them may come twice: we would read
	// the first, a proxy in front of us perhaps the last.
	SignatureHeader, EventHeader, DeliveryHeader string
	// Algorithms are those a receiver may allow; the first is the default. A product that
	// signs in one fixed way has none.
	Algorithms []string
	// MayBeUnsigned is set where posts without signature are normal.
	MayBeUnsigned bool
	// CannotSign is set where there is no other way.
	CannotSign bool
	// FoldsCase is set where repositories have one name in any case.
	FoldsCase bool
	// MaxBody is the largest body worth reading.
	MaxBody int64
	// Patience is how long we may take to store an event: 0.8 of what the product waits
	// for an answer (requirement R4).
	Patience time.Duration

	// Verify says whether the body was signed with the secret; the error is
	// [ErrUnsigned] or [ErrSignature]. Algorithms are those the receiver allows.
	Verify func(h http.Header, body Body, secret []byte, algorithms []string) error
	// Parse says what the post is about. An error is a [*MalformedError]. It is only
	// called for what Verify has passed.
	Parse func(h http.Header, body []byte) (Delivery, error)
}

// senders is never written to.
var senders = map[string]Sender{
	"github":       github,
	"gitlab":       gitlab,
	"harbor":       harbor,
	"distribution": distribution,
	"dockerhub":    dockerhub,
	"generic":      generic,
}

// Lookup finds a sender by its name.
func Lookup(name string) (Sender, bool) {
	s, ok := senders[name]
	return s, ok
}

// Names lists the senders.
func Names() []string { return slices.Sorted(maps.Keys(senders)) }

// Delivery is what a post says: changes, or why there are none.
type Delivery struct {
	Changes []Change `json:"changes,omitempty"`
	Ignored Ignored  `json:"ignored,omitzero"`
}

// Change is one thing that happened: a ref moved, or a tag of an image was pushed. Its place in the list is part of its identity, so
// ignored ones stay in.
type Change struct {
	// URLs is every URL the sender gave for the repository, as written; see [Change.Keys].
	URLs []string `json:"urls,omitempty"`
	// Push says which ref moved; Repos is left empty.
	Push events.SourcePushed `json:"push,omitzero"`
	// Images is every key of the image that the sender gave, and Published the tag; its
	// Images is left empty.
	Images    []string                 `json:"images,omitempty"`
	Published events.ArtifactPublished `json:"published,omitzero"`
	Ignored   Ignored                  `json:"ignored,omitzero"`
}

// Keys returns the canonical keys of the URLs that have one, in their order and without
// repetition. A host with an alias appears under both.
func (c Change) Keys(aliases events.HostAliases, fold bool) []string {
	var keys []string
	add := func(key string, err error) {
		if err == nil && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, url := range c.URLs {
		key, err := events.RepoKey(url)
		add(key, err)
		if len(aliases) > 0 {
			add(aliases.RepoKey(url))
		}
		if fold {
			add(events.FoldRepoKey(key), err)
		}
	}
	return keys
}

// ImageKeys returns the keys of the image. A host with an alias appears under both.
func (c Change) ImageKeys(aliases events.HostAliases) []string {
	keys := slices.Clone(c.Images)
	for _, key := range c.Images {
		host, path, _ := strings.Cut(key, "/")
		if to, ok := aliases[host]; ok && !slices.Contains(keys, to+"/"+path) {
			keys = append(keys, to+"/"+path)
		}
	}
	return keys
}

// Reason is why something genuine was ignored; the values are metric labels.
type Reason string

// The reasons. The last four are given by package handlers.
const (
	Ping         Reason = "ping"
	OtherEvent   Reason = "event"
	NoRepository Reason = "repository"
	BadRef       Reason = "ref"
	Unmoved      Reason = "unmoved"
	NoImage      Reason = "image"
	Untagged     Reason = "untagged"
	OutOfScope   Reason = "scope"
	TooLarge     Reason = "size"
	Unwatched    Reason = "unwatched"
	Suspended    Reason = "suspended"
)

// Reasons lists all of them.
func Reasons() []Reason {
	return []Reason{Ping, OtherEvent, NoRepository, BadRef, Unmoved, NoImage, Untagged, OutOfScope, TooLarge, Unwatched, Suspended}
}

// Ignored says why there is nothing to do, to a metric and to a person.
type Ignored struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"` // one sentence without full stop
}

// MalformedError says what is wrong with a genuine body. It quotes nothing of it.
type MalformedError struct{ Problem, Hint string }

func (e *MalformedError) Error() string { return e.Problem }

// CheckHeader refuses a post whose meaning depends on which of two headers is read.
func (s Sender) CheckHeader(h http.Header) error {
	for _, name := range []string{s.SignatureHeader, s.EventHeader, s.DeliveryHeader} {
		if len(h.Values(name)) > 1 {
			return &MalformedError{fmt.Sprintf("the header %s came more than once", name), "send it once"}
		}
	}
	return nil
}

// Only what looks like an id or a name goes on into logs and events.
var (
	deliveryID = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	eventName  = regexp.MustCompile(`^[a-z][a-z0-9_.:-]{0,63}$`)
)

// DeliveryID is the sender's own number of the post when it is a UUID, as all of them
// are; it is not signed.
func (s Sender) DeliveryID(h http.Header) string {
	if id := h.Get(s.DeliveryHeader); s.DeliveryHeader != "" && deliveryID.MatchString(id) {
		return id
	}
	return ""
}

// Event is the sender's word for what happened, when it is one.
func (s Sender) Event(h http.Header) string {
	if s.EventHeader == "" {
		return "push"
	}
	if name := h.Get(s.EventHeader); eventName.MatchString(name) {
		return name
	}
	return ""
}
