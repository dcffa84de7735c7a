package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
)

// testConfig is an embedded queue that is quick to give up on the dead and to try again.
func testConfig(dir string) Config {
	return Config{
		StoreDir: dir, AllowVolatile: true, Grace: 5 * time.Second,
		Delays: []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, time.Hour},
		Renew:  100 * time.Millisecond, Stop: 600 * time.Millisecond, Dead: time.Second,
	}
}

// storeDir is a directory in memory where there is one: most tests kill processes, not
// machines, and would otherwise mostly wait for a disk.
func storeDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tradewind-queue-")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func open(tb testing.TB, cfg Config) *Queue {
	tb.Helper()
	q, err := Open(tb.Context(), cfg, Options{Logger: slog.New(slog.NewTextHandler(testWriter{tb}, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeQueue(tb, q) })
	return q
}

func closeQueue(tb testing.TB, q *Queue) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := q.Close(ctx); err != nil {
		tb.Errorf("closing the queue: %v", err)
	}
}

type testWriter struct{ tb testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.tb.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func pushed(id, repo, ref, commit string) events.Event {
	data, err := json.Marshal(events.SourcePushed{Repos: []string{repo}, Ref: ref, After: commit})
	if err != nil {
		panic(err)
	}
	return events.Event{
		SpecVersion: events.SpecVersion, ID: id, Source: "/hooks/github/x", Type: events.TypeSourcePushed,
		Subject: events.SourceKey(repo, ref), Time: time.Now().UTC(), Data: data,
	}
}

func trigger(name string) events.Trigger {
	return events.Trigger{Key: events.AppKey("default", name), Cause: events.CauseWebhook, Event: "e-" + name, Time: time.Now()}
}

// eventually polls until cond holds.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	within(tb, 15*time.Second, what, cond)
}

func within(tb testing.TB, limit time.Duration, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", limit, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// during runs fn beside the test and waits for it at its end.
func during(tb testing.TB, fn func(ctx context.Context) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := fn(ctx); err != nil {
			tb.Errorf("blocking call: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	tb.Cleanup(stop)
	return stop
}

// runs records which keys ran.
type runs struct {
	mu  sync.Mutex
	log []Job
}

func (r *runs) add(j Job) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, j)
	return len(r.log)
}

func (r *runs) jobs() []Job {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Job(nil), r.log...)
}

func (r *runs) count() int { return len(r.jobs()) }

