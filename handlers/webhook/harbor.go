package webhook

import (
	"encoding/json"
	"net/http"
	"time"
)

// harbor is a project's webhook of Harbor, with the payload format Default or
// CloudEvents. Harbor sends its "auth header" as it was typed, which is the secret.
var harbor = Sender{
	MediaTypes:      []string{"application/json", "application/cloudevents+json"},
	SignatureHeader: "Authorization",
	MaxBody:         3 << 20,
	Patience:        2400 * time.Millisecond,
	Verify: func(h http.Header, _ Body, secret []byte, _ []string) error {
		return checkToken(h.Get("Authorization"), secret)
	},
	Parse: parseHarbor,
}

// harborPost is both formats: CloudEvents has data where the default one has event_data.
type harborPost struct {
	Type     json.RawMessage `json:"type"`
	Operator json.RawMessage `json:"operator"`
	Event    json.RawMessage `json:"event_data"`
	Data     json.RawMessage `json:"data"`
}

type harborResource struct {
	URL    json.RawMessage `json:"resource_url"`
	Tag    json.RawMessage `json:"tag"`
	Digest json.RawMessage `json:"digest"`
}

func parseHarbor(_ http.Header, body []byte) (Delivery, error) {
	var post harborPost
	if err := decodeObject(body, &post); err != nil {
		return Delivery{}, err
	}
	raw := post.Event
	switch text(post.Type) {
	case "PUSH_ARTIFACT", "pushImage":
	case "harbor.artifact.pushed":
		raw = post.Data
	default:
		return Delivery{Ignored: Ignored{OtherEvent, "this event is not used, artifact pushed is"}}, nil
	}
	var event struct {
		Resources json.RawMessage `json:"resources"`
	}
	members(raw, &event)
	d := Delivery{Ignored: Ignored{NoImage, "the payload names no image"}}
	elements(event.Resources, func(raw json.RawMessage) bool {
		var r harborResource
		members(raw, &r)
		d.Changes = append(d.Changes, imagePush{
			image: text(r.URL), tag: text(r.Tag), digest: text(r.Digest), pusher: text(post.Operator),
		}.change())
		return len(d.Changes) < maxImages
	})
	if len(d.Changes) > 0 {
		d.Ignored = Ignored{}
	}
	return d, nil
}
