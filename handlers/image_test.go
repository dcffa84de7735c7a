package handlers

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

const testDigest = "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"

func distributionPush(host, tag string) string {
	return `{"events":[{"action":"push","target":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + testDigest +
		`","repository":"acme/app","tag":"` + tag + `"},"request":{"host":"` + host + `"},"actor":{"name":"ci"}}]}`
}

func distributionReceiver() Receiver {
	r := githubReceiver()
	r.ID, r.Sender, r.Name, r.Scope = "acme-images", "distribution", "images", []string{"registry.example.com/acme/*"}
	return r
}

func bearer() http.Header {
	return http.Header{"Content-Type": {"application/vnd.docker.distribution.events.v2+json"}, "Authorization": {"Bearer " + testSecret}}
}

func TestImagePush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *HooksConfig) {
		c.Receivers = []Receiver{distributionReceiver()}
		c.Aliases = events.HostAliases{"registry:5000": "registry.example.com"}
	})
	const path = "/hooks/distribution/acme-images"
	if r := w.post(t, path, bearer(), distributionPush("registry:5000", "v1")); r.status != http.StatusAccepted || r.Status != "queued" {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	ev := w.store.all()[0]
	image, err := ev.Published()
	if err != nil {
		t.Fatal(err)
	}
	want := events.ArtifactPublished{Images: []string{"registry.example.com/acme/app"}, Tag: "v1", Digest: testDigest, Pusher: "ci"}
	if diff := cmp.Diff(want, image); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	if ev.Subject != "registry.example.com/acme/app:v1" || ev.Source != "/hooks/distribution/images" {
		t.Errorf("subject %q, source %q", ev.Subject, ev.Source)
	}
	if log := w.log.String(); !strings.Contains(log, `"image":"registry.example.com/acme/app:v1"`) || strings.Contains(log, testSecret) {
		t.Errorf("log: %s", log)
	}
	if r := w.post(t, path, bearer(), distributionPush("registry:5000", "v1")); r.Status != "duplicate" {
		t.Errorf("again: %s", r.body)
	}
}

func TestImageOutOfScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *HooksConfig) { c.Receivers = []Receiver{distributionReceiver()} })
	r := w.post(t, "/hooks/distribution/acme-images", bearer(), distributionPush("registry.example.com.evil.example", "v1"))
	if r.status != http.StatusOK || len(w.store.all()) != 0 {
		t.Errorf("answered %d %s, stored %d", r.status, r.body, len(w.store.all()))
	}
	if got := w.metric(t, "tradewind_webhook_ignored_total", "sender", "distribution", "reason", string(webhook.OutOfScope)); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// A registry repeats what was refused for ever, so only a wrong secret is.
func TestDistributionIsNeverBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *HooksConfig) { c.Receivers = []Receiver{distributionReceiver()} })
	for _, body := range []string{"", "[]", "{", `{"events":null}`, `{"events":[{"action":"push"}]}`, distributionPush("registry.example.com", "-x")} {
		if r := w.post(t, "/hooks/distribution/acme-images", bearer(), body); r.status != http.StatusOK {
			t.Errorf("%q: answered %d %s", body, r.status, r.body)
		}
	}
	h := bearer()
	h.Set("Authorization", "Bearer wrong")
	if r := w.post(t, "/hooks/distribution/acme-images", h, distributionPush("registry.example.com", "v1")); r.status != http.StatusUnauthorized {
		t.Errorf("wrong secret: answered %d", r.status)
	}
}

