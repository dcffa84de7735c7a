package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue/internal/layout"
)

// checker watches, from inside the runs, what must never happen.
type checker struct {
	t       *testing.T
	mu      sync.Mutex
	running map[events.Key]context.Context // of the run that goes on
	tokens  map[events.Key]uint64
	begun   map[events.Key]int64 // the last trigger asked for before the last run began
	wanted  map[events.Key]int64 // the last trigger asked for
	count   int
}

func newChecker(t *testing.T) *checker {
	t.Helper()
	return &checker{
		t: t, running: map[events.Key]context.Context{}, tokens: map[events.Key]uint64{},
		begun: map[events.Key]int64{}, wanted: map[events.Key]int64{},
	}
}

func (c *checker) begin(ctx context.Context, j Job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if other := c.running[j.Key]; other != nil && other.Err() == nil {
		c.t.Errorf("%s runs twice at once", j.Key)
	}
	if j.Token <= c.tokens[j.Key] {
		c.t.Errorf("%s: token %d after %d", j.Key, j.Token, c.tokens[j.Key])
	}
	c.running[j.Key], c.tokens[j.Key], c.begun[j.Key] = ctx, j.Token, c.wanted[j.Key]
}

func (c *checker) end(ctx context.Context, j Job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[j.Key] == ctx {
		c.running[j.Key] = nil
	}
}

// ask counts a trigger, before it is made: a run that began earlier cannot have seen the
// count, one that begins later may.
func (c *checker) ask(key events.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted[key]++
}

// missing lists the keys without a run that began after their last trigger.
func (c *checker) missing() (keys []events.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, n := range c.wanted {
		if c.begun[key] < n || c.running[key] != nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// triggerAll makes n triggers for keys, from four callers, spread by seed.
func (c *checker) triggerAll(q *Queue, seed uint64, n, keys int) {
	var wg sync.WaitGroup
	for caller := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, caller))
		wg.Go(func() {
			for range n / 4 {
				k := rng.IntN(keys)
				tr := trigger(fmt.Sprint(k))
				if k%3 == 0 {
					tr.Cause = events.CausePoll
				}
				c.ask(tr.Key)
				if err := q.Trigger(c.t.Context(), tr); err != nil {
					c.t.Errorf("trigger: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// run is a handler that the checker watches: quick, at times failing.
func (c *checker) run(ctx context.Context, j Job) error {
	c.begin(ctx, j)
	defer c.end(ctx, j)
	if err := j.Check(ctx); err != nil {
		return err
	}
	spin(rand.N(4 * time.Millisecond))
	if j.Attempt == 1 && rand.N(20) == 0 {
		return errors.New("try again")
	}
	return nil
}

// TestNoTriggerIsLost: three workers, fifty keys, two thousand triggers, some runs fail.
// The last trigger of each key is followed by a run, and no two runs of a key overlap.
func TestNoTriggerIsLost(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	c := newChecker(t)
	for range 3 {
		during(t, func(ctx context.Context) error { return q.Work(ctx, 4, c.run) })
	}
	c.triggerAll(q, 1, 2000, 50)
	eventually(t, "a run after every last trigger", func() bool { return len(c.missing()) == 0 })
	t.Logf("%d runs for 2000 triggers", c.count)
}

// TestNoTriggerIsLostWithSessions: the same while sessions are lost at any point of a
// key's life, a hundred times.
func TestNoTriggerIsLostWithSessions(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	c := newChecker(t)
	workers := make([]*worker, 3)
	for i := range workers {
		workers[i] = q.newWorker(t.Context(), 4, c.run)
		during(t, workers[i].work)
	}
	done := make(chan struct{})
	go func() { c.triggerAll(q, 2, 1200, 50); close(done) }()
	losses := 0
	for losing := true; losing; {
		select {
		case <-done:
			losing = false
		case <-time.After(rand.N(20 * time.Millisecond)):
			if s := workers[rand.N(3)].currentSession(); s != nil {
				losses++
				_ = s.Close(t.Context())
			}
		}
	}
	eventually(t, "a run after every last trigger", func() bool { return len(c.missing()) == 0 })
	t.Logf("%d runs for 1200 triggers, %d sessions lost", c.count, losses)
}

// spin waits without a timer's granularity being the smallest unit.
func spin(d time.Duration) { <-time.After(d) }

// TestTriggerDuringRunIsFollowedByOne: a trigger that returns while a run goes on always
// causes a run that begins after it.
func TestTriggerDuringRunIsFollowedByOne(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	var begun atomic.Int64
	gate := make(chan struct{})
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 2, func(context.Context, Job) error {
			begun.Add(1)
			<-gate
			return nil
		})
	})
	defer close(gate)
	for i := range 30 {
		if i == 0 {
			if err := q.Trigger(t.Context(), trigger("a")); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "a run", func() bool { return begun.Load() == int64(i+1) })
		for range 3 { // coalesce into one
			if err := q.Trigger(t.Context(), trigger("a")); err != nil {
				t.Fatal(err)
			}
		}
		gate <- struct{}{}
	}
	eventually(t, "the last run", func() bool { return begun.Load() == 31 })
	gate <- struct{}{}
	eventually(t, "quiet", func() bool { return waiting(t, q) == 0 })
	if n := begun.Load(); n != 31 {
		t.Errorf("%d runs, want 31", n)
	}
}

// waiting counts the entries that wait in any lane, timers aside.
func waiting(t *testing.T, q *Queue) int {
	t.Helper()
	n := 0
	for _, lane := range layout.Lanes() {
		info, err := q.streams.Work.Info(t.Context(), jetstream.WithSubjectFilter(layout.LaneWork(lane)))
		if err != nil {
			t.Fatal(err)
		}
		n += len(info.State.Subjects)
	}
	return n
}

func TestHotKeyHasOneRunAndOneWaiting(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	c := newChecker(t)
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 4, func(ctx context.Context, j Job) error {
			c.begin(ctx, j)
			defer c.end(ctx, j)
			spin(30 * time.Millisecond)
			return nil
		})
	})
	for range 60 {
		c.ask(trigger("hot").Key)
		if err := q.Trigger(t.Context(), trigger("hot")); err != nil {
			t.Fatal(err)
		}
		spin(10 * time.Millisecond)
		if n := waiting(t, q); n > 1 {
			t.Errorf("%d entries wait", n)
		}
	}
	eventually(t, "the run after the last trigger", func() bool { return len(c.missing()) == 0 })
	if c.count > 40 {
		t.Errorf("%d runs of 30ms for 60 triggers over about 0.7s", c.count)
	}
}

