package poll_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/services/poll"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

func TestChangesArePublishedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(main(time.Minute), main(time.Hour), main(time.Minute))
		p := w.run(t)
		if got := w.after(3 * time.Minute); got != nil {
			t.Errorf("first looks published %v, want to remember only", got)
		}
		if n := len(w.listed); n < 3 || n > 4 {
			t.Errorf("%d listings in 3 minutes at an interval of one, want 3 or 4 for all watches together", n)
		}
		w.do(func() { w.refs["refs/heads/main"] = id("c") })
		want := []string{repo + "@refs/heads/main a->c deleted=false"}
		if diff := cmp.Diff(want, w.after(5*time.Minute)); diff != "" {
			t.Error(diff)
		}
		w.do(func() { delete(w.refs, "refs/heads/main") })
		if diff := cmp.Diff([]string{repo + "@refs/heads/main c-> deleted=true"}, w.after(5*time.Minute)); diff != "" {
			t.Error(diff)
		}
		if s := p.States()[0]; !errors.Is(s.Err, git.ErrRefNotFound) || s.Commit != "" {
			t.Errorf("state of a deleted ref: %+v", s)
		}
		w.do(func() { w.refs["refs/heads/main"] = id("c") })
		if diff := cmp.Diff([]string{repo + "@refs/heads/main ->c deleted=false"}, w.after(5*time.Minute)); diff != "" {
			t.Error(diff)
		}
		if s := p.States()[0]; s.Err != nil || s.Commit != id("c") || s.Head != "refs/heads/main" || time.Since(s.Checked) > time.Minute {
			t.Errorf("state: %+v", s)
		}
	})
}

func TestEventIsAWebhooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(main(time.Minute))
		w.run(t)
		w.after(time.Minute)
		w.do(func() { w.refs["refs/heads/main"] = id("c") })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		ev := w.published[0]
		want := events.Event{
			SpecVersion: "1.0", ID: ev.ID, Source: "/poll", Type: "dev.tradewind.source.pushed",
			Subject: repo + "@refs/heads/main", Time: ev.Time,
			Data: []byte(fmt.Sprintf(`{"repos":["%s"],"ref":"refs/heads/main","before":"%s","after":"%s"}`, repo, id("a"), id("c"))),
		}
		if diff := cmp.Diff(want, ev); diff != "" {
			t.Error(diff)
		}
		if !poll.Own(ev.ID) || poll.Own("github-1") {
			t.Errorf("Own(%q) is wrong", ev.ID)
		}
		// another process that finds the same names it the same
		other := newWorld(main(time.Minute))
		other.run(t)
		other.after(time.Minute)
		other.do(func() { other.refs["refs/heads/main"] = id("c") })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if other.published[0].ID != ev.ID {
			t.Errorf("ids %s and %s of one move differ", ev.ID, other.published[0].ID)
		}
		// pushed back and forth within the queue's memory, each move is a fact of its own
		ids := map[string]bool{ev.ID: true}
		for _, c := range []git.Commit{id("a"), id("c"), id("a")} {
			w.do(func() { w.published, w.refs["refs/heads/main"] = nil, c })
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(w.published) != 1 || ids[w.published[0].ID] {
				t.Fatalf("move to %s: %v", c, w.published)
			}
			ids[w.published[0].ID] = true
		}
	})
}

