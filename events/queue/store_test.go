package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
	"github.com/tradewind-dev/tradewind/events/queue/internal/lease"
)

func outcome(name string, stage events.Stage) events.Outcome {
	return events.Outcome{
		Run: "r1", Key: events.AppKey("default", name), Cause: events.CauseWebhook, Stage: stage,
		Result: events.Success, Commit: "abc", Changed: 2, Time: time.Now().UTC(), Took: time.Second,
	}
}

func TestOutcomesFromAnySequenceThenLive(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	all := []events.Outcome{outcome("a", events.StageFetch), outcome("b", events.StageFetch), outcome("a", events.StageApply)}
	all[2].Message = strings.Repeat("ä", 2000)
	for _, o := range all[:2] {
		if err := q.Report(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	got := map[uint64][]events.Outcome{}
	var second uint64
	listen := func(after uint64) {
		during(t, func(ctx context.Context) error {
			return q.Outcomes(ctx, after, func(seq uint64, o events.Outcome) {
				mu.Lock()
				defer mu.Unlock()
				got[after] = append(got[after], o)
				if after == 0 && len(got[0]) == 2 {
					second = seq
				}
			})
		})
	}
	count := func(after uint64) int { mu.Lock(); defer mu.Unlock(); return len(got[after]) }
	listen(0)
	eventually(t, "the stored ones", func() bool { return count(0) == 2 })
	listen(second)
	listen(second + 1000) // of a stream that is no more: from the beginning
	if err := q.Report(t.Context(), all[2]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the live one", func() bool { return count(0) == 3 && count(second) == 1 && count(second+1000) == 3 })
	all[2].Message = strings.Repeat("ä", 512)
	mu.Lock()
	defer mu.Unlock()
	for after, want := range map[uint64][]events.Outcome{0: all, second: all[2:], second + 1000: all} {
		if diff := cmp.Diff(want, got[after]); diff != "" {
			t.Errorf("after %d: %s", after, diff)
		}
	}
	if err := q.Report(t.Context(), events.Outcome{Key: "x"}); err == nil {
		t.Error("an outcome of no key was stored")
	}
}

// TestRestartKeepsEverything: what waits, is parked, was seen and was reported is there
// in the next life.
func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	q := open(t, testConfig(dir))
	ctx := t.Context()
	source := events.SourceKey("h/r", "refs/heads/main")
	stopRoute := during(t, func(ctx context.Context) error {
		return q.Route(ctx, func(context.Context, events.Event) ([]events.Trigger, error) { return nil, nil })
	})
	stopWork := during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(context.Context, Job) error { return events.Drop(errors.New("no")) })
	})
	if _, err := q.Publish(ctx, pushed("ev", "h/r", "refs/heads/main", "abc")); err != nil {
		t.Fatal(err)
	}
	if err := q.Trigger(ctx, trigger("parked")); err != nil {
		t.Fatal(err)
	}
	var before Sighting
	eventually(t, "seen and parked", func() bool {
		before, _ = q.Sighting(ctx, source)
		parked, _ := q.Parked(ctx)
		return before.Mark > 0 && len(parked) == 1
	})
	stopRoute()
	stopWork()
	if err := q.Trigger(ctx, trigger("waiting")); err != nil {
		t.Fatal(err)
	}
	if err := q.Report(ctx, outcome("a", events.StageApply)); err != nil {
		t.Fatal(err)
	}
	closeQueue(t, q)

	q = open(t, testConfig(dir))
	if after, err := q.Sighting(ctx, source); err != nil || after != before {
		t.Errorf("sighting %+v, %v; was %+v", after, err, before)
	}
	parked, err := q.Parked(ctx)
	if err != nil || len(parked) != 1 || parked[0].Key != "app/default/parked" {
		t.Errorf("parked %+v, %v", parked, err)
	}
	stored, err := q.Publish(ctx, pushed("ev", "h/r", "refs/heads/main", "abc"))
	if err != nil || !stored[0].Duplicate {
		t.Errorf("an event of the life before: %+v, %v", stored, err)
	}
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, j Job) error { ran.add(j); return nil })
	})
	var reported atomic.Int32
	during(t, func(ctx context.Context) error {
		return q.Outcomes(ctx, 0, func(uint64, events.Outcome) { reported.Add(1) })
	})
	eventually(t, "the waiting key and the outcome", func() bool { return ran.count() == 1 && reported.Load() == 1 })
	if j := ran.jobs()[0]; j.Key != "app/default/waiting" {
		t.Errorf("ran %s", j.Key)
	}
}

