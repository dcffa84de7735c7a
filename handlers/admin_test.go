package handlers

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

var update = flag.Bool("update", false, "rewrite golden files")

func get(t *testing.T, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	var queue error
	h := Admin(AdminConfig{
		Gatherer: prometheus.NewRegistry(),
		Ready: []Check{
			{"queue", func(context.Context) error { return queue }},
			{"cluster", func(context.Context) error { return nil }},
		},
	})
	for _, tt := range []struct {
		name, path string
		queue      error
		status     int
		body       string
	}{
		{"alive", "/livez", nil, 200, "ok\n"},
		{"healthy is alive", "/healthz", nil, 200, "ok\n"},
		{"ready", "/readyz", nil, 200, "ok\n"},
		{"ready, in detail", "/readyz?verbose", nil, 200, "[+]queue ok\n[+]cluster ok\nok\n"},
		{"not ready says why", "/readyz", errors.New("no space"), 503, "[-]queue failed: no space\n[+]cluster ok\nnot ok\n"},
		{"alive though not ready", "/livez", errors.New("no space"), 200, "ok\n"},
		{"no profiles", "/debug/pprof/", nil, 404, "404 page not found\n"},
		{"no hooks", "/hooks/github/x", nil, 404, "404 page not found\n"},
	} {
		queue = tt.queue
		if rec := get(t, h, tt.path); rec.Code != tt.status || rec.Body.String() != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.name, rec.Code, rec.Body, tt.status, tt.body)
		}
	}
	if rec := get(t, Admin(AdminConfig{Gatherer: prometheus.NewRegistry(), Profiling: true}), "/debug/pprof/"); rec.Code != 200 {
		t.Errorf("profiles: %d", rec.Code)
	}
}

// A check that hangs is one that fails, and does not hide the others.
func TestAdminHangs(t *testing.T) {
	t.Parallel()
	h := Admin(AdminConfig{Gatherer: prometheus.NewRegistry(), Ready: []Check{
		{"queue", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{"cluster", func(context.Context) error { return nil }},
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
	if want := "[-]queue failed: context deadline exceeded\n[+]cluster ok\nnot ok\n"; rec.Code != 503 || rec.Body.String() != want {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.push(t, "refs/heads/main")
	w.post(t, hook, http.Header{}, "")
	w.post(t, "/hooks/github/none", http.Header{}, "")
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	rec := get(t, Admin(AdminConfig{Gatherer: w.reg}), "/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	text := rec.Body.String()
	if got := rec.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") || !strings.HasSuffix(text, "# EOF\n") {
		t.Errorf("content type %q", got)
	}
	// Every combination is there from the start, so that a rate sees the first of it.
	for _, line := range []string{
		`tradewind_webhook_deliveries_total{result="accepted",sender="github"} 1.0`,
		`tradewind_webhook_deliveries_total{result="malformed",sender="github"} 1.0`,
		`tradewind_webhook_deliveries_total{result="unavailable",sender="generic"} 0.0`,
		`tradewind_webhook_deliveries_total{result="unknown",sender="unknown"} 1.0`,
		`tradewind_webhook_delivery_duration_seconds_count{sender="github"} 2`,
		`tradewind_webhook_delivery_size_bytes_bucket{sender="github",le="4096.0"} 1`,
		`tradewind_webhook_last_delivery_timestamp_seconds{sender="github"} `,
		`tradewind_webhook_authenticated_total{receiver="acme-config",secret="current"} 1.0`,
		`tradewind_webhook_authenticated_total{receiver="acme-config",secret="previous"} 0.0`,
		`tradewind_webhook_ignored_total{reason="scope",sender="generic"} 0.0`,
		`tradewind_webhook_out_of_scope_total{receiver="generic"} 0.0`,
		`tradewind_webhook_receiver_failing{receiver="acme-config"} 0.0`,
		`tradewind_webhook_panics_total 0.0`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("missing: %s", line)
		}
	}
	if err := w.SetReceivers([]Receiver{githubReceiver()}); err != nil {
		t.Fatal(err)
	}
	if text := get(t, Admin(AdminConfig{Gatherer: w.reg}), "/metrics").Body.String(); strings.Contains(text, `receiver="generic"`) {
		t.Error("a removed receiver has series")
	}
}

func TestServerDeadlines(t *testing.T) {
	t.Parallel()
	s := Server(":1", http.NotFoundHandler())
	for name, d := range map[string]time.Duration{"header": s.ReadHeaderTimeout, "read": s.ReadTimeout, "write": s.WriteTimeout, "idle": s.IdleTimeout} {
		if d <= 0 || d > time.Minute {
			t.Errorf("%s: %s", name, d)
		}
	}
	if s.Addr != ":1" || s.MaxHeaderBytes != 64<<10 || s.WriteTimeout < s.ReadTimeout+10*time.Second {
		t.Errorf("%+v", s)
	}
}

// Every answer, word for word: nothing in it that the caller did not send (S11).
func TestAnswers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	show := func(name string, r reply) {
		checkAnswer(t, r)
		fmt.Fprintf(&out, "%s\n%d %s", name, r.status, r.body)
		for _, h := range []string{"Allow", "Retry-After"} {
			if v := r.header.Get(h); v != "" {
				fmt.Fprintf(&out, "%s: %s\n", h, v)
			}
		}
		out.WriteByte('\n')
	}
	w := newWorld(t, func(c *HooksConfig) { c.Limits.BodyTime = time.Second })
	const event = `{"ref":"refs/heads/main","after":"` + commitB + `","repository":{"clone_url":"` + testRepo + `"}}`
	signed := func(body string, change ...string) reply {
		h := odd{Sender: "github"}.header([]byte(body))
		h.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
		for i := 0; i < len(change); i += 2 {
			h.Set(change[i], change[i+1])
		}
		return w.post(t, hook, h, body)
	}
	show("queued", signed(event))
	show("duplicate", signed(event))
	show("ping", signed(`{}`, "X-GitHub-Event", "ping"))
	show("another event", signed(`{}`, "X-GitHub-Event", "star"))
	show("invalid ref", signed(strings.Replace(event, "heads", "he ads", 1)))
	show("pull request ref", signed(strings.Replace(event, "heads", "pull", 1)))
	show("no repository", signed(`{"ref":"refs/heads/main"}`))
	show("out of scope", signed(strings.Replace(event, "acme", "other", 1)))
	show("no JSON", signed(`{"ref"`))
	show("no event header", signed(event, "X-GitHub-Event", ""))
	show("wrong signature", signed(event, "X-Hub-Signature-256", "sha256=00"))
	show("no signature", signed(event, "X-Hub-Signature-256", ""))
	show("content type", signed(event, "Content-Type", "text/plain"))
	show("compressed", signed(event, "Content-Encoding", "gzip"))
	show("too large", signed(strings.Repeat(" ", 25<<20+1)))
	show("unknown receiver", w.post(t, "/hooks/github/x", nil, ""))
	show("unknown path", w.post(t, "/x", nil, ""))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+hook, nil)
	show("another method", w.do(t, req))
	w.store.fail(errors.New("down"))
	show("queue down", signed(strings.Replace(event, "main", "x", 1)))
	const file = "testdata/answers.golden"
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, out.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if diff := cmp.Diff(string(want), out.String()); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}
