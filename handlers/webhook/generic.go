package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// generic is anything that can run curl: a post-receive hook, a CI job, a forge that has
// no sender of its own. It posts JSON
//
//	{
//	  "repository": "https://git.example.com/team/app.git",
//	  "ref": "refs/heads/main",
//	  "after": "6f9619ff8b86d011b42d00c04fc964ff00000000"
//	}
//
// with the header
//
//	X-Signature: sha256=<hex HMAC-SHA256 of the body, keyed with the secret>
//
// or, for a pushed image,
//
//	{"image": "registry.example.com/team/app", "tag": "v1.2.3", "digest": "sha256:…"}
//
// where digest is optional and the tag may be part of the image.
//
// A repository with several addresses gives "repositories", a list of up to 20 instead
// (or as well). ref is a full name. after, before, deleted and pusher are optional; an
// after of zeros says that the ref is gone. sha512 in place of sha256 is accepted where
// the receiver allows it.
var generic = Sender{
	MediaTypes:      []string{"application/json"},
	SignatureHeader: "X-Signature",
	Algorithms:      []string{"sha256", "sha512"},
	MayBeUnsigned:   true,
	MaxBody:         3 << 20,
	Patience:        4 * time.Second,
	Verify: func(h http.Header, body Body, secret []byte, algorithms []string) error {
		if len(algorithms) == 0 {
			algorithms = []string{"sha256"}
		}
		return checkMAC(h.Get("X-Signature"), body, secret, algorithms)
	},
	Parse: parseGeneric,
}

const maxURLs = 20 // of one repository; more would not fit into an event

func parseGeneric(_ http.Header, body []byte) (Delivery, error) {
	var push struct {
		Repository   json.RawMessage `json:"repository"`
		Repositories json.RawMessage `json:"repositories"`
		Ref          json.RawMessage `json:"ref"`
		Before       json.RawMessage `json:"before"`
		After        json.RawMessage `json:"after"`
		Deleted      json.RawMessage `json:"deleted"`
		Pusher       json.RawMessage `json:"pusher"`
		Image        json.RawMessage `json:"image"`
		Tag          json.RawMessage `json:"tag"`
		Digest       json.RawMessage `json:"digest"`
	}
	if err := decodeObject(body, &push); err != nil {
		return Delivery{}, err
	}
	if image := text(push.Image); image != "" {
		change := imagePush{image: image, tag: text(push.Tag), digest: text(push.Digest), pusher: text(push.Pusher)}.change()
		return Delivery{Changes: []Change{change}}, nil
	}
	urls, ok := texts(push.Repositories, maxURLs)
	if !ok {
		return Delivery{}, &MalformedError{
			fmt.Sprintf("repositories has more than %d elements", maxURLs), "post each repository for itself",
		}
	}
	if url := text(push.Repository); url != "" {
		urls = append([]string{url}, urls...)
	}
	change := gitPush{
		urls: urls, ref: text(push.Ref), before: text(push.Before), after: text(push.After),
		deleted: isTrue(push.Deleted), pusher: text(push.Pusher),
	}.change()
	return Delivery{Changes: []Change{change}}, nil
}