// TestServerRestartInPlace: the embedded server is exchanged under work in hand, as after
// a full disk; nothing is lost and nobody has to open the queue again.
func TestServerRestartInPlace(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	c := newChecker(t)
	var routed atomic.Int32
	during(t, func(ctx context.Context) error { return q.Work(ctx, 4, c.run) })
	during(t, func(ctx context.Context) error {
		return q.Route(ctx, func(context.Context, events.Event) ([]events.Trigger, error) { routed.Add(1); return nil, nil })
	})
	during(t, func(ctx context.Context) error { return q.Outcomes(ctx, 0, func(uint64, events.Outcome) {}) })
	c.triggerAll(q, 3, 40, 10)
	if err := q.revive(); err != nil {
		t.Fatal(err)
	}
	if err := q.Ready(t.Context()); err != nil {
		t.Errorf("not ready after a restart: %v", err)
	}
	c.triggerAll(q, 4, 40, 10)
	if _, err := q.Publish(t.Context(), pushed("ev", "h/r", "refs/heads/main", "abc")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "all run and routed", func() bool { return len(c.missing()) == 0 && routed.Load() == 1 })
	t.Logf("caught up after %s", time.Since(began))
}

// TestUnansweredPublishesHealTheServer: three publishes without an answer make the queue
// unready and restart the embedded server, which then stores again.
func TestUnansweredPublishesHealTheServer(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	for range maxUnanswered {
		q.health.note(context.DeadlineExceeded)
	}
	if err := q.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "the last 3 publishes got no answer") {
		t.Errorf("ready: %v", err)
	}
	eventually(t, "healed", func() bool { return q.Ready(t.Context()) == nil })
	var m dto.Metric
	if err := q.metrics.reconnects.Write(&m); err != nil || m.GetCounter().GetValue() != 1 {
		t.Errorf("%v reconnects, %v", m.GetCounter(), err)
	}
	if _, err := q.Publish(t.Context(), pushed("ev", "h/r", "refs/heads/main", "abc")); err != nil {
		t.Error(err)
	}
}

// TestStolenClaimFailsTheCheck: whoever overwrites the claim, the late one is told.
func TestStolenClaimFailsTheCheck(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	checks := make(chan error, 2)
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(ctx context.Context, j Job) error {
			if j.Attempt > 1 {
				return nil
			}
			checks <- j.Check(ctx)
			if _, err := q.js.Publish(ctx, layout.Claim(j.Key), []byte(`{"v":1,"key":"app/default/a","nonce":"thief"}`)); err != nil {
				t.Error(err)
			}
			checks <- j.Check(ctx)
			return nil
		})
	})
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	if err := <-checks; err != nil {
		t.Errorf("before: %v", err)
	}
	if err := <-checks; !errors.Is(err, ErrLost) {
		t.Errorf("after: %v", err)
	}
	if err := (Job{}).Check(t.Context()); err == nil {
		t.Error("a job from nowhere passes")
	}
}

