package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tradewind-dev/tradewind/events"
)

const hook = "/hooks/github/" + testID

func TestPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	body, header := pushOf(testRepo, "refs/heads/main")
	guid := header.Get("X-GitHub-Delivery")
	r := w.post(t, hook, header, body)
	if want := (taken{Status: "queued", Delivery: guid, Event: "push"}); r.status != http.StatusAccepted || r.taken != want {
		t.Fatalf("answered %d %+v, want %+v", r.status, r.taken, want)
	}
	want := []events.Event{{
		SpecVersion: "1.0", Source: "/hooks/github/acme-config", Type: events.TypeSourcePushed,
		Subject: "github.com/acme/config@refs/heads/main", Receiver: testID, Delivery: guid,
		Data: json.RawMessage(`{"repos":["github.com/acme/config"],"ref":"refs/heads/main","before":"` + commitA + `","after":"` + commitB + `","pusher":"tradewind"}`),
	}}
	got := w.store.all()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(events.Event{}, "ID", "Time")); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if len(got[0].ID) != 64 || time.Since(got[0].Time) > time.Minute {
		t.Errorf("id %q, time %s", got[0].ID, got[0].Time)
	}
	var line struct{ Msg, Delivery, Receiver, Sender, Type, Repo, Ref, Commit, Took, Result, Event, Client string }
	if err := json.Unmarshal([]byte(w.log.String()), &line); err != nil {
		t.Fatalf("not one line: %q", w.log.String())
	}
	if line.Msg != "delivery handled" || line.Delivery != guid || line.Receiver != testID || line.Sender != "github" || line.Type != "source.pushed" ||
		line.Repo != "github.com/acme/config" || line.Ref != "refs/heads/main" || line.Commit != commitB || line.Took == "" ||
		line.Result != "accepted" || line.Event != got[0].ID || line.Client != "127.0.0.1" {
		t.Errorf("log %+v", line)
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	second := githubReceiver()
	second.ID = "second"
	w := newWorld(t, func(c *HooksConfig) { c.Receivers = append(c.Receivers, second) })
	body, header := pushOf(testRepo, "refs/heads/main")
	again := header.Clone()
	again.Set("X-GitHub-Delivery", newGUID())
	other, otherHeader := pushOf(testRepo, "refs/heads/other")
	otherHeader.Set("X-GitHub-Delivery", header.Get("X-GitHub-Delivery"))
	for i, step := range []struct {
		name, path string
		header     http.Header
		body       string
		want       string
	}{
		{"first", hook, header, body, "queued"},
		{"the same again", hook, header, body, "duplicate"},
		{"the same bytes under another id", hook, again, body, "duplicate"},
		{"other bytes under the same id", hook, otherHeader, other, "queued"},
		{"the same bytes at another receiver", "/hooks/github/second", header, body, "queued"},
	} {
		if r := w.post(t, step.path, step.header, step.body); r.status != http.StatusAccepted || r.Status != step.want {
			t.Errorf("%d: %s: %d %s, want %s", i, step.name, r.status, r.Status, step.want)
		}
	}
}

func TestConcurrentDuplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	body, header := pushOf(testRepo, "refs/heads/main")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if r := w.post(t, hook, header.Clone(), body); r.status != http.StatusAccepted {
				t.Errorf("answered %d %s", r.status, r.body)
			}
		})
	}
	wg.Wait()
	if n := len(w.store.all()); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestUnwatched(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		watchers      Watchers
		status        int
		text, message string
	}{
		{"nobody", watching(0), 200, "ignored", "no Application looks at github.com/acme/config@refs/heads/main yet"},
		{"somebody", watching(2), 202, "queued", ""},
		{"not known", watching(-1), 202, "queued", ""},
		{"nobody to ask", nil, 202, "queued", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *HooksConfig) { c.Watchers = tt.watchers })
			r := w.push(t, "refs/heads/main")
			if r.status != tt.status || r.Status != tt.text || r.Message != tt.message {
				t.Errorf("answered %d %+v", r.status, r.taken)
			}
			if len(w.store.all()) != 1 {
				t.Error("not published")
			}
		})
	}
}

func TestPublishFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.store.fail(errors.New("nats: no responders on nats://queue-internal:4222"))
	r := w.push(t, "refs/heads/main")
	checkAnswer(t, r)
	if r.status != http.StatusServiceUnavailable || r.Error != "the event could not be stored" || strings.Contains(r.body, "nats") {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	w.store.fail(nil)
	if r := w.push(t, "refs/heads/main"); r.Status != "queued" {
		t.Errorf("the retry: %d %s", r.status, r.body)
	}
}

