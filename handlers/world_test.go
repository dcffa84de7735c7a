package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

const (
	testID     = "acme-config"
	testSecret = "a secret of more than 16 bytes"
	testRepo   = "https://github.com/acme/config"
	commitA    = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
	commitB    = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
)

// store is a queue that remembers what it was given and knows duplicates.
type store struct {
	mu     sync.Mutex
	events []events.Event
	err    error // of every call from now on
	hook   func(context.Context)
}

func (s *store) Publish(ctx context.Context, evs ...events.Event) (bool, error) {
	s.mu.Lock()
	err, hook := s.err, s.hook
	s.mu.Unlock()
	if hook != nil {
		hook(ctx)
	}
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	again := true
	for _, ev := range evs {
		known := false
		for _, old := range s.events {
			known = known || old.ID == ev.ID
		}
		if !known {
			s.events = append(s.events, ev)
		}
		again = again && known
	}
	return again, nil
}

func (s *store) all() []events.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]events.Event(nil), s.events...)
}

func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// watching is a Watchers with one answer.
type watching int

func (w watching) Watching([]string, string) int { return int(w) }
func (w watching) WatchingImage([]string) int    { return int(w) }

// world is a gateway behind a real server, as serve would start it.
type world struct {
	*Gateway
	url   string
	store *store
	reg   *prometheus.Registry
	log   *lines
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func githubReceiver() Receiver {
	return Receiver{ID: testID, Sender: "github", Secrets: []Secret{NewSecret([]byte(testSecret + "\n"))}, Scope: []string{"github.com/acme/*"}}
}

func genericReceiver() Receiver {
	r := githubReceiver()
	r.ID, r.Sender, r.Name = "acme-generic", "generic", "generic"
	return r
}

func newWorld(tb testing.TB, change func(*HooksConfig)) *world {
	tb.Helper()
	w := &world{store: &store{}, reg: prometheus.NewRegistry(), log: &lines{}}
	cfg := HooksConfig{
		Receivers: []Receiver{githubReceiver(), genericReceiver()}, Publisher: w.store, Watchers: watching(1),
		Limits: DefaultLimits(), Registerer: w.reg,
		Logger: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	cfg.Limits.PerMinute, cfg.Limits.Burst = 1_000_000, 1_000_000
	if change != nil {
		change(&cfg)
	}
	var err error
	if w.Gateway, err = Hooks(cfg); err != nil {
		tb.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = Server("", w.Gateway)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	srv.Start()
	tb.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   string
	taken
	refused
}

func (w *world) do(tb testing.TB, req *http.Request) reply {
	tb.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	r := reply{status: res.StatusCode, header: res.Header, body: string(data)}
	if len(data) > 0 {
		if err := errors.Join(json.Unmarshal(data, &r.taken), json.Unmarshal(data, &r.refused)); err != nil {
			tb.Fatalf("answer %d %q: %v", res.StatusCode, data, err)
		}
	}
	return r
}

func (w *world) post(tb testing.TB, path string, header http.Header, body string) reply {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, w.url+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = header
	return w.do(tb, req)
}

// push posts a push of the repository's ref as GitHub would.
func (w *world) push(tb testing.TB, ref string) reply {
	tb.Helper()
	body, header := pushOf(testRepo, ref)
	return w.post(tb, "/hooks/github/"+testID, header, body)
}

func pushOf(repo, ref string) (string, http.Header) {
	body, header := webhook.GitHubPush(repo, ref, commitA, commitB)
	header.Set("X-Hub-Signature-256", webhook.SignGitHub([]byte(testSecret), body))
	return string(body), header
}

// metric is the value of the series with the labels, name and value in turn.
func (w *world) metric(tb testing.TB, name string, labels ...string) float64 {
	tb.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if hasLabels(m, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	tb.Fatalf("no metric %s with %q", name, labels)
	return 0
}

func hasLabels(m *dto.Metric, want []string) bool {
	have := map[string]string{}
	for _, l := range m.GetLabel() {
		have[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(want); i += 2 {
		if have[want[i]] != want[i+1] {
			return false
		}
	}
	return true
}

// eventually polls until the condition holds.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			tb.Fatal("not within 10s: " + what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