func TestRefsThatTheRepositoryDecides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := git.Source{URL: url}
		w := newWorld(
			poll.Watch{Repo: repo, Source: src},
			poll.Watch{Repo: repo, Source: src, Ref: git.Ref{SemVer: "1.x"}},
			poll.Watch{Repo: repo, Source: src, Ref: git.Ref{Commit: string(id("9"))}},
			poll.Watch{Repo: repo, Source: src, Ref: git.Ref{Branch: "a..b"}},
		)
		w.refs["refs/tags/v1.0.0"] = id("b")
		p := w.run(t)
		w.after(10 * time.Minute)
		w.do(func() { w.refs["refs/tags/v1.1.0"], w.refs["refs/heads/main"] = id("d"), id("c") })
		want := []string{repo + "@refs/heads/main a->c deleted=false", repo + "@refs/tags/v1.1.0 b->d deleted=false"}
		if diff := cmp.Diff(want, w.after(10*time.Minute)); diff != "" {
			t.Error(diff)
		}
		var states []string
		for _, s := range p.States() {
			states = append(states, fmt.Sprintf("%s %s %v", s.Ref, s.Head, s.Err))
		}
		wantStates := []string{
			"HEAD refs/heads/main <nil>",
			`refs/heads/a..b  listing ` + url + `: ref "refs/heads/a..b" is not a name Git accepts`,
			"semver:1.x refs/tags/v1.1.0 <nil>",
		}
		if diff := cmp.Diff(wantStates, states); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMissedHooksAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(main(time.Minute))
		w.run(t)
		w.after(time.Minute)
		move := func(c, heard, fetched git.Commit, webhook bool) {
			w.do(func() { w.refs["refs/heads/main"], w.heard, w.fetched, w.webhook = c, string(heard), fetched, webhook })
		}
		for _, test := range []struct {
			name                     string
			commit, heard, fetched   git.Commit
			webhook                  bool
			wantPublished, wantTotal int
		}{
			{"no hook ever heard of: found, not missed", id("1"), "", "", false, 1, 0},
			{"heard and fetched: nothing to do", id("2"), id("2"), id("2"), true, 0, 0},
			{"heard, not fetched: said again, not missed", id("3"), id("3"), id("2"), true, 1, 0},
			{"fetched, not heard: others may wait for it", id("4"), id("3"), id("4"), true, 1, 1},
			{"our own event was the last heard: still missed", id("5"), id("4"), id("4"), false, 1, 2},
		} {
			move(test.commit, test.heard, test.fetched, test.webhook)
			if got := w.after(2 * time.Minute); len(got) != test.wantPublished {
				t.Errorf("%s: published %v, want %d", test.name, got, test.wantPublished)
			}
			if got := w.missed(t); got != float64(test.wantTotal) {
				t.Errorf("%s: %v missed, want %d", test.name, got, test.wantTotal)
			}
		}
	})
}

func TestFirstLookComparesWithWhatWasFetched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(main(time.Minute))
		w.fetched = id("0")
		w.run(t)
		if diff := cmp.Diff([]string{repo + "@refs/heads/main 0->a deleted=false"}, w.after(2*time.Minute)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestErrorsBackOffAndAreLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(main(time.Second))
		w.listErr = errors.New("no route to example.com")
		p := w.run(t)
		w.after(2 * time.Hour)
		// 2+4+8+…+512 s, then every 10 minutes
		if n := len(w.listed); n < 15 || n > 30 {
			t.Errorf("%d tries in two hours of errors at an interval of a second", n)
		}
		if s := p.States()[0]; s.Err == nil || s.Err.Error() != "no route to example.com" || !s.Checked.IsZero() {
			t.Errorf("state: %+v", s)
		}
		w.do(func() { w.listErr = nil })
		w.after(11 * time.Minute)
		w.do(func() { w.listed = nil })
		w.after(time.Minute)
		if n := len(w.listed); n < 55 || n > 70 {
			t.Errorf("%d listings in the minute after, want the interval of a second again", n)
		}
		want := `level=WARN msg="source not readable" part=poll repo=example.com/acme/config err="no route to example.com"` + "\n" +
			`level=INFO msg="source readable again" part=poll repo=example.com/acme/config` + "\n"
		if diff := cmp.Diff(want, w.log.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestServerThatAsksToBeLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(main(time.Second))
		w.listErr = &git.Error{Op: "listing", Repo: url, Kind: git.ErrUnreachable, RetryAfter: 5 * time.Minute}
		w.run(t)
		w.after(10 * time.Minute)
		if n := len(w.listed); n > 2 {
			t.Errorf("%d listings in 10 minutes, although asked to wait 5", n)
		}
	})
}

// What the queue refuses is said again until it is taken, soon and not at the interval.
func TestQueueRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(main(10 * time.Minute))
		w.run(t)
		w.after(time.Minute)
		w.do(func() { w.refs["refs/heads/main"], w.queueErr = id("c"), errors.New("store is full") })
		w.after(10 * time.Minute)
		w.do(func() { w.queueErr = nil })
		want := []string{repo + "@refs/heads/main a->c deleted=false"}
		if diff := cmp.Diff(want, w.after(10*time.Minute)); diff != "" {
			t.Error(diff)
		}
		if n := len(w.listed); n < 5 {
			t.Errorf("%d looks, want several while the queue refused", n)
		}
	})
}

func TestSourcesComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := w.run(t)
		if w.after(time.Hour); len(w.listed) != 0 {
			t.Errorf("%d listings of nothing", len(w.listed))
		}
		w.watch(main(10 * time.Minute))
		w.after(20 * time.Minute)
		if n := len(w.listed); n < 2 || n > 4 {
			t.Errorf("%d listings in 20 minutes at 10", n)
		}
		// a shorter interval counts at once, and what was seen is still known
		w.do(func() { w.listed, w.refs["refs/heads/main"] = nil, id("c") })
		side := main(time.Minute)
		side.Ref = git.Ref{Branch: "side"}
		w.watch(main(10*time.Minute), side)
		if diff := cmp.Diff([]string{repo + "@refs/heads/main a->c deleted=false"}, w.after(2*time.Minute)); diff != "" {
			t.Error(diff)
		}
		// a rotated credential is another listing, not another start
		w.do(func() { w.refs["refs/heads/main"] = id("d") })
		rotated := main(time.Minute)
		rotated.Source.Auth = git.Auth{Username: "u", Password: "new"}
		w.watch(rotated)
		if diff := cmp.Diff([]string{repo + "@refs/heads/main c->d deleted=false"}, w.after(2*time.Minute)); diff != "" {
			t.Error(diff)
		}
		w.watch()
		w.after(time.Second)
		w.do(func() { w.listed = nil })
		if w.after(time.Hour); len(w.listed) != 0 || len(p.States()) != 0 {
			t.Errorf("%d listings, %d states after all sources went", len(w.listed), len(p.States()))
		}
	})
}

func TestIntervalsHaveBounds(t *testing.T) {
	t.Parallel()
	for interval, want := range map[time.Duration][2]int{
		time.Millisecond: {3600, 4100}, 24 * time.Hour: {6, 8}, 0: {12, 15},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(main(interval))
			w.run(t)
			w.after(time.Hour)
			if n := len(w.listed); n < want[0] || n > want[1] {
				t.Errorf("interval %s: %d listings an hour, want %d to %d", interval, n, want[0], want[1])
			}
		})
	}
}

func TestLoadIsBoundedAndSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var watches []poll.Watch
		for i := range 200 {
			host := fmt.Sprintf("host-%d.example", i%3)
			watches = append(watches, poll.Watch{
				Repo: fmt.Sprintf("%s/r%d", host, i), Source: git.Source{URL: fmt.Sprintf("https://%s/r%d", host, i)},
				Ref: git.Ref{Branch: "main"}, Interval: time.Minute,
			})
		}
		w := newWorld(watches...)
		w.slow = 300 * time.Millisecond
		w.run(t)
		w.after(10 * time.Minute)
		for key, n := range w.max {
			if limit := map[bool]int{true: 8, false: 4}[key == "all"]; n > limit {
				t.Errorf("%s: %d listings at once, want at most %d", key, n, limit)
			}
		}
		if n := len(w.listed); n < 1900 || n > 2300 {
			t.Errorf("%d listings in 10 minutes of 200 sources", n)
		}
		perSecond := map[int]int{}
		for _, at := range w.listed {
			perSecond[int(at.Sub(w.started)/time.Second)]++
		}
		for s, n := range perSecond {
			if n > 30 {
				t.Errorf("second %d: %d listings, want them spread", s, n)
			}
		}
	})
}

// With a real Git server: a push that nobody announces is found.
func TestRealRepository(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	r := srv.NewRepo(t, "acme/config.git")
	r.Commit(t, "main", gittest.Files{"a": "1\n"})
	mirrors := git.NewMirrors(git.Config{InsecureHosts: []string{srv.Host()}, AllowedHosts: []string{srv.Host()}, Limits: git.Limits{RequestsPerSecond: 1000}})
	t.Cleanup(mirrors.Close)
	key, err := events.RepoKey(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(poll.Watch{Repo: key, Source: git.Source{URL: r.URL}, Interval: time.Second})
	got := make(chan events.Event, 10)
	p := poll.New(poll.Config{Sources: w, Lister: mirrors, Publisher: publishTo(got), MinInterval: 20 * time.Millisecond, Interval: 20 * time.Millisecond})
	w.watches[0].Interval = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var done sync.WaitGroup
	done.Go(func() { _ = p.Run(ctx) })
	for len(p.States()) == 0 || p.States()[0].Commit == "" {
		if ctx.Err() != nil {
			t.Fatal("no first look")
		}
		<-time.After(5 * time.Millisecond)
	}
	commit := r.Commit(t, "main", gittest.Files{"a": "2\n"})
	select {
	case ev := <-got:
		if push, err := ev.Pushed(); err != nil || push.After != commit || push.Ref != "refs/heads/main" {
			t.Errorf("published %+v, %v; want a push of %s", push, err, commit)
		}
	case <-ctx.Done():
		t.Error("the push was not found")
	}
	cancel()
	done.Wait()
}

type publishTo chan events.Event

func (c publishTo) Publish(_ context.Context, evs ...events.Event) (bool, error) {
	for _, ev := range evs {
		c <- ev
	}
	return false, nil
}