func TestErrorIsRetriedByTheTable(t *testing.T) {
	t.Parallel()
	cfg := testConfig(storeDir(t))
	cfg.Delays = []time.Duration{20 * time.Millisecond} // the last delay repeats
	q := open(t, cfg)
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 2, func(_ context.Context, j Job) error {
			if n := ran.add(j); n < 9 {
				return fmt.Errorf("no %d", n)
			}
			return nil
		})
	})
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ninth run", func() bool { return ran.count() == 9 })
	for i, j := range ran.jobs() {
		if j.Attempt != i+1 || j.Event != "e-a" {
			t.Errorf("run %d: %+v", i+1, j)
		}
	}
	// Errors never park, and success begins a new count.
	if parked, err := q.Parked(t.Context()); err != nil || len(parked) > 0 {
		t.Errorf("parked: %+v, %v", parked, err)
	}
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a run after success", func() bool { return ran.count() == 10 })
	if j := ran.jobs()[9]; j.Attempt != 1 {
		t.Errorf("attempt %d after success", j.Attempt)
	}
}

func TestRetryAfterOverridesTheTable(t *testing.T) {
	t.Parallel()
	cfg := testConfig(storeDir(t))
	cfg.Delays = []time.Duration{time.Hour}
	q := open(t, cfg)
	var at [2]time.Time
	var n atomic.Int32
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(context.Context, Job) error {
			i := n.Load()
			at[i] = time.Now()
			n.Add(1)
			if i == 0 {
				return events.RetryAfter(700*time.Millisecond, errors.New("later"))
			}
			return nil
		})
	})
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second run", func() bool { return n.Load() == 2 })
	if d := at[1].Sub(at[0]); d < 700*time.Millisecond || d > 3*time.Second {
		t.Errorf("second run after %s, want 700ms", d)
	}
}