// The queue gets 0.8 of what the sender waits, less what reading has taken.
func TestPublishDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	left := make(chan time.Duration, 2)
	w.store.hook = func(ctx context.Context) {
		deadline, ok := ctx.Deadline()
		if !ok {
			t.Error("no deadline")
		}
		left <- time.Until(deadline)
	}
	w.push(t, "refs/heads/main")
	if got := <-left; got > 8*time.Second || got < 7*time.Second {
		t.Errorf("github: %s", got)
	}
	body := `{"repository":"` + testRepo + `","ref":"refs/heads/main"}`
	header := odd{Sender: "generic"}.header([]byte(body))
	if r := w.post(t, "/hooks/generic/acme-generic", header, body); r.Status != "queued" {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	if got := <-left; got > 4*time.Second || got < 3*time.Second {
		t.Errorf("generic: %s", got)
	}
}

// A client that leaves while the event is being stored does not undo it.
func TestClientLeavesWhilePublishing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	entered, leave := make(chan struct{}), make(chan struct{})
	var canceled atomic.Bool
	w.store.hook = func(ctx context.Context) {
		close(entered)
		<-leave
		select {
		case <-ctx.Done():
			canceled.Store(true)
		case <-time.After(100 * time.Millisecond):
		}
	}
	body, header := pushOf(testRepo, "refs/heads/main")
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, w.url+hook, strings.NewReader(body))
	req.Header = header
	go func() {
		<-entered
		cancel()
		close(leave)
	}()
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Error("answered")
	}
	eventually(t, "the event is stored", func() bool { return len(w.store.all()) == 1 })
	if canceled.Load() {
		t.Error("publishing was canceled with the request")
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var once atomic.Bool
	w.store.hook = func(context.Context) {
		if once.CompareAndSwap(false, true) {
			panic("boom " + testSecret[:0])
		}
	}
	r := w.push(t, "refs/heads/main")
	checkAnswer(t, r)
	if r.status != http.StatusServiceUnavailable || r.Error != "the post could not be handled" || strings.Contains(r.body, "boom") {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	if got := w.metric(t, "tradewind_webhook_panics_total"); got != 1 {
		t.Errorf("%v panics counted", got)
	}
	if r := w.push(t, "refs/heads/main"); r.Status != "queued" {
		t.Errorf("the next: %d %s", r.status, r.body)
	}
}

func TestSuspended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *HooksConfig) { c.Receivers[0].Suspended = true })
	if r := w.push(t, "refs/heads/main"); r.status != 200 || r.Status != "ignored" || r.Message != "the receiver is suspended" {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	if r := w.post(t, hook, http.Header{"Content-Type": {"application/json"}}, "{}"); r.status != 401 {
		t.Errorf("unsigned: %d", r.status)
	}
	if len(w.store.all()) != 0 {
		t.Error("published")
	}
}

func TestClosing(t *testing.T) {
	t.Parallel()
	closing := make(chan struct{})
	w := newWorld(t, func(c *HooksConfig) { c.Closing = closing })
	if r := w.push(t, "refs/heads/a"); r.status != 202 {
		t.Errorf("before: %d", r.status)
	}
	close(closing)
	r := w.push(t, "refs/heads/b")
	checkAnswer(t, r)
	if r.status != 503 || r.Error != "shutting down" {
		t.Errorf("answered %d %s", r.status, r.body)
	}
}

// A stranger does not use up what the sender may send.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *HooksConfig) { c.Limits.PerMinute, c.Limits.Burst = 1, 3 })
	for range 10 {
		if r := w.post(t, hook, http.Header{"Content-Type": {"application/json"}}, "{}"); r.status != 401 {
			t.Fatalf("a stranger: %d", r.status)
		}
	}
	for range 3 {
		if r := w.push(t, "refs/heads/main"); r.status != 202 {
			t.Fatalf("within the burst: %d", r.status)
		}
	}
	r := w.push(t, "refs/heads/main")
	checkAnswer(t, r)
	if r.status != 429 || r.header.Get("Retry-After") != "60" {
		t.Errorf("above it: %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
	}
	body := `{"repository":"` + testRepo + `","ref":"refs/heads/main"}`
	if r := w.post(t, "/hooks/generic/acme-generic", odd{Sender: "generic"}.header([]byte(body)), body); r.status != 202 {
		t.Errorf("another receiver: %d", r.status)
	}
	if err := w.SetReceivers([]Receiver{githubReceiver()}); err != nil {
		t.Fatal(err)
	}
	if r := w.push(t, "refs/heads/main"); r.status != 429 {
		t.Errorf("after a reload: %d", r.status)
	}
}

func TestGlobalRateLimit(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, func(c *HooksConfig) {
		c.Limits.GlobalPerSecond = 2
		c.now = func() time.Time { return now }
	})
	var got []int
	for range 3 {
		got = append(got, w.push(t, "refs/heads/main").status)
	}
	if diff := cmp.Diff([]int{202, 202, 429}, got); diff != "" {
		t.Error(diff)
	}
}
