package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tradewind-dev/tradewind/events"
)

// The children of these tests are this test binary again: they are killed for real.
const (
	childMode  = "TW_QUEUE_TEST_CHILD"
	childStore = "TW_QUEUE_TEST_STORE"
	childURL   = "TW_QUEUE_TEST_URL"
)

func TestMain(m *testing.M) {
	mode := os.Getenv(childMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	cfg := testConfig(os.Getenv(childStore))
	if url := os.Getenv(childURL); url != "" {
		cfg.StoreDir, cfg.URL = "", url
	}
	q, err := Open(context.Background(), cfg, Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err == nil {
		err = map[string]func(*Queue) error{
			"publish": childPublish, "hang": childHang, "crash": childCrash, "route": childRoute,
		}[mode](q)
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(1)
}

// childPublish publishes from several goroutines and says what was accepted.
func childPublish(q *Queue) error {
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				id := fmt.Sprint("event-", n.Add(1))
				if _, err := q.Publish(context.Background(), pushed(id, "h/r", "refs/heads/main", "1")); err != nil {
					return
				}
				if err := q.Trigger(context.Background(), trigger(id)); err != nil {
					return
				}
				fmt.Println(id)
			}
		})
	}
	wg.Wait()
	return errors.New("publishing ended")
}

// childHang takes every key and says what becomes of its claim.
func childHang(q *Queue) error {
	return q.Work(context.Background(), 8, func(ctx context.Context, j Job) error {
		fmt.Println("running", j.Key, j.Attempt)
		for {
			// A question that was asked before the stop may have got no answer.
			if err := j.Check(context.WithoutCancel(ctx)); errors.Is(err, ErrLost) {
				fmt.Println("lost", j.Key, context.Cause(ctx))
				return err
			}
			spin(20 * time.Millisecond)
		}
	})
}

// childCrash dies as soon as a run begins.
func childCrash(q *Queue) error {
	return q.Work(context.Background(), 1, func(context.Context, Job) error {
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	})
}

// childRoute routes and says what.
func childRoute(q *Queue) error {
	return q.Route(context.Background(), func(_ context.Context, ev events.Event) ([]events.Trigger, error) {
		fmt.Println(ev.ID)
		return nil, nil
	})
}

type child struct {
	*exec.Cmd
	lines chan string
}

func startChild(t *testing.T, mode, store, url string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0]), lines: make(chan string, 100_000)}
	c.Env = append(os.Environ(), childMode+"="+mode, childStore+"="+store, childURL+"="+url)
	c.Stderr = testWriter{t}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.lines)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil { // half a line says nothing
				return
			}
			c.lines <- strings.TrimSpace(line)
		}
	}()
	t.Cleanup(func() { c.kill() })
	return c
}

func (c *child) kill() {
	_ = c.Process.Kill()
	_ = c.Wait()
}

// line waits for the next line that starts with prefix.
func (c *child) line(t *testing.T, prefix string) string {
	t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				t.Fatalf("the child ended before it said %q", prefix)
			}
			if strings.HasPrefix(line, prefix) {
				return line
			}
		case <-timeout:
			t.Fatalf("the child did not say %q", prefix)
		}
	}
}

// TestKilledPublisherLosesNothing: what was acknowledged before kill -9 is routed after
// it, and what was triggered runs.
func TestKilledPublisherLosesNothing(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	c := startChild(t, "publish", dir, "")
	accepted := map[string]bool{}
	for len(accepted) < 150 {
		accepted[c.line(t, "event-")] = true
	}
	c.kill()
	for line := range c.lines {
		accepted[line] = true
	}
	q := open(t, testConfig(dir))
	var mu sync.Mutex
	routed, ran := map[string]bool{}, map[string]bool{}
	during(t, func(ctx context.Context) error {
		return q.Route(ctx, func(_ context.Context, ev events.Event) ([]events.Trigger, error) {
			mu.Lock()
			defer mu.Unlock()
			routed[ev.ID] = true
			return nil, nil
		})
	})
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 8, func(_ context.Context, j Job) error {
			mu.Lock()
			defer mu.Unlock()
			_, name, _ := j.Key.App()
			ran[name] = true
			return nil
		})
	})
	eventually(t, "every accepted event routed and run", func() bool {
		mu.Lock()
		defer mu.Unlock()
		missing := 0
		for id := range accepted {
			if !routed[id] || !ran[id] {
				missing++
			}
		}
		return missing == 0
	})
	t.Logf("%d accepted", len(accepted))
}

