package webhook

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/tradewind-dev/tradewind/events"
)

// gitPush is a push as senders describe it, unchecked.
type gitPush struct {
	urls               []string
	ref, before, after string
	deleted            bool
	pusher             string
}

// change is what all Git senders do with a push. Ids that are not ids are unknown, an
// all-zero one says that there was none before or is none after, whatever the flags say.
func (p gitPush) change() Change {
	c := Change{URLs: p.urls, Push: events.SourcePushed{Ref: p.ref, Pusher: plain(p.pusher)}}
	if len(p.urls) == 0 {
		return Change{Ignored: Ignored{NoRepository, "the payload names no repository"}}
	}
	if c.Ignored = checkRef(p.ref); c.Ignored.Reason != "" {
		return Change{URLs: p.urls, Ignored: c.Ignored}
	}
	before, fromZero := objectID(p.before)
	after, toZero := objectID(p.after)
	switch {
	case fromZero && toZero:
		c.Ignored = Ignored{Unmoved, "before and after are both zero, so nothing moved"}
	case after != "" && before == after:
		c.Ignored = Ignored{Unmoved, "before and after are the same, so nothing moved"}
	}
	c.Push.Before, c.Push.After = before, after
	c.Push.Deleted = toZero || after == "" && p.deleted
	return c
}

var hexID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// objectID is the id in lower case, or empty when it is none. Zero is set when all its
// digits are 0, which is how git says that there is no object.
func objectID(s string) (id string, zero bool) {
	s = strings.ToLower(s)
	if !hexID.MatchString(s) {
		return "", false
	}
	if strings.Trim(s, "0") == "" {
		return "", true
	}
	return s, false
}

func checkRef(ref string) Ignored {
	switch {
	case !ValidRef(ref):
		return Ignored{BadRef, "invalid ref: want the full name, as refs/heads/main or refs/tags/v1"}
	case !strings.HasPrefix(ref, "refs/heads/") && !strings.HasPrefix(ref, "refs/tags/"):
		return Ignored{BadRef, "the ref is neither a branch nor a tag"}
	}
	return Ignored{}
}

const maxRef = 1024 // longer than any forge allows

// ValidRef says whether ref is the full name of a ref by the rules of git
// check-ref-format. A replacement character is refused too: it stands for bytes that
// JSON could not carry, so the name is not known.
func ValidRef(ref string) bool {
	rest, ok := strings.CutPrefix(ref, "refs/")
	if !ok || len(ref) > maxRef || !utf8.ValidString(ref) || strings.HasSuffix(ref, ".") || !strings.Contains(rest, "/") {
		return false
	}
	for _, never := range []string{"..", "@{", "\ufffd"} {
		if strings.Contains(ref, never) {
			return false
		}
	}
	if strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }) {
		return false
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}