// TestOddMessagesAreParked: what cannot be understood is moved aside, and what comes
// after it is worked on.
func TestOddMessagesAreParked(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	ctx := t.Context()
	key := events.AppKey("default", "a")
	for _, m := range []struct{ subject, data string }{
		{layout.Work(layout.Now, "other"), `{"v":1,"trigger":{"key":"app/default/a","cause":"poll","time":"2026-01-01T00:00:00Z"}}`},
		{layout.Work(layout.Now, "x"), `{`},
		{layout.Work(layout.Later, key), `{"v":9,"trigger":{"key":"app/default/a"}}`},
		{layout.Intake(pushed("odd", "h/r", "refs/heads/main", "")), `{"specversion":"1.0","id":"","type":"a.b"}`},
		{layout.Claim(key), `nonsense`},
	} {
		if _, err := q.js.Publish(ctx, m.subject, []byte(m.data)); err != nil {
			t.Fatal(err)
		}
	}
	var ran, routed runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, j Job) error { ran.add(j); return nil })
	})
	during(t, func(ctx context.Context) error {
		return q.Route(ctx, func(_ context.Context, ev events.Event) ([]events.Trigger, error) {
			if routed.add(Job{}) == 1 {
				return nil, events.Drop(errors.New("hopeless"))
			}
			return nil, nil
		})
	})
	if err := q.Trigger(ctx, trigger("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Publish(ctx, pushed("ev", "h/r", "refs/heads/main", "")); err != nil {
		t.Fatal(err)
	}
	var parked []Parked
	eventually(t, "five parked, one run", func() bool {
		var err error
		if parked, err = q.Parked(ctx); err != nil {
			t.Fatal(err)
		}
		return len(parked) == 5 && ran.count() == 1
	})
	var reasons []string
	for _, p := range parked {
		reasons = append(reasons, p.Reason+": "+p.Message)
	}
	slices.Sort(reasons)
	want := []string{
		"dropped: hopeless",
		"unreadable: decoding a work entry: unexpected end of JSON input",
		"unreadable: no id",
		"unreadable: work entry of app/default/a on the subject of another key",
		"unreadable: work entry of version 9: this program writes 1",
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
	// An event can be tried again, nonsense cannot.
	if err := q.Unpark(ctx, "event/ev"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "routed again", func() bool { return routed.count() == 2 })
	i := slices.IndexFunc(parked, func(p Parked) bool { return p.Reason == parkedUnreadable })
	if err := q.Unpark(ctx, parked[i].Key); err == nil || !strings.Contains(err.Error(), "stays for inspection") {
		t.Errorf("unparking nonsense: %v", err)
	}
}

// TestClaimOfNewerVersionIsRespected: during an upgrade the old worker does not overwrite
// what it cannot read.
func TestClaimOfNewerVersionIsRespected(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	key := events.AppKey("default", "a")
	ack, err := q.js.Publish(t.Context(), layout.Claim(key), []byte(`{"v":2,"key":"app/default/a","holder":["new"]}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := q.leases.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if _, err := s.Claim(t.Context(), trigger("a")); !errors.Is(err, lease.ErrBusy) {
		t.Errorf("claim: %v", err)
	}
	if msg, err := q.streams.Claims.GetLastMsgForSubject(t.Context(), layout.Claim(key)); err != nil || msg.Sequence != ack.Sequence {
		t.Errorf("the newer claim was replaced: %v", err)
	}
}

func TestLanesAreFair(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	gate := make(chan struct{})
	var ran runs
	for i := range 40 {
		tr := trigger(fmt.Sprint(i))
		tr.Cause = events.CausePoll
		if err := q.Trigger(t.Context(), tr); err != nil {
			t.Fatal(err)
		}
	}
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 3, func(_ context.Context, j Job) error {
			ran.add(j)
			if j.Cause == events.CausePoll {
				<-gate
			}
			return nil
		})
	})
	eventually(t, "routine fills all but one slot", func() bool { return ran.count() == 2 })
	if err := q.Trigger(t.Context(), trigger("push")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the push", func() bool { return ran.count() == 3 })
	if j := ran.jobs()[2]; j.Cause != events.CauseWebhook {
		t.Errorf("third run is for %s", j.Cause)
	}
	close(gate)
	eventually(t, "the rest", func() bool { return ran.count() == 41 })
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	q, err := Open(t.Context(), testConfig(storeDir(t)), Options{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeQueue(t, q) })
	ev := pushed("ev", "h/r", "refs/heads/main", "")
	for range 2 {
		if _, err := q.Publish(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "tradewind_queue_") + "{" + strings.Join(labels, ",") + "}"
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if h := m.GetHistogram(); h != nil {
				got[name] = float64(h.GetSampleCount())
			}
		}
	}
	for name, want := range map[string]float64{
		"published_total{stored,source.pushed}": 1, "published_total{duplicate,source.pushed}": 1,
		"published_total{error,source.pushed}": 0, "publish_duration_seconds{source.pushed}": 2,
		"pending{router}": 1, "pending{now}": 1, "pending{later}": 0, "parked_events{work}": 0, "connected{}": 1,
		"handled_total{work,drop}": 0, "reconnects_total{}": 0, "in_flight{router}": 0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if got["oldest_pending_seconds{router}"] <= 0 || got["oldest_pending_seconds{now}"] <= 0 {
		t.Errorf("ages: %v", got)
	}
}

// TestStreamSettingsAreVerified: an operator's stream that could lose work is refused,
// with the name of the setting.
func TestStreamSettingsAreVerified(t *testing.T) {
	t.Parallel()
	url := external(t)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig("")
	cfg.URL = url
	for _, tc := range []struct {
		field  string
		change func(*jetstream.StreamConfig)
	}{
		{"storage", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		{"discard", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }},
		{"retention", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }},
		{"max_msgs", func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }},
		{"duplicate_window", func(c *jetstream.StreamConfig) { c.Duplicates = time.Second }},
	} {
		bad := jetstream.StreamConfig{
			Name: layout.IntakeName(0), Subjects: []string{"tw.in.0.>"}, Discard: jetstream.DiscardNew,
			Duplicates: 10 * time.Minute, AllowDirect: true, Replicas: 1, MaxBytes: 1 << 20,
		}
		tc.change(&bad)
		eventually(t, "the name is free again", func() bool {
			_, err := js.CreateStream(t.Context(), bad)
			return err == nil
		})
		_, err := Open(t.Context(), cfg, Options{})
		if want := "opening the queue: stream TW_INTAKE_0: " + tc.field + " differs"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", tc.field, err)
		}
		if err := js.DeleteStream(t.Context(), bad.Name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the name is free again", func() bool { // and all streams are made
		q, err := Open(t.Context(), cfg, Options{})
		if err == nil {
			closeQueue(t, q)
		}
		return err == nil
	})
	open(t, cfg) // and found good
}

func TestStoreDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "queue")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // the point of the test
		t.Fatal(err)
	}
	cfg := testConfig(dir)
	open(t, cfg)
	for _, d := range []string{dir, filepath.Join(dir, "jetstream")} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, info.Mode(), err)
		}
	}
	if q2, err := Open(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "is in use by another process") {
		t.Errorf("the same directory twice: %v, %v", q2, err)
	}
	cfg.AllowVolatile = false
	cfg.StoreDir = t.TempDir()
	if _, err := Open(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "set queue.allowVolatile") {
		t.Errorf("a temporary directory: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := Default()
	good.StoreDir = "/var/lib/tradewind"
	outside := Default()
	for _, tc := range []struct {
		name   string
		config Config
		change func(*Config)
		want   string
	}{
		{"embedded", good, func(*Config) {}, ""},
		{"external", outside, func(c *Config) { c.URL = "nats://a:4222,tls://b:4222"; c.Replicas = 3 }, ""},
		{"nothing", outside, func(*Config) {}, "queue.storeDir: the embedded queue needs a directory on a durable disk"},
		{"relative", good, func(c *Config) { c.StoreDir = "x" }, `queue.storeDir: "x": want an absolute path`},
		{"replicas", good, func(c *Config) { c.Replicas = 3 }, "queue.replicas: 3: the embedded queue has one"},
		{"password", outside, func(c *Config) { c.URL = "nats://u:secret@h:4222" }, "queue.url: h:4222: credentials belong into credentialsFile"},
		{"bad url", outside, func(c *Config) { c.URL = "nats://u:secret@h:port" }, "queue.url: want nats://host:port"},
		{"scheme", outside, func(c *Config) { c.URL = "http://h:1" }, `queue.url: h:1: scheme "http": want nats, tls or wss`},
		{"key", outside, func(c *Config) { c.URL = "tls://h:1"; c.CertFile = "x" }, "queue.certFile: a client certificate needs certFile and keyFile"},
		{"order", good, func(c *Config) { c.Dead = c.Stop }, "queue.renew: 700ms, stop 2.5s, dead 2.5s: want 0 < renew < stop < dead"},
	} {
		cfg := tc.config
		tc.change(&cfg)
		got := ""
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	for url, want := range map[string]bool{
		"nats://127.0.0.1:1": true, "nats://localhost:1,nats://[::1]:1": true, "nats://h:1": false, "tls://127.0.0.1:1": false, "nats://127.0.0.1:1,nats://h:1": false,
	} {
		if got := (Config{URL: url}).plaintext(); got != want {
			t.Errorf("plaintext to %s: %t", url, got)
		}
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	var ended atomic.Int32
	for _, call := range []func() error{
		func() error { return q.Work(context.Background(), 1, func(context.Context, Job) error { return nil }) },
		func() error {
			return q.Route(context.Background(), func(context.Context, events.Event) ([]events.Trigger, error) { return nil, nil })
		},
		func() error { return q.Outcomes(context.Background(), 0, func(uint64, events.Outcome) {}) },
	} {
		during(t, func(context.Context) error { err := call(); ended.Add(1); return err })
	}
	spin(50 * time.Millisecond)
	closeQueue(t, q)
	eventually(t, "all calls ended", func() bool { return ended.Load() == 3 })
	if err := q.Work(t.Context(), 1, nil); err == nil || err.Error() != "the queue is closed" {
		t.Errorf("work after close: %v", err)
	}
}

// FuzzDecode: no bytes on the streams make a reader panic, and what is accepted can be
// written again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"trigger":{"key":"app/default/a","cause":"poll","time":"2026-01-01T00:00:00Z"}}`,
		`{"v":1,"at":"2026-01-01T00:00:00Z","retry":true,"trigger":{"key":"app/a/b"}}`,
		`{"specversion":"1.0","id":"x","source":"/s","type":"dev.tradewind.source.pushed","subject":"h/r@refs/heads/x","time":"2026-01-01T00:00:00Z","data":{"repos":["h/r"],"ref":"refs/heads/x"}}`,
		`{"v":1,"run":"r","key":"app/a/b","stage":"apply","result":"success"}`, `{}`, `null`, `[]`, `{"v":1e99}`, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := decodeEntry(layout.Work(layout.Now, events.AppKey("default", "a")), data); err == nil {
			if err := checkTrigger(e.Trigger); err != nil {
				t.Errorf("accepted an entry that would not be written: %v", err)
			}
		}
		if ev, err := decodeEvent(data); err == nil {
			msg, err := encodeEvent(ev)
			if err != nil { // escaping may make it longer than what was read
				return
			}
			again, err := decodeEvent(msg.Data)
			if err != nil || ev.Subject != again.Subject || ev.ID != again.ID {
				t.Errorf("%+v became %+v, %v", ev, again, err)
			}
		}
		if o, err := decodeOutcome(data); err == nil && o.Key == "" {
			t.Error("an outcome without a key")
		}
	})
}
