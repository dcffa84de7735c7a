package commitstatus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/forge"
)

const (
	atOnce   = 4                // statuses on their way
	maxTries = 6                // of one status
	firstTry = 2 * time.Second  // between tries, doubled each time
	denial   = 30 * time.Minute // before a token that may not is tried again
	quiet    = "CommitStatusDenied"
)

// add makes something due, unless it was said already or will not be allowed.
func (t *Teller) add(at place, s saying) {
	t.mu.Lock()
	defer t.mu.Unlock()
	when, denied := t.denied[s.secret+" "+at.repo]
	if repeats(t.said[at], s.Status) || denied && t.now().Sub(when) < denial {
		delete(t.due, at)
		return
	}
	if known, ok := t.due[at]; ok && known.Status == s.Status {
		return
	}
	t.due[at] = s
	t.wake()
}

// repeats reports whether there is no news in now. A commit that was good or bad does not
// become pending again, and how far a roll-out is concerns nobody.
func repeats(said, now forge.Status) bool {
	return said == now || now.State == forge.Pending && said.Commit == now.Commit
}

func (t *Teller) wake() {
	select {
	case t.signal <- struct{}{}:
	default: // it is awake
	}
}

// Run says what is due until ctx ends. What is due then is not said: the next change is.
func (t *Teller) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.signal:
		case <-timer.C:
		}
		var saying errgroup.Group
		saying.SetLimit(atOnce)
		ready, next := t.take()
		for at, s := range ready {
			saying.Go(func() error { t.say(ctx, at, s); return nil })
		}
		_ = saying.Wait() // each deals with its own error
		if next > 0 {
			timer.Reset(next)
		}
	}
}

// take returns what is due now, and in how long the next will be.
func (t *Teller) take() (ready map[place]saying, next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ready = map[place]saying{}
	for at, s := range t.due {
		if wait := s.after.Sub(t.now()); wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		ready[at] = s
		delete(t.due, at)
	}
	return ready, next
}

func (t *Teller) say(ctx context.Context, at place, s saying) {
	namespace, name, _ := events.Key("app/" + s.secret).App()
	data, err := t.cfg.Cluster.SecretData(ctx, namespace, name)
	if err != nil {
		t.log.Debug("commit status not set", "app", at.app, "repo", at.repo, "err", err)
		return
	}
	token := forge.TokenFromSecret(data)
	if token == "" {
		return // an SSH key opens the repository, not the forge
	}
	err = t.cfg.Forge.SetStatus(ctx, forge.Repo{URL: at.repo, Token: token}, s.Status)
	problem, _ := errors.AsType[*forge.Error](err)
	switch {
	case err == nil:
		t.mu.Lock()
		t.said[at] = s.Status
		t.mu.Unlock()
	case problem != nil && problem.Denied():
		t.deny(ctx, at, s, problem)
	case problem != nil && problem.Retriable() && s.tries < maxTries && ctx.Err() == nil:
		t.again(at, s, problem.RetryAfter)
	default:
		t.log.Warn("commit status not set", "app", at.app, "commit", s.Commit, "err", err)
	}
}

// again tries once more, unless there is something newer to say.
func (t *Teller) again(at place, s saying, after time.Duration) {
	s.after = t.now().Add(max(after, firstTry<<s.tries))
	s.tries++
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, newer := t.due[at]; !newer {
		t.due[at] = s
		t.wake()
	}
}

// deny tells once that a token may not set statuses, and leaves it alone for a while. The
// record has the same id each time, so that restarts do not repeat it either.
func (t *Teller) deny(ctx context.Context, at place, s saying, problem *forge.Error) {
	which := s.secret + " " + at.repo
	t.mu.Lock()
	_, again := t.denied[which]
	t.denied[which] = t.now()
	t.mu.Unlock()
	if again {
		return
	}
	id := sha256.Sum256([]byte(at.app + " " + which))
	err := t.cfg.Reports.Report(ctx, events.Outcome{
		Run: "denied-" + hex.EncodeToString(id[:8]), Key: events.Key("app/" + at.app), Stage: events.StageCommit, Result: events.Failure,
		Reason: quiet, Message: problem.Error() + " (" + problem.Hint() + "); commits get no status", Commit: s.Commit, Time: t.now().UTC(),
	})
	if err != nil {
		t.log.Warn("outcome not published", "err", err)
	}
}
