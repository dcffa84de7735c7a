package poll_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/services/poll"
	"github.com/tradewind-dev/tradewind/sync/git"
)

const repo, url = "example.com/acme/config", "https://example.com/acme/config"

// id is a commit id that is easy to read.
func id(digit string) git.Commit { return git.Commit(strings.Repeat(digit, 40)) }

// world stands in for everything around a Poller.
type world struct {
	mu        sync.Mutex
	watches   []poll.Watch
	changed   chan struct{}
	refs      map[string]git.Commit
	listErr   error
	listed    []time.Time // when, since start
	started   time.Time
	slow      time.Duration
	busy, max map[string]int
	published []events.Event
	queueErr  error
	fetched   git.Commit
	heard     string
	webhook   bool
	log       bytes.Buffer
	registry  *prometheus.Registry
}

func newWorld(watches ...poll.Watch) *world {
	return &world{
		watches: watches, changed: make(chan struct{}), started: time.Now(), registry: prometheus.NewRegistry(),
		refs: map[string]git.Commit{"refs/heads/main": id("a"), "refs/heads/side": id("b")},
		busy: map[string]int{}, max: map[string]int{},
	}
}

func (w *world) Watches(context.Context) []poll.Watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watches
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) List(ctx context.Context, src git.Source) (git.Refs, error) {
	host := strings.Split(src.URL, "/")[2]
	w.mu.Lock()
	w.listed = append(w.listed, time.Now())
	for _, k := range []string{host, "all"} {
		w.busy[k]++
		w.max[k] = max(w.max[k], w.busy[k])
	}
	slow := w.slow
	w.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[host]--
	w.busy["all"]--
	return git.RefsOf(src.URL, "refs/heads/main", maps.Clone(w.refs)), w.listErr
}

func (w *world) Publish(_ context.Context, evs ...events.Event) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queueErr != nil {
		return false, w.queueErr
	}
	w.published = append(w.published, evs...)
	return false, nil
}

func (w *world) Fetched(git.Source, git.Ref) git.Commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetched
}

func (w *world) Heard(context.Context, string, string) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard, w.webhook
}

func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// watch replaces the list of sources.
func (w *world) watch(watches ...poll.Watch) {
	w.do(func() {
		w.watches = watches
		close(w.changed)
		w.changed = make(chan struct{})
	})
}

// run starts a Poller that ends with the test's bubble.
func (w *world) run(t *testing.T) *poll.Poller {
	t.Helper()
	p := poll.New(poll.Config{
		Sources: w, Lister: w, Publisher: w, Known: w, Seed: 1, Registerer: w.registry,
		Logger: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "event" {
				return slog.Attr{}
			}
			return a
		}})),
	})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return p
}

// after lets time pass and returns what was published since the last call.
func (w *world) after(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, ev := range w.published {
		push, err := ev.Pushed()
		if err != nil {
			panic(err)
		}
		short := func(s string) string { return s[:min(len(s), 1)] }
		out = append(out, fmt.Sprintf("%s %s->%s deleted=%v", ev.Subject, short(push.Before), short(push.After), push.Deleted))
	}
	w.published = nil
	return out
}

func (w *world) missed(t *testing.T) float64 {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func main(interval time.Duration) poll.Watch {
	return poll.Watch{Repo: repo, Source: git.Source{URL: url}, Ref: git.Ref{Branch: "main"}, Interval: interval}
}