// TestKilledRouterDoesNotRouteEverythingAgain: acknowledgements of the intake survive
// kill -9 but for the last moments.
func TestKilledRouterDoesNotRouteEverythingAgain(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	q := open(t, testConfig(dir))
	var evs []events.Event
	for i := range 200 {
		evs = append(evs, pushed(fmt.Sprint("event-", i), "h/r", "refs/heads/main", "1"))
	}
	if _, err := q.Publish(t.Context(), evs...); err != nil {
		t.Fatal(err)
	}
	closeQueue(t, q)
	c := startChild(t, "route", dir, "")
	for range evs {
		c.line(t, "event-")
	}
	spin(time.Second) // the server writes acknowledgements behind
	c.kill()
	q = open(t, testConfig(dir))
	var again atomic.Int64
	during(t, func(ctx context.Context) error {
		return q.Route(ctx, func(_ context.Context, ev events.Event) ([]events.Trigger, error) {
			again.Add(1)
			if ev.ID == "last" {
				return []events.Trigger{trigger("last")}, nil
			}
			return nil, nil
		})
	})
	if _, err := q.Publish(t.Context(), pushed("last", "h/r", "refs/heads/main", "1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last event routed", func() bool { return waiting(t, q) == 1 })
	if n := again.Load(); n > 20 {
		t.Errorf("%d of 200 events were routed again", n)
	}
}

// TestKilledProcessIsTakenOverAtOnce: a new life of an embedded queue knows that the
// sessions of the old one are dead.
func TestKilledProcessIsTakenOverAtOnce(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	q := open(t, testConfig(dir))
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	closeQueue(t, q)
	c := startChild(t, "hang", dir, "")
	c.line(t, "running app/default/a 1")
	c.kill()
	cfg := testConfig(dir)
	cfg.Stop, cfg.Dead = 30*time.Second, time.Minute // waiting for death would take long
	q = open(t, cfg)
	began := time.Now()
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, j Job) error { ran.add(j); return nil })
	})
	eventually(t, "the run again", func() bool { return ran.count() == 1 })
	t.Logf("taken over after %s", time.Since(began))
	if j := ran.jobs()[0]; j.Attempt != 2 || j.Event != "e-a" {
		t.Errorf("job %+v, want the second attempt of the same trigger", j)
	}
}

// TestCrashingKeyIsParked: five runs that kill their process park the key; the sixth
// does not happen.
func TestCrashingKeyIsParked(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	q := open(t, testConfig(dir))
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	closeQueue(t, q)
	for range maxCrashes {
		if err := startChild(t, "crash", dir, "").Wait(); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("child: %v", err)
		}
	}
	q = open(t, testConfig(dir))
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(_ context.Context, j Job) error { ran.add(j); return nil })
	})
	var parked []Parked
	eventually(t, "parked", func() bool {
		var err error
		if parked, err = q.Parked(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(parked) == 1
	})
	if p := parked[0]; p.Key != "app/default/a" || p.Reason != "crashed" || p.Message != "crashed: 5 runs in a row ended with their process" {
		t.Errorf("parked %+v", p)
	}
	if ran.count() != 0 {
		t.Error("the key ran again")
	}
	if err := q.Trigger(t.Context(), trigger("a")); err != nil { // something changed: try again
		t.Fatal(err)
	}
	eventually(t, "a run after a new trigger", func() bool { return ran.count() == 1 })
}

// external runs a server as a cluster's operator would.
func external(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: storeDir(t), SyncAlways: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.ClientURL()
}

// TestKilledWorkerIsSwept: another worker on the same servers takes over the keys of a
// killed one.
func TestKilledWorkerIsSwept(t *testing.T) {
	t.Parallel()
	url := external(t)
	cfg := testConfig("")
	cfg.URL = url
	q := open(t, cfg)
	for _, name := range []string{"a", "b", "c"} {
		if err := q.Trigger(t.Context(), trigger(name)); err != nil {
			t.Fatal(err)
		}
	}
	c := startChild(t, "hang", "", url)
	for range 3 {
		c.line(t, "running")
	}
	var ran runs
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 2, func(_ context.Context, j Job) error { ran.add(j); return nil })
	})
	if err := q.Trigger(t.Context(), trigger("a")); err != nil { // waits for the one that lives
		t.Fatal(err)
	}
	spin(2 * cfg.Dead)
	if ran.count() != 0 {
		t.Fatal("keys of a live worker were taken")
	}
	c.kill()
	began := time.Now()
	eventually(t, "all keys run", func() bool { return ran.count() >= 3 })
	t.Logf("taken over after %s", time.Since(began))
}

// TestZombieLosesItsToken: a worker that was stopped and comes back after its keys were
// taken is told so by the token and by its context.
func TestZombieLosesItsToken(t *testing.T) {
	t.Parallel()
	url := external(t)
	cfg := testConfig("")
	cfg.URL = url
	q := open(t, cfg)
	if err := q.Trigger(t.Context(), trigger("a")); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, "hang", "", url)
	c.line(t, "running app/default/a 1")
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ran := make(chan Job, 1)
	finish := make(chan struct{})
	during(t, func(ctx context.Context) error {
		return q.Work(ctx, 1, func(ctx context.Context, j Job) error {
			ran <- j
			<-finish
			return j.Check(ctx)
		})
	})
	if j := <-ran; j.Attempt != 2 {
		t.Errorf("taken over with attempt %d", j.Attempt)
	}
	if err := c.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := c.line(t, "lost"); got != "lost app/default/a the claim is no longer ours" {
		t.Errorf("the zombie: %q", got)
	}
	close(finish)
}
