package webhook

import (
	"encoding/json"
	"net/http"
	"time"
)

// gitlab is gitlab.com and self-managed GitLab. It proves itself with a secret in clear,
// so each receiver needs one of its own.
var gitlab = Sender{
	MediaTypes:      []string{"application/json"},
	SignatureHeader: "X-Gitlab-Token",
	EventHeader:     "X-Gitlab-Event",
	DeliveryHeader:  "Idempotency-Key",
	FoldsCase:       true,
	MaxBody:         25 << 20,
	Patience:        8 * time.Second,
	Verify: func(h http.Header, _ Body, secret []byte, _ []string) error {
		return checkToken(h.Get("X-Gitlab-Token"), secret)
	},
	Parse: parseGitLab,
}

type gitlabPush struct {
	Kind       json.RawMessage `json:"object_kind"`
	Event      json.RawMessage `json:"event_name"`
	Ref        json.RawMessage `json:"ref"`
	Before     json.RawMessage `json:"before"`
	After      json.RawMessage `json:"after"`
	User       json.RawMessage `json:"user_username"`
	Project    json.RawMessage `json:"project"`
	Repository json.RawMessage `json:"repository"` // the older copy
}

type gitlabProject struct {
	HTTP json.RawMessage `json:"git_http_url"`
	SSH  json.RawMessage `json:"git_ssh_url"`
	Web  json.RawMessage `json:"web_url"`
}

// parseGitLab goes by the body: system hooks have one header for all events.
func parseGitLab(_ http.Header, body []byte) (Delivery, error) {
	var push gitlabPush
	if err := decodeObject(body, &push); err != nil {
		return Delivery{}, err
	}
	kind := text(push.Kind)
	if kind == "" {
		kind = text(push.Event)
	}
	if kind != "push" && kind != "tag_push" {
		return Delivery{Ignored: Ignored{OtherEvent, "this event is not used, push and tag_push are"}}, nil
	}
	var project, repository gitlabProject
	members(push.Project, &project)
	members(push.Repository, &repository)
	var urls []string
	for _, raw := range []json.RawMessage{project.HTTP, project.SSH, project.Web, repository.HTTP, repository.SSH} {
		if u := text(raw); u != "" {
			urls = append(urls, u)
		}
	}
	change := gitPush{
		urls: urls, ref: text(push.Ref), before: text(push.Before), after: text(push.After), pusher: text(push.User),
	}.change()
	return Delivery{Changes: []Change{change}}, nil
}
