package handlers

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

func TestUnsigned(t *testing.T) {
	t.Parallel()
	r := genericReceiver()
	r.ID, r.Name, r.Secrets, r.Unsigned = "0f3a9c1d5e7b2846a0c4e8f1b3d59762", "cron", nil, true
	w := newWorld(t, func(c *HooksConfig) { c.Receivers, c.Limits.UnsignedPerMinute = []Receiver{r}, 2 })
	body, header := `{"repository":"`+testRepo+`","ref":"refs/heads/main"}`, http.Header{"Content-Type": {"application/json"}}
	first := w.post(t, "/hooks/generic/"+r.ID, header, body)
	if first.Status != "queued" || len(first.Delivery) != 32 {
		t.Fatalf("answered %d %s", first.status, first.body)
	}
	if r := w.post(t, "/hooks/generic/"+r.ID, header, body); r.Status != "duplicate" || r.Delivery != first.Delivery {
		t.Errorf("again: %s", r.body)
	}
	if r := w.post(t, "/hooks/generic/"+r.ID, header, body); r.status != 429 {
		t.Errorf("above its rate: %d", r.status)
	}
	ev := w.store.all()[0]
	if ev.Source != "/hooks/generic/cron" || ev.Receiver != "cron" || strings.Contains(w.log.String(), r.ID) {
		t.Errorf("the path is told: %+v\n%s", ev, w.log.String())
	}
}

func TestAllowFrom(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		allow     string
		proxies   []netip.Prefix
		forwarded string
		want      int
	}{
		{"the client", "127.0.0.0/8", nil, "", 202},
		{"another", "192.0.2.0/24", nil, "", 401},
		{"another that claims to be it", "192.0.2.0/24", nil, "192.0.2.1", 401},
		{"through a proxy", "192.0.2.0/24", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "192.0.2.1", 202},
		{"through a proxy, claiming", "192.0.2.0/24", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "192.0.2.1, 203.0.113.5", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *HooksConfig) {
				c.Receivers[0].AllowFrom, c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(tt.allow)}, tt.proxies
			})
			body, header := pushOf(testRepo, "refs/heads/main")
			if tt.forwarded != "" {
				header.Set("X-Forwarded-For", tt.forwarded)
			}
			if r := w.post(t, hook, header, body); r.status != tt.want {
				t.Errorf("answered %d, want %d", r.status, tt.want)
			}
		})
	}
}

// All ways to another tenant's repository, signed with our secret: none gets through.
func TestScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, url := range []string{
		"https://github.com/other/repo", "https://github.com/acme/../other/repo", "https://github.com/acme/%2e%2e/other/repo",
		"https://github.com/acme%2f..%2fother/repo", "https://github.com//other/repo", "git@github.com:other/repo.git",
		"ssh://git@github.com/other/repo", "ssh://git@ssh.github.com:443/other/repo.git", "https://acme@github.com/other/repo",
		"https://github.com/acme@github.com/other/repo", "https://github.com/other/repo?x=/acme/config", "https://github.com/other/repo#/acme/config",
		"https://github.com/other/acme/config", "https://github.com/acme", "https://github.com/acme.git", "https://github.com/acme-x/config",
		"https://github.com:8443/acme/config", "https://github.com.example/acme/config", "https://xgithub.com/acme/config",
		"https://example.com/github.com/acme/config", "https://gitlab.com/acme/config", "https://github.com/*/config", "https://.*/acme/config",
		"https://github.com\\@example.com/acme/config", "https://example.com\\@github.com/acme/config", "https://github\u3002com.example/acme/config",
		"https://github.com/ａcme/config", "https://gith\u200bub.com/acme/config",
	} {
		body, header := pushOf(url, "refs/heads/main")
		if r := w.post(t, hook, header, body); r.status != http.StatusOK || r.Status != "ignored" {
			t.Errorf("%q: answered %d %s", url, r.status, r.body)
		}
	}
	if got := w.store.all(); len(got) != 0 {
		t.Errorf("published %+v", got)
	}
	if got := w.metric(t, "tradewind_webhook_out_of_scope_total", "receiver", testID); got < 15 {
		t.Errorf("%v counted", got)
	}
}

// What a repository is called in other places must not get out with what is in scope.
func TestScopeKeepsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	body := `{"ref":"refs/heads/main","repository":{"clone_url":"https://github.com/Acme/Config","mirror_url":"https://github.com/other/repo"}}`
	if r := w.post(t, hook, odd{Sender: "github"}.header([]byte(body)), body); r.Status != "queued" {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	push, err := w.store.all()[0].Pushed()
	if diff := cmp.Diff([]string{"github.com/acme/config"}, push.Repos); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestOversizedNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	urls := make([]string, 20)
	for i := range urls {
		urls[i] = `"` + testRepo + strings.Repeat("<", 1900) + string(rune('a'+i)) + `"`
	}
	body := `{"repositories":[` + strings.Join(urls, ",") + `],"ref":"refs/heads/main"}`
	r := w.post(t, "/hooks/generic/acme-generic", odd{Sender: "generic"}.header([]byte(body)), body)
	if r.Status != "ignored" || r.Message != "the names in it are too long" {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	if got := w.metric(t, "tradewind_webhook_ignored_total", "sender", "generic", "reason", string(webhook.TooLarge)); got != 1 {
		t.Errorf("%v counted", got)
	}
}
