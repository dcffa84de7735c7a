package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/tradewind-dev/tradewind/events"
)

// maxImages is how many images one post may announce; registries batch a few events.
const maxImages = 100

// imagePush is a pushed tag as senders describe it, unchecked.
type imagePush struct {
	image, tag, digest string
	pusher             string
}

// change is what all registry senders do with a push. A tag that the image itself carries
// counts when there is none beside it. What is no digest is not known.
func (p imagePush) change() Change {
	if p.image == "" {
		return Change{Ignored: Ignored{NoImage, "the payload names no image"}}
	}
	key, tag, digest, err := events.SplitImage(p.image)
	if err != nil {
		return Change{Ignored: Ignored{NoImage, err.Error()}}
	}
	if p.tag == "" {
		p.tag = tag
	}
	if p.digest == "" {
		p.digest = digest
	}
	c := Change{Images: []string{key}}
	switch {
	case p.tag == "" || events.ValidDigest(p.tag):
		c.Ignored = Ignored{Untagged, "it was pushed without a tag"}
		return c
	case !events.ValidImageTag(p.tag):
		c.Ignored = Ignored{Untagged, "its tag is none that a policy could choose"}
		return c
	}
	c.Published = events.ArtifactPublished{Tag: p.tag, Pusher: plain(p.pusher)}
	if digest := strings.ToLower(p.digest); events.ValidDigest(digest) {
		c.Published.Digest = digest
	}
	return c
}

// checkToken compares a shared secret that a sender sends in clear, by itself or as a
// bearer token. Neither its length nor where it differs shows in the time it takes.
func checkToken(value string, secret []byte) error {
	if value == "" {
		return ErrUnsigned
	}
	if len(secret) == 0 {
		return ErrSignature
	}
	want := sha256.Sum256(secret)
	bare, bearer := sha256.Sum256([]byte(value)), sha256.Sum256([]byte(strings.TrimPrefix(value, "Bearer ")))
	if subtle.ConstantTimeCompare(want[:], bare[:])|subtle.ConstantTimeCompare(want[:], bearer[:]) != 1 {
		return ErrSignature
	}
	return nil
}