func TestTriggerOverridesBackOff(t *testing.T) {
	t.Parallel()
	cfg := testConfig(storeDir(t))
	cfg.Delays = []time.Duration{time.Hour}
	q := open(t, cfg)
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, j Job) error {
			if ran.add(j) == 1 {
				return errors.New("broken")
			}
			return nil
		})
	})
	for i := range 2 {
		if err := q.Trigger(t.Context(), trigger("a")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a run", func() bool { return ran.count() == i+1 })
		eventually(t, "its end", func() bool { return q.leases.Holder(trigger("a").Key) == nil })
	}
	// Success made the timer of the next try void.
	eventually(t, "no timer", func() bool {
		info, err := q.streams.Work.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
}

func TestDropParksAndTriggerUnparks(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	var broken atomic.Bool
	broken.Store(true)
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 2, func(_ context.Context, j Job) error {
			ran.add(j)
			if broken.Load() {
				return events.Drop(errors.New("no such field \"spce\" in line 3"))
			}
			return events.Skip("nothing to do")
		})
	})
	key := trigger("a").Key
	list := func() []Parked {
		all, err := q.Parked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if err := q.Unpark(t.Context(), key); err == nil || err.Error() != `unparking "app/default/a": it is not parked` {
		t.Errorf("unparking what is not parked: %v", err)
	}
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "parked", func() bool { return len(list()) == 1 })
	p := list()[0]
	if p.Key != key || p.Reason != "dropped" || p.Message != `no such field "spce" in line 3` || p.Attempts != 1 || p.Event != "e-a" || p.Fingerprint == "" {
		t.Errorf("parked: %+v", p)
	}
	if a, b := fingerprint("dropped", "line 3 of 14"), fingerprint("dropped", "line 4 of 200"); a != b {
		t.Errorf("fingerprints %s and %s of the same failure", a, b)
	}
	broken.Store(false)
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	idle := func() bool { return q.leases.Holder(key) == nil && waiting(t, q) == 0 }
	eventually(t, "unparked by a trigger", func() bool { return len(list()) == 0 && ran.count() == 2 && idle() })

	broken.Store(true)
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "parked again", func() bool { return len(list()) == 1 && idle() })
	broken.Store(false)
	if err := q.Unpark(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "unparked by hand", func() bool { return len(list()) == 0 && ran.count() == 4 })
	if j := ran.jobs()[3]; j.Cause != events.CauseReplay || j.Event != "e-a" || j.Attempt != 1 {
		t.Errorf("run after unparking: %+v", j)
	}
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, j Job) error {
			if ran.add(j) == 1 {
				panic("oh")
			}
			return nil
		})
	})
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second run", func() bool { return ran.count() == 2 })
}

func TestTimers(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	q := open(t, testConfig(dir))
	// The later request replaces the earlier, and survives a restart.
	soon := time.Now().Add(1500 * time.Millisecond)
	for _, at := range []time.Time{time.Now().Add(time.Hour), soon} {
		if err := q.TriggerAt(t.Context(), trigger("a"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.TriggerAt(t.Context(), trigger("b"), time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	closeQueue(t, q)
	q = open(t, testConfig(dir))
	var ran runs
	var at atomic.Int64
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, j Job) error {
			if j.Key == trigger("a").Key {
				at.Store(time.Now().UnixNano())
			}
			ran.add(j)
			return nil
		})
	})
	eventually(t, "both", func() bool { return ran.count() == 2 })
	if ran.jobs()[0].Key != trigger("b").Key {
		t.Error("a time in the past is not now")
	}
	if d := time.Unix(0, at.Load()).Sub(soon); d < 0 || d > 2*time.Second {
		t.Errorf("the timer was %s late", d)
	}
}

func TestShutdownLetsRunsFinish(t *testing.T) {
	t.Parallel()
	q := open(t, testConfig(storeDir(t)))
	begun, finish := make(chan struct{}), make(chan struct{})
	var cause error
	stop := during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(ctx context.Context, _ Job) error {
			close(begun)
			<-finish
			cause = ctx.Err()
			return nil
		})
	})
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	<-begun
	go func() { spin(100 * time.Millisecond); close(finish) }()
	stop()
	if cause != nil {
		t.Errorf("the run's context ended with Work's: %v", cause)
	}
	if claims := held(t, q); len(claims) > 0 {
		t.Errorf("claims left behind: %v", claims)
	}
}

func TestShutdownCancelsAfterGraceAndRepeats(t *testing.T) {
	t.Parallel()
	cfg := testConfig(storeDir(t))
	cfg.Grace = 50 * time.Millisecond
	q := open(t, cfg)
	begun := make(chan struct{})
	stop := during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(ctx context.Context, _ Job) error {
			close(begun)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	if claims := held(t, q); len(claims) > 0 {
		t.Errorf("claims left behind: %v", claims)
	}
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, j Job) error { ran.add(j); return nil })
	})
	eventually(t, "the run again", func() bool { return ran.count() == 1 })
	if j := ran.jobs()[0]; j.Attempt != 1 {
		t.Errorf("attempt %d: being stopped is nobody's fault", j.Attempt)
	}
}

// held lists the keys that some session holds by the stream.
func held(t *testing.T, q *Queue) (keys []string) {
	t.Helper()
	err := layout.Scan(t.Context(), q.streams.Claims, layout.AllClaims, func(_ string, _ uint64, _ time.Time, data []byte) error {
		if strings.Contains(string(data), `"session":"`) {
			keys = append(keys, string(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
