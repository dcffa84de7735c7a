package handlers

import (
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const nextSecret = "the one that replaces it, as long"

func TestRotation(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newWorld(t, func(cfg *HooksConfig) { cfg.now = c.Now })
	r := githubReceiver()
	expires := c.Now().Add(time.Hour)
	r.Secrets = []Secret{NewSecret([]byte(nextSecret)), r.Secrets[0].Until(expires)}
	if err := w.SetReceivers([]Receiver{r}); err != nil {
		t.Fatal(err)
	}
	status := func(secret string) int {
		body, header := pushOf(testRepo, "refs/heads/main")
		header.Set("X-Hub-Signature-256", "sha256="+signature(secret, body))
		return w.post(t, hook, header, body).status
	}
	for _, step := range []struct {
		name, secret string
		after        time.Duration
		want         int
	}{
		{"the current one", nextSecret, 0, 202},
		{"the previous one", testSecret, 0, 202},
		{"a third", testSecret + "x", 0, 401},
		{"the previous one in its last moment", testSecret, time.Hour - time.Nanosecond, 202},
		{"the previous one when it has expired", testSecret, time.Nanosecond, 401},
		{"the current one then", nextSecret, 0, 202},
	} {
		c.add(step.after)
		if got := status(step.secret); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
	for name, want := range map[string]float64{current: 2, previous: 2} {
		if got := w.metric(t, "tradewind_webhook_authenticated_total", "receiver", testID, "secret", name); got != want {
			t.Errorf("%s fitted %v times, want %v", name, got, want)
		}
	}
}

func signature(secret, body string) string { return digits(sha256.New, secret, []byte(body)) }

// Secrets are replaced while deliveries come in: none that is signed with a live one is
// refused.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	old, next := githubReceiver(), githubReceiver()
	next.Secrets = []Secret{NewSecret([]byte(nextSecret)), old.Secrets[0].Until(time.Now().Add(time.Hour))}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if r := w.push(t, "refs/heads/main"); r.status != 202 {
					t.Errorf("refused: %d %s", r.status, r.body)
					return
				}
			}
		})
	}
	for i := range 40 {
		set := []Receiver{old}
		if i%2 == 0 {
			set = []Receiver{next}
		}
		if err := w.SetReceivers(set); err != nil {
			t.Error(err)
		}
		<-time.After(5 * time.Millisecond)
	}
	close(done)
	wg.Wait()
}

// A reload with one bad receiver changes nothing.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	bad := githubReceiver()
	bad.ID, bad.Secrets = "bad", []Secret{NewSecret([]byte("\n"))}
	err := w.SetReceivers([]Receiver{bad})
	want := "receiver github/bad: the secret is empty: make one with openssl rand -hex 32 and enter it at the sender too"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if r := w.push(t, "refs/heads/main"); r.status != 202 {
		t.Errorf("the old one: %d", r.status)
	}
	if err := w.SetReceivers(nil); err != nil {
		t.Fatal(err)
	}
	if r := w.push(t, "refs/heads/main"); r.status != 404 {
		t.Errorf("removed: %d", r.status)
	}
}

func TestFailing(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newWorld(t, func(cfg *HooksConfig) { cfg.now = c.Now })
	failing := func() float64 { return w.metric(t, "tradewind_webhook_receiver_failing", "receiver", testID) }
	warned := func() int { return strings.Count(w.log.String(), `"signatures do not fit"`) }
	fail := func() {
		body, header := pushOf(testRepo, "refs/heads/main")
		header.Set("X-Hub-Signature-256", "sha256="+signature(nextSecret, body))
		if r := w.post(t, hook, header, body); r.status != 401 {
			t.Fatalf("answered %d", r.status)
		}
	}
	fail()
	c.add(3 * time.Minute)
	fail()
	c.add(3 * time.Minute)
	fail() // three, but in six minutes
	if failing() != 0 || warned() != 0 {
		t.Errorf("slow: failing %v, warned %d times", failing(), warned())
	}
	fail()
	if failing() != 1 || warned() != 1 {
		t.Errorf("fast: failing %v, warned %d times", failing(), warned())
	}
	fail()
	if warned() != 1 {
		t.Errorf("warned %d times", warned())
	}
	c.add(6 * time.Minute)
	if failing() != 0 {
		t.Error("still failing after six quiet minutes")
	}
	if got := w.metric(t, "tradewind_webhook_receiver_failing", "receiver", "generic"); got != 0 {
		t.Error("another receiver is said to fail")
	}
}

func TestSecretIsHidden(t *testing.T) {
	t.Parallel()
	s := NewSecret([]byte(testSecret)).Until(time.Now())
	r := githubReceiver()
	r.Secrets = []Secret{s}
	type inside struct {
		Public Secret
		hidden Secret //nolint:unused // printed by fmt
		any    any    //nolint:unused // printed by fmt
	}
	in := inside{s, s, s}
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("x", "secret", s, "receiver", r, "pointer", &s, "inside", in)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", s, "receiver", r, "inside", in)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{s, &s, r, in, []Secret{s}, map[string]Secret{"a": s}, errors.Join(r.Validate())} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	data, err := json.Marshal([]any{s, r, map[string]Secret{"a": s}})
	yamlData, yamlErr := yaml.Marshal([]any{s, r})
	xmlData, xmlErr := xml.Marshal(inside{Public: s})
	if err := errors.Join(err, yamlErr, xmlErr); err != nil {
		t.Fatal(err)
	}
	text := out.String() + string(data) + string(yamlData) + string(xmlData)
	for _, leak := range []string{testSecret, "61207365637265742", "[97 32 115", "YSBzZWNyZXQ"} {
		if strings.Contains(text, leak) {
			t.Errorf("%q is told", leak)
		}
	}
	for _, shown := range []string{string(data), string(yamlData), string(xmlData)} {
		if !strings.Contains(shown, "***") {
			t.Errorf("no *** in %s", shown)
		}
	}
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{"x": "x", "x\n": "x", "x\r\n": "x", "x\n\n": "x\n", " x ": " x ", "\nx": "\nx", "x\r": "x\r", "": ""} {
		if got := string(NewSecret([]byte(content)).key()); got != want {
			t.Errorf("NewSecret(%q) holds %q, want %q", content, got, want)
		}
	}
	content := []byte(testSecret)
	s := NewSecret(content)
	clear(content)
	if string(s.key()) != testSecret {
		t.Error("it changes with the file's buffer")
	}
}
