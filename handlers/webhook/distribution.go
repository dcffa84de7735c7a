package webhook

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// distribution is the notifications of the CNCF registry, which GitLab's registry is too.
// It is given the secret as a static header:
//
//	notifications:
//	  endpoints:
//	    - url: https://tradewind.example.com/hooks/distribution/<id>
//	      headers: {Authorization: ["Bearer <secret>"]}
//
// It repeats a post that was refused for ever and holds back all later ones, so whatever
// is genuine is taken, readable or not.
var distribution = Sender{
	MediaTypes: []string{
		"application/vnd.docker.distribution.events.v2+json", "application/vnd.docker.distribution.events.v1+json", "application/json",
	},
	SignatureHeader: "Authorization",
	MaxBody:         3 << 20,
	Patience:        800 * time.Millisecond,
	Verify: func(h http.Header, _ Body, secret []byte, _ []string) error {
		return checkToken(h.Get("Authorization"), secret)
	},
	Parse: parseDistribution,
}

type distributionEvent struct {
	Action  json.RawMessage `json:"action"`
	Target  json.RawMessage `json:"target"`
	Request json.RawMessage `json:"request"`
	Actor   json.RawMessage `json:"actor"`
}

type distributionTarget struct {
	MediaType  json.RawMessage `json:"mediaType"`
	Repository json.RawMessage `json:"repository"`
	Tag        json.RawMessage `json:"tag"`
	Digest     json.RawMessage `json:"digest"`
}

func parseDistribution(_ http.Header, body []byte) (Delivery, error) {
	d := Delivery{Ignored: Ignored{OtherEvent, "nothing in it is a pushed tag of an image"}}
	var envelope struct {
		Events json.RawMessage `json:"events"`
	}
	if err := decodeObject(body, &envelope); err != nil {
		d.Ignored.Message = err.Error()
		return d, nil //nolint:nilerr // see above: refusing it would block the registry
	}
	elements(envelope.Events, func(raw json.RawMessage) bool {
		if change, ok := parseDistributionEvent(raw); ok {
			d.Changes = append(d.Changes, change)
		}
		return len(d.Changes) < maxImages
	})
	if len(d.Changes) > 0 {
		d.Ignored = Ignored{}
	}
	return d, nil
}

// parseDistributionEvent leaves out layers, pulls, and manifests without a tag: most of
// what a registry says.
func parseDistributionEvent(raw json.RawMessage) (Change, bool) {
	var event distributionEvent
	var target distributionTarget
	var request struct {
		Host json.RawMessage `json:"host"`
	}
	var actor githubUser
	members(raw, &event)
	members(event.Target, &target)
	members(event.Request, &request)
	members(event.Actor, &actor)
	host, repository, tag := text(request.Host), text(target.Repository), text(target.Tag)
	if text(event.Action) != "push" || tag == "" || host == "" || repository == "" || !isManifest(text(target.MediaType)) {
		return Change{}, false
	}
	return imagePush{
		image: host + "/" + repository, tag: tag, digest: text(target.Digest), pusher: text(actor.Name),
	}.change(), true
}

var manifestTypes = []string{
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
}

func isManifest(mediaType string) bool {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	return slices.Contains(manifestTypes, strings.TrimSpace(mediaType))
}