// What strangers and broken configurations post to the senders that prove themselves with
// a secret in clear.
func TestTokenSendersRefuse(t *testing.T) {
	t.Parallel()
	gitlab, harbor := githubReceiver(), distributionReceiver()
	gitlab.ID, gitlab.Sender, gitlab.Name = "acme-gitlab", "gitlab", "gitlab"
	harbor.ID, harbor.Sender, harbor.Name = "acme-harbor", "harbor", "harbor"
	hub := distributionReceiver()
	hub.ID, hub.Sender, hub.Name, hub.Secrets, hub.Unsigned = "0f3a9c1d5e7b2846a0c4e8f1b3d59762", "dockerhub", "hub", nil, true
	hub.Scope = []string{"docker.io/acme/*"}
	w := newWorld(t, func(c *HooksConfig) {
		c.Receivers = []Receiver{gitlab, harbor, distributionReceiver(), hub}
		c.Limits.UnsignedPerMinute = 1000
	})
	for _, tt := range []struct {
		name, path string
		header     http.Header
		body       string
		want       int
	}{
		{"gitlab without a token", "gitlab/acme-gitlab", http.Header{}, `{}`, 401},
		{"gitlab with another", "gitlab/acme-gitlab", http.Header{"X-Gitlab-Token": {"x"}}, `{}`, 401},
		{"gitlab with two", "gitlab/acme-gitlab", http.Header{"X-Gitlab-Token": {testSecret, "x"}}, `{}`, 400},
		{"gitlab with the token elsewhere", "gitlab/acme-gitlab?token=" + strings.ReplaceAll(testSecret, " ", "+"), http.Header{}, `{}`, 401},
		{"gitlab, cut off", "gitlab/acme-gitlab", http.Header{"X-Gitlab-Token": {testSecret}}, `{"object_kind":"push"`, 400},
		{"gitlab, compressed", "gitlab/acme-gitlab", http.Header{"X-Gitlab-Token": {testSecret}, "Content-Encoding": {"gzip"}}, `{}`, 415},
		{"gitlab, a form", "gitlab/acme-gitlab", http.Header{"X-Gitlab-Token": {testSecret}, "Content-Type": {formType}}, `a=b`, 415},
		{"gitlab, another event", "gitlab/acme-gitlab", http.Header{"X-Gitlab-Token": {testSecret}}, `{"object_kind":"note"}`, 200},
		{"gitlab, another repository", "gitlab/acme-gitlab", http.Header{"X-Gitlab-Token": {testSecret}}, `{"object_kind":"push","ref":"refs/heads/main","project":{"git_http_url":"https://evil.example/a/b"}}`, 200},
		{"harbor without a header", "harbor/acme-harbor", http.Header{}, `{}`, 401},
		{"harbor, deep", "harbor/acme-harbor", http.Header{"Authorization": {testSecret}}, strings.Repeat(`{"type":`, 80), 400},
		{"harbor, an image of others", "harbor/acme-harbor", http.Header{"Authorization": {testSecret}}, `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"resource_url":"evil.example/acme/app:v1","tag":"v1"}]}}`, 200},
		{"distribution, large", "distribution/acme-images", bearer(), strings.Repeat(" ", 4<<20), 413},
		{"dockerhub, no id", "dockerhub/acme", http.Header{}, `{}`, 404},
		{"dockerhub, an image of others", "dockerhub/" + hub.ID, http.Header{}, `{"push_data":{"tag":"v1"},"repository":{"repo_name":"evil/app"}}`, 200},
		{"dockerhub, a list", "dockerhub/" + hub.ID, http.Header{}, `[]`, 400},
	} {
		if tt.header.Get("Content-Type") == "" {
			tt.header.Set("Content-Type", "application/json")
		}
		if r := w.post(t, "/hooks/"+tt.path, tt.header, tt.body); r.status != tt.want || strings.Contains(r.body, testSecret) {
			t.Errorf("%s: answered %d %s, want %d", tt.name, r.status, r.body, tt.want)
		}
	}
	if n := len(w.store.all()); n != 0 {
		t.Errorf("%d events were stored", n)
	}
	if strings.Contains(w.log.String(), testSecret) || strings.Contains(w.log.String(), hub.ID) {
		t.Error("a secret is in the log")
	}
	for path, body := range map[string]string{
		"gitlab/acme-gitlab":  `{"object_kind":"push","ref":"refs/heads/main","project":{"git_http_url":"https://github.com/acme/config.git"}}`,
		"harbor/acme-harbor":  `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"resource_url":"registry.example.com/acme/app:v1","tag":"v1"}]}}`,
		"dockerhub/" + hub.ID: `{"push_data":{"tag":"v1"},"repository":{"repo_name":"acme/app"}}`,
	} {
		h := http.Header{"Content-Type": {"application/json"}, "X-Gitlab-Token": {testSecret}, "Authorization": {testSecret}}
		if r := w.post(t, "/hooks/"+path, h, body); r.status != http.StatusAccepted {
			t.Errorf("%s: a good one was answered %d %s", path, r.status, r.body)
		}
	}
}

const formType = "application/x-www-form-urlencoded"
