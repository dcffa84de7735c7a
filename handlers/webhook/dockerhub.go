package webhook

import (
	"encoding/json"
	"net/http"
	"time"
)

// dockerhub cannot sign: the path of its receiver is all that protects it, and its events
// can cause no more than a question to the registry. The callback_url it sends is never
// asked for.
var dockerhub = Sender{
	MediaTypes:    []string{"application/json"},
	MayBeUnsigned: true,
	CannotSign:    true,
	MaxBody:       3 << 20,
	Patience:      4 * time.Second,
	Verify:        func(http.Header, Body, []byte, []string) error { return ErrUnsigned },
	Parse:         parseDockerHub,
}

func parseDockerHub(_ http.Header, body []byte) (Delivery, error) {
	var post struct {
		Push       json.RawMessage `json:"push_data"`
		Repository json.RawMessage `json:"repository"`
	}
	if err := decodeObject(body, &post); err != nil {
		return Delivery{}, err
	}
	var push struct {
		Tag    json.RawMessage `json:"tag"`
		Pusher json.RawMessage `json:"pusher"`
	}
	var repository struct {
		Name json.RawMessage `json:"repo_name"`
	}
	members(post.Push, &push)
	members(post.Repository, &repository)
	p := imagePush{tag: text(push.Tag), pusher: text(push.Pusher)}
	if name := text(repository.Name); name != "" {
		p.image = "docker.io/" + name
	}
	return Delivery{Changes: []Change{p.change()}}, nil
}