func TestPublishDropsDuplicates(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	a, b := pushed("a", "h/r", "refs/heads/main", "1"), pushed("b", "h/r", "refs/heads/main", "2")
	first, err := q.Publish(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	if first[0].Duplicate || first[1].Duplicate || first[0].Seq == first[1].Seq {
		t.Errorf("two new events: %+v", first)
	}
	again, err := q.Publish(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Stored{{Seq: first[0].Seq, Duplicate: true}}; !cmp.Equal(again, want) {
		t.Errorf("the same event again: %s", cmp.Diff(want, again))
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	good := pushed("good", "h/r", "refs/heads/main", "1")
	for _, tc := range []struct {
		name, want string
		change     func(*events.Event)
	}{
		{"no id", "no id", func(e *events.Event) { e.ID = "" }},
		{"long id", "id of 300 bytes: at most 256", func(e *events.Event) { e.ID = strings.Repeat("x", 300) }},
		{"line break", `delivery "a b": want text without control characters`, func(e *events.Event) { e.Delivery = "a\nb" }},
		{"type", `type "Push": want reverse DNS in lower case`, func(e *events.Event) { e.Type = "Push" }},
		{"version", `specversion "2.0": want "1.0"`, func(e *events.Event) { e.SpecVersion = "2.0" }},
		{"payload", "decoding event good: ", func(e *events.Event) { e.Data = json.RawMessage(`[]`) }},
		{"size", "an event has at most 65536", func(e *events.Event) {
			e.Data = json.RawMessage(`{"repos":["` + strings.Repeat("x", 70000) + `"]}`)
		}},
	} {
		ev := good
		tc.change(&ev)
		_, err := q.Publish(t.Context(), good, ev)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", tc.name, err, tc.want)
		}
	}
	// Nothing of those calls was stored, although their first event was good.
	stored, err := q.Publish(t.Context(), good)
	if err != nil || stored[0].Duplicate {
		t.Errorf("after refusals: %+v, %v", stored, err)
	}
}

func TestNotStoredIsAnError(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	if err := q.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.server.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if stored, err := q.Publish(ctx, pushed("a", "h/r", "refs/heads/main", "1")); err == nil {
		t.Errorf("published to a stopped server: %+v", stored)
	}
	if err := q.Trigger(ctx, trigger("a")); err == nil {
		t.Error("triggered on a stopped server")
	}
	eventually(t, "not ready", func() bool { return q.Ready(t.Context()) != nil })
}

func TestFullIntakeRefusesAndIsNotReady(t *testing.T) {
	t.Parallel()
	cfg := testConfig(storeDir(t))
	cfg.IntakeMaxBytes = minIntake
	q := open(t, cfg)
	pad := strings.Repeat("x", 60_000)
	accepted, refused := 0, 0
	for i := range 40 {
		ev := pushed(fmt.Sprint(i), "h/r", "refs/heads/main", "1")
		ev.Data = json.RawMessage(`{"repos":["h/r"],"ref":"refs/heads/main","pusher":"` + pad + `"}`)
		if _, err := q.Publish(t.Context(), ev); err != nil {
			refused++
		} else {
			accepted++
		}
	}
	if refused == 0 {
		t.Fatal("40 events of 60 kB fitted into 1 MiB")
	}
	if err := q.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "the intake is full") {
		t.Errorf("ready: %v", err)
	}
	// What was accepted is still there, all of it.
	var got runs
	during(t, func(ctx context.Context) error {
		return q.Route(ctx, func(context.Context, events.Event) ([]events.Trigger, error) {
			got.add(Job{})
			return nil, nil
		})
	})
	eventually(t, "all accepted events routed", func() bool { return got.count() == accepted })
}

func TestRouteTriggersAndRecordsSightingsFirst(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	ctx := t.Context()
	source := events.SourceKey("h/r", "refs/heads/main")
	if s, err := q.Sighting(ctx, source); err != nil || s != (Sighting{}) {
		t.Fatalf("before any event: %+v, %v", s, err)
	}
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 2, func(ctx context.Context, j Job) error {
			s, err := q.Sighting(ctx, source)
			// The second event may be seen already; never is it too little.
			if err != nil || s.Commit != "abc" || s.Event < j.Event || s.Mark == 0 {
				t.Errorf("sighting at the run of %s: %+v, %v", j.Event, s, err)
			}
			ran.add(j)
			return nil
		})
	})
	var failures atomic.Int32
	during(t, func(ctx context.Context) error {
		return q.Route(ctx, func(_ context.Context, ev events.Event) ([]events.Trigger, error) {
			if failures.Add(1) <= 2 {
				return nil, errors.New("index not ready")
			}
			return []events.Trigger{{Key: events.AppKey("ns", "app"), Cause: events.CauseWebhook, Event: ev.ID, Time: ev.Time}}, nil
		})
	})
	ev := pushed("ev", "h/r", "refs/heads/main", "abc")
	if _, err := q.Publish(ctx, ev); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run", func() bool { return ran.count() == 1 })
	got := ran.jobs()[0]
	want := events.Trigger{Key: "app/ns/app", Cause: events.CauseWebhook, Event: "ev", Time: ev.Time}
	if diff := cmp.Diff(want, got.Trigger); diff != "" || got.Attempt != 1 || got.Token == 0 {
		t.Errorf("job %+v: %s", got, diff)
	}
	first, _ := q.Sighting(ctx, source)
	if _, err := q.Publish(ctx, pushed("ev2", "h/r", "refs/heads/main", "abc")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another mark", func() bool { s, _ := q.Sighting(ctx, source); return s.Mark > first.Mark })
}

func published(id, image, tag string) events.Event {
	data, _ := json.Marshal(events.ArtifactPublished{Images: []string{image}, Tag: tag})
	return events.Event{
		SpecVersion: events.SpecVersion, ID: id, Source: "/hooks/distribution/x", Type: events.TypeArtifactPublished,
		Subject: image + ":" + tag, Time: time.Now().UTC(), Data: data,
	}
}

// TestAnnouncements: every tag of an image is kept, in order, and read once with a mark.
func TestAnnouncements(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	ctx := t.Context()
	key := events.BranchKey("h/config", "main")
	during(t, func(ctx context.Context) error {
		return q.Route(ctx, func(ctx context.Context, ev events.Event) ([]events.Trigger, error) {
			return []events.Trigger{{Key: key, Cause: events.CauseImage, Event: ev.ID, Time: ev.Time}}, nil
		})
	})
	if _, err := q.Publish(ctx, published("bad", "h/app", "-x")); err == nil {
		t.Error("a tag that is none was stored")
	}
	publish := func(id, image, tag string) {
		t.Helper()
		if _, err := q.Publish(ctx, published(id, image, tag)); err != nil {
			t.Fatal(err)
		}
	}
	tags := func(image string, after uint64) ([]string, uint64) {
		t.Helper()
		got, mark, err := q.Announced(ctx, image, after)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, a := range got {
			out = append(out, a.Tag)
		}
		return out, mark
	}
	publish("1", "h/app", "v1")
	eventually(t, "the first", func() bool { got, _ := tags("h/app", 0); return len(got) == 1 })
	_, mark := tags("h/app", 0)
	publish("2", "h/other", "v9")
	publish("3", "h/app", "v2")
	eventually(t, "the second", func() bool { got, _ := tags("h/app", mark); return len(got) == 1 && got[0] == "v2" })
	if got, _ := tags("h/app", 0); len(got) != 2 || got[0] != "v1" {
		t.Errorf("from the beginning: %q", got)
	}
	if got, last := tags("h/nobody", 7); len(got) != 0 || last != 7 {
		t.Errorf("of nobody: %q, mark %d", got, last)
	}
	ran := make(chan Job, 1)
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, job Job) error { ran <- job; return nil })
	})
	if job := <-ran; job.Key != key || job.Cause != events.CauseImage {
		t.Errorf("ran %+v", job.Trigger)
	}
}
