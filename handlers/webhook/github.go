package webhook

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// github is github.com and GitHub Enterprise Server. Gitea and Forgejo sign in the same
// way and send the same headers beside their own, so they fit too. The older SHA-1
// header is not looked at, whether or not the newer one is there.
var github = Sender{
	MediaTypes:      []string{"application/json", formType},
	SignatureHeader: "X-Hub-Signature-256",
	EventHeader:     "X-Github-Event",
	DeliveryHeader:  "X-Github-Delivery",
	FoldsCase:       true,
	MaxBody:         25 << 20,
	Patience:        8 * time.Second,
	Verify: func(h http.Header, body Body, secret []byte, _ []string) error {
		return checkMAC(h.Get("X-Hub-Signature-256"), body, secret, []string{"sha256"})
	},
	Parse: parseGitHub,
}

const formType = "application/x-www-form-urlencoded"

func parseGitHub(h http.Header, body []byte) (Delivery, error) {
	event := h.Get("X-Github-Event")
	if event == "" {
		return Delivery{}, &MalformedError{"the header X-GitHub-Event is missing", "it says what happened, for example push"}
	}
	body, err := githubPayload(h, body)
	if err != nil {
		return Delivery{}, err
	}
	switch event {
	case "push":
		return parseGitHubPush(body)
	case "package", "registry_package":
		return parseGitHubPackage(event, body)
	case "ping":
		return Delivery{Ignored: Ignored{Ping, "the webhook reaches Tradewind and its secret fits"}}, nil
	}
	return Delivery{Ignored: Ignored{OtherEvent, "this event is not used, push, package and registry_package are"}}, nil
}

// githubPayload is the JSON of a post; in form mode, which is what the API sets up
// unless told otherwise, it is one parameter.
func githubPayload(h http.Header, body []byte) ([]byte, error) {
	if mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || mediaType != formType {
		return body, nil
	}
	var payload *string
	for pair := range strings.SplitSeq(string(body), "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name != "payload" {
			continue
		}
		if payload != nil {
			return nil, &MalformedError{"the form has two payloads", ""}
		}
		value, err := url.QueryUnescape(value)
		if err != nil {
			return nil, &MalformedError{"the payload of the form has a broken percent-escape", ""}
		}
		payload = &value
	}
	if payload == nil || *payload == "" {
		return nil, &MalformedError{"the form has no payload", "choose application/json as content type of the webhook"}
	}
	return []byte(*payload), nil
}

// Every field is decoded for itself: the many that we do not need may hold anything.
type githubPush struct {
	Ref        json.RawMessage `json:"ref"`
	Before     json.RawMessage `json:"before"`
	After      json.RawMessage `json:"after"`
	Deleted    json.RawMessage `json:"deleted"`
	Repository json.RawMessage `json:"repository"`
	Pusher     json.RawMessage `json:"pusher"`
}

type githubRepository struct {
	Clone  json.RawMessage `json:"clone_url"`
	SSH    json.RawMessage `json:"ssh_url"`
	Git    json.RawMessage `json:"git_url"`
	HTML   json.RawMessage `json:"html_url"`
	Mirror json.RawMessage `json:"mirror_url"` // null but for mirrors
}

type githubUser struct {
	Name json.RawMessage `json:"name"`
}

func parseGitHubPush(body []byte) (Delivery, error) {
	var push githubPush
	if err := decodeObject(body, &push); err != nil {
		return Delivery{}, err
	}
	var repo githubRepository
	var pusher githubUser
	members(push.Repository, &repo)
	members(push.Pusher, &pusher)
	var urls []string
	for _, raw := range []json.RawMessage{repo.Clone, repo.SSH, repo.Git, repo.HTML, repo.Mirror} {
		if u := text(raw); u != "" {
			urls = append(urls, u)
		}
	}
	change := gitPush{
		urls: urls, ref: text(push.Ref), before: text(push.Before), after: text(push.After),
		deleted: isTrue(push.Deleted), pusher: text(pusher.Name),
	}.change()
	return Delivery{Changes: []Change{change}}, nil
}
