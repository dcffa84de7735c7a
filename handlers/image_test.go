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
