package commitstatus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	config = "https://forge.example/acme/config.git"
	source = "https://forge.example/acme/shop"
	c1     = "1111111111111111111111111111111111111111"
	c2     = "2222222222222222222222222222222222222222"
	built  = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// hub is a forge, the cluster and the queue of one test.
type hub struct {
	*Teller
	app *oam.Application

	mu      sync.Mutex
	said    []string
	refuse  func(try int) error
	tries   int
	reports []events.Outcome
	secret  map[string][]byte
}

func (h *hub) Application(string, string) (*oam.Application, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.app.DeepCopy(), true, nil
}

func (h *hub) SecretData(context.Context, string, string) (map[string][]byte, error) {
	return h.secret, nil
}

func (h *hub) Knows(url string) bool { return strings.Contains(url, "forge.example") }

func (h *hub) SetStatus(_ context.Context, r forge.Repo, s forge.Status) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tries++
	if h.refuse != nil {
		if err := h.refuse(h.tries); err != nil {
			return err
		}
	}
	h.said = append(h.said, fmt.Sprintf("%s %.2s %s %s %s (%s)", r.URL, s.Commit, s.Context, s.State, s.Text, r.Token))
	return nil
}

func (h *hub) Report(_ context.Context, o events.Outcome) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports = append(h.reports, o)
	return nil
}

func newHub(tb testing.TB) *hub {
	tb.Helper()
	h := &hub{secret: map[string][]byte{"username": []byte("bot"), "password": []byte("token")}}
	h.app = &oam.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"},
		Spec: oam.Spec{Components: []oam.Component{{Name: "shop", Type: "kustomize", Properties: map[string]any{
			"repoType": "git", "url": config, "secretRef": "bot", "path": ".", "git": map[string]any{"branch": "main"},
		}}}},
	}
	h.Teller = New(Config{Cluster: h, Forge: h, Reports: h, Logger: slog.New(slog.DiscardHandler)})
	return h
}

func (h *hub) run(tb testing.TB) {
	tb.Helper()
	done := make(chan error)
	go func() { done <- h.Run(tb.Context()) }() // which ends before the cleanup begins
	tb.Cleanup(func() {
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
}

func at(commit string) []oam.Source {
	return []oam.Source{{Component: "shop", URL: config, Commit: commit}}
}

// await waits until exactly this was said.
func (h *hub) await(tb testing.TB, want ...string) {
	tb.Helper()
	var got []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		h.mu.Lock()
		got = slices.Clone(h.said)
		h.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
	}
	tb.Fatalf("said (-want +got):\n%s", cmp.Diff(want, got))
}

func TestTell(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.run(t)
	line := func(commit, rest string) string {
		return config + " " + commit[:2] + " tradewind/default/shop " + rest + " (token)"
	}
	want := []string{line(c1, "pending being delivered")}
	h.Tell(h.app, at(c1), forge.Pending, "being delivered")
	h.await(t, want...)
	h.Tell(h.app, at(c1), forge.Pending, "waiting for shop: 1 of 3")
	h.Tell(h.app, at(c1), forge.Success, "healthy")
	want = append(want, line(c1, "success healthy"))
	h.await(t, want...)
	// The same, and a pod that is away for a moment, are no news; a failure is.
	h.Tell(h.app, at(c1), forge.Success, "healthy")
	h.Tell(h.app, at(c1), forge.Pending, "waiting for shop")
	h.Tell(h.app, at(c2), forge.Failure, "FailedRender: no such file")
	want = append(want, line(c2, "failure FailedRender: no such file"))
	h.await(t, want...)

	// The source of an image, once it is known, hears the same; one elsewhere does not.
	before := h.app.DeepCopy()
	h.mu.Lock()
	h.app.Status.Images = []oam.Image{{Component: "shop", Current: "1.1.0", Committed: "1.1.0", Revision: built, Source: source}}
	after := h.app.DeepCopy()
	h.mu.Unlock()
	h.OnApplication(before, after)
	want = append(want, source+" bb tradewind/default/shop failure FailedRender: no such file (token)")
	h.await(t, want...)
	evil := after.DeepCopy()
	evil.Status.Images[0].Source, evil.Status.Images[0].Revision = "https://evil.forge.example/acme/shop", c1
	h.OnApplication(after, evil)
	open := evil.DeepCopy()
	open.Status.Images[0].Source, open.Status.Images[0].Current = source, "1.0.0" // a pull request is open
	h.OnApplication(evil, open)
	h.Tell(h.app, at(c2), forge.Success, "healthy")
	want = append(want, line(c2, "success healthy"), source+" bb tradewind/default/shop success healthy (token)")
	for range 1000 {
		h.mu.Lock()
		said := len(h.said)
		h.mu.Unlock()
		if said >= len(want) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	h.mu.Lock()
	slices.Sort(h.said[len(want)-2:])
	h.mu.Unlock()
	slices.Sort(want[len(want)-2:])
	h.await(t, want...)
}

func TestDenied(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.refuse = func(int) error {
		return &forge.Error{Op: "setting a commit status", Host: "forge.example", Status: 403}
	}
	now := time.Now()
	h.now = func() time.Time { return now }
	say := func(commit string) {
		h.Tell(h.app, at(commit), forge.Success, "healthy")
		ready, _ := h.take()
		for at, s := range ready {
			h.say(t.Context(), at, s)
		}
	}
	say(c1)
	say(c2)
	now = now.Add(time.Hour)
	say(c2)
	if h.tries != 2 || len(h.reports) != 1 {
		t.Fatalf("%d tries and %d reports, want 2 and one", h.tries, len(h.reports))
	}
	o := h.reports[0]
	if o.Reason != "CommitStatusDenied" || o.Key != "app/default/shop" || !strings.Contains(o.Message, "it answered 403") || o.Run == "" {
		t.Errorf("report %+v", o)
	}
}

func TestTriesAgain(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.refuse = func(try int) error {
		if try <= 2 {
			return &forge.Error{Op: "setting a commit status", Host: "forge.example", Status: 502}
		}
		return nil
	}
	now := time.Now()
	h.now = func() time.Time { return now }
	h.Tell(h.app, at(c1), forge.Success, "healthy")
	for range 10 {
		ready, next := h.take()
		for at, s := range ready {
			h.say(t.Context(), at, s)
		}
		now = now.Add(next)
	}
	if h.tries != 3 || len(h.said) != 1 || len(h.reports) != 0 {
		t.Errorf("%d tries, said %v, reported %v", h.tries, h.said, h.reports)
	}
}

// Without a token for a forge that is known, nobody is asked.
func TestOff(t *testing.T) {
	t.Parallel()
	for _, change := range []func(h *hub){
		func(h *hub) { delete(h.app.Spec.Components[0].Properties, "secretRef") },
		func(h *hub) { h.app.Spec.Components[0].Properties["url"] = "https://elsewhere.example/a/b" },
		func(h *hub) { h.secret = map[string][]byte{"identity": []byte("key")} },
	} {
		h := newHub(t)
		change(h)
		h.Tell(h.app, at(c1), forge.Success, "healthy")
		ready, _ := h.take()
		for at, s := range ready {
			h.say(t.Context(), at, s)
		}
		if h.tries != 0 || len(h.reports) != 0 {
			t.Errorf("%d tries, %d reports", h.tries, len(h.reports))
		}
	}
}
