package poll

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/git"
)

// look lists one repository and publishes what moved.
func (p *Poller) look(ctx context.Context, g *group) {
	p.mu.Lock()
	source, wanted := g.source, g.wanted
	p.mu.Unlock()
	refs, err := p.cfg.Lister.List(ctx, source)
	if ctx.Err() != nil {
		return
	}
	for _, want := range wanted {
		if err == nil {
			err = p.compare(ctx, g.repo, source, want, refs)
		} else {
			p.noteError(refKey{g.repo, want.String()}, err)
		}
	}
	p.settle(g, err)
}

// settle notes how a look ended, and logs what is new about it.
func (p *Poller) settle(g *group, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	problem := ""
	g.pause = 0
	if err == nil {
		g.failures = 0
	} else {
		problem = err.Error()
		g.failures++
	}
	_, g.unsent = errors.AsType[*unsentError](err)
	if e, ok := errors.AsType[*git.Error](err); ok {
		g.pause = min(e.RetryAfter, p.cfg.MaxInterval)
	}
	switch problem {
	case g.problem:
	case "":
		p.log.Info("source readable again", "repo", g.repo)
	default:
		p.log.Warn("source not readable", "repo", g.repo, "err", err)
	}
	g.problem = problem
}

func (p *Poller) noteError(key refKey, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.refs[key]; r != nil {
		r.err = err
	}
}

// compare publishes when want stands elsewhere than it was last seen. What was seen
// moves on only when the queue has the event. The error is the queue's.
func (p *Poller) compare(ctx context.Context, repo string, source git.Source, want git.Ref, refs git.Refs) error {
	key := refKey{repo, want.String()}
	head, err := refs.Resolve(want)
	if err != nil && !errors.Is(err, git.ErrRefNotFound) {
		p.noteError(key, err)
		return nil // of this ref alone
	}
	p.mu.Lock()
	r := p.refs[key]
	if r == nil { // nobody watches it any more
		p.mu.Unlock()
		return nil
	}
	before := *r
	p.mu.Unlock()

	now := before
	now.seen, now.head, now.checked, now.err = true, head, time.Now(), err
	if !before.seen {
		before.head = p.startingPoint(source, want, head)
	}
	if moved := before.head.Commit != head.Commit || before.head.Ref != head.Ref; moved {
		if err := p.announce(ctx, repo, source, want, &now, before.head); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.refs[key]; r != nil {
		*r = now
	}
	return nil
}

// startingPoint is what a first look compares with: itself, because every Application
// is checked once at start anyway, unless a worker fetched something else meanwhile.
func (p *Poller) startingPoint(source git.Source, want git.Ref, head git.Head) git.Head {
	if p.cfg.Known == nil || head.Commit == "" {
		return head
	}
	fetched := p.cfg.Known.Fetched(source, want)
	if fetched == "" || fetched == head.Commit {
		return head
	}
	return git.Head{Ref: head.Ref, Commit: fetched}
}

// announce publishes a move, unless a webhook announced it and a worker has it already.
func (p *Poller) announce(ctx context.Context, repo string, source git.Source, want git.Ref, now *ref, before git.Head) error {
	name, commit := now.head.Ref, now.head.Commit
	if commit == "" {
		name = before.Ref
	}
	heard := ""
	if p.cfg.Known != nil {
		var webhook bool
		heard, webhook = p.cfg.Known.Heard(ctx, repo, name)
		now.hooked = now.hooked || webhook
		if commit != "" && heard == string(commit) && p.cfg.Known.Fetched(source, want) == commit {
			return nil
		}
	}
	ev, err := p.event(repo, name, before.Commit, commit)
	if err != nil {
		return err
	}
	if _, err := p.cfg.Publisher.Publish(ctx, ev); err != nil {
		return &unsentError{events.SourceKey(repo, name), err}
	}
	p.remember(ev.ID)
	missed := now.hooked && heard != string(commit)
	if missed {
		p.missed.WithLabelValues(sender).Inc()
	}
	p.log.Info("change found", "event", ev.ID, "repo", repo, "ref", name, "commit", string(commit), "missed", missed)
	return nil
}

// unsentError says that the queue did not take an event.
type unsentError struct {
	source string
	err    error
}

func (e *unsentError) Error() string {
	return fmt.Sprintf("publishing that %s moved: %v", e.source, e.err)
}
func (e *unsentError) Unwrap() error { return e.err }

// prefix starts the id of every event a poller publishes.
const prefix = "poll-"

// Own reports whether an event was published by a poller.
func Own(id string) bool { return strings.HasPrefix(id, prefix) }

// event is the one a webhook would have caused. Its id is the same in every process that
// finds the move, so that the queue keeps one of them; only when the same move happens
// again within the queue's memory, as when a branch is pushed back and forth, it differs.
func (p *Poller) event(repo, ref string, before, after git.Commit) (events.Event, error) {
	push := events.SourcePushed{Repos: []string{repo}, Ref: ref, Before: string(before), After: string(after), Deleted: after == ""}
	data, err := json.Marshal(push)
	if err != nil {
		return events.Event{}, fmt.Errorf("encoding an event: %w", err)
	}
	now := time.Now().UTC()
	id := eventID(repo, ref, string(after), "")
	if p.published(id, now) {
		id = eventID(repo, ref, string(after), now.Format(time.RFC3339Nano))
	}
	return events.Event{
		SpecVersion: events.SpecVersion,
		ID:          id,
		Source:      "/poll",
		Type:        events.TypeSourcePushed,
		Subject:     events.SourceKey(repo, ref),
		Time:        now,
		Data:        data,
	}, nil
}

func eventID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return prefix + hex.EncodeToString(sum[:16])
}

// remembered is longer than the queue remembers ids.
const remembered = 15 * time.Minute

func (p *Poller) published(id string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for old, at := range p.recent {
		if now.Sub(at) > remembered {
			delete(p.recent, old)
		}
	}
	_, ok := p.recent[id]
	return ok
}

func (p *Poller) remember(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recent[id] = time.Now()
}
