package webhook

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/tradewind-dev/tradewind/events"
)

func FuzzGitHub(f *testing.F)       { fuzz(f, "github") }
func FuzzGitLab(f *testing.F)       { fuzz(f, "gitlab") }
func FuzzHarbor(f *testing.F)       { fuzz(f, "harbor") }
func FuzzDistribution(f *testing.F) { fuzz(f, "distribution") }
func FuzzDockerHub(f *testing.F)    { fuzz(f, "dockerhub") }
func FuzzGeneric(f *testing.F)      { fuzz(f, "generic") }

// fuzz feeds a sender with anything. What comes out is fit for queue, log and git.
func fuzz(f *testing.F, name string) {
	f.Helper()
	s, _ := Lookup(name)
	for _, p := range payloads(f, name) {
		f.Add(p.body, p.header.Get("X-GitHub-Event"), p.header.Get("Content-Type"), "sha256="+sum256)
	}
	f.Add([]byte("payload=%7B%7D"), "push", formType, "sha256=")
	f.Add([]byte(strings.Repeat(`{"repository":`, 70)), "push", "application/json", "sha1=")
	f.Fuzz(func(t *testing.T, body []byte, event, mediaType, signature string) {
		h := http.Header{"X-Github-Event": {event}, "Content-Type": {mediaType}, http.CanonicalHeaderKey(s.SignatureHeader): {signature}}
		if err := s.Verify(h, Body{body}, []byte("another secret than the seeds'"), s.Algorithms); err == nil {
			t.Errorf("%q passes for a signature", signature)
		}
		before := bytes.Clone(body)
		d, err := s.Parse(h, body)
		if !bytes.Equal(before, body) {
			t.Error("the body was changed")
		}
		if err == nil && len(d.Changes) == 0 && d.Ignored.Reason == "" {
			t.Error("nothing, and no reason")
		}
		for _, c := range d.Changes {
			checkChange(t, s, c)
		}
	})
}

func checkChange(t *testing.T, s Sender, c Change) {
	t.Helper()
	if c.Ignored.Reason != "" {
		if !slices.Contains(Reasons(), c.Ignored.Reason) || c.Ignored.Message == "" {
			t.Errorf("ignored for %+v", c.Ignored)
		}
		return
	}
	if len(c.Images) > 0 {
		checkImage(t, c)
		return
	}
	p := c.Push
	if !ValidRef(p.Ref) || !strings.HasPrefix(p.Ref, "refs/heads/") && !strings.HasPrefix(p.Ref, "refs/tags/") {
		t.Errorf("ref %q", p.Ref)
	}
	for _, id := range []string{p.Before, p.After} {
		if id != "" && (!hexID.MatchString(id) || strings.Trim(id, "0") == "") {
			t.Errorf("id %q", id)
		}
	}
	if len(p.Pusher) > maxPlain || strings.ContainsFunc(p.Pusher, unicode.IsControl) {
		t.Errorf("pusher %q", p.Pusher)
	}
	if p.Deleted && p.After != "" {
		t.Errorf("deleted, and now at %s", p.After)
	}
	if len(c.URLs) == 0 || len(c.Keys(nil, s.FoldsCase)) > 2*len(c.URLs) {
		t.Errorf("%d URLs, keys %q", len(c.URLs), c.Keys(nil, s.FoldsCase))
	}
}

func checkImage(t *testing.T, c Change) {
	t.Helper()
	for _, key := range c.Images {
		if again, err := events.ImageKey(key); err != nil || again != key {
			t.Errorf("image %q is no key: %q, %v", key, again, err)
		}
	}
	p := c.Published
	if !events.ValidImageTag(p.Tag) || p.Digest != "" && !events.ValidDigest(p.Digest) {
		t.Errorf("tag %q, digest %q", p.Tag, p.Digest)
	}
	if len(p.Pusher) > maxPlain || strings.ContainsFunc(p.Pusher, unicode.IsControl) || c.Push.Ref != "" {
		t.Errorf("pusher %q, push %+v", p.Pusher, c.Push)
	}
}
