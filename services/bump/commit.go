package bump

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry/commitmessage"
	"github.com/tradewind-dev/tradewind/sync/git"
)

// attempt makes the edits on the head as it is now and pushes them, if there are any.
func (b *Bumper) attempt(ctx context.Context, job Job, from start, group []*decision) error {
	if from.err != nil {
		return from.err
	}
	on := from.on
	files, err := b.edit(on, group, b.branch(job.Key))
	if err != nil || len(files) == 0 {
		return err
	}
	e := git.Edit{Branch: group[0].push, New: from.isNew, Files: files, Author: b.cfg.Author, When: b.now()}
	if e.Message, err = message(group); err != nil {
		return err
	}
	if e.Signer, err = b.secrets.signer(ctx, signingSecret(group)); err != nil {
		return err
	}
	if err := job.Check(ctx); err != nil {
		return err
	}
	pushed, err := b.cfg.Repositories.Commit(ctx, from.src, on, e)
	if err != nil {
		return err
	}
	for _, d := range group {
		if len(d.changes) > 0 {
			d.commit = pushed.Commit()
		}
	}
	b.mu.Lock()
	now := b.branches[job.Key]
	now.pushed, now.at = pushed.Commit(), b.now()
	now.inBurst++
	b.mu.Unlock()
	if !job.Time.IsZero() && job.Cause == events.CauseImage {
		b.metrics.duration.WithLabelValues(committed).Observe(b.now().Sub(job.Time).Seconds())
	}
	b.log.Info("images committed", "repo", group[0].repo, "branch", e.Branch, "commit", string(pushed.Commit()), "event", job.Event,
		"files", len(files), "cause", string(job.Cause))
	group[0].pushed = &push{from: on.Commit(), to: pushed.Commit()}
	return nil
}

// push is a move of the branch that was ours.
type push struct{ from, to git.Commit }

// head is what the commit goes on top of: the branch that is written to or, while that
// does not exist yet, the one that is read.
func (b *Bumper) head(ctx context.Context, src git.Source, p *policy) (on *git.Tree, isNew bool, err error) {
	on, err = b.cfg.Repositories.Fetch(ctx, src, git.Ref{Branch: p.push})
	if errors.Is(err, git.ErrRefNotFound) && p.push != p.src.Branch {
		on, err = b.cfg.Repositories.Fetch(ctx, src, git.Ref{Branch: p.src.Branch})
		return on, true, err
	}
	return on, false, err
}

// follow announces our own pushes, as the webhooks that may come will do later.
func (b *Bumper) follow(ctx context.Context, decisions []*decision) {
	for _, d := range decisions {
		if d.pushed != nil {
			b.announce(ctx, d)
		}
	}
}

func (b *Bumper) announce(ctx context.Context, d *decision) {
	ref, after := "refs/heads/"+d.push, d.pushed.to
	data, err := json.Marshal(events.SourcePushed{
		Repos: []string{d.repo}, Ref: ref, Before: string(d.pushed.from), After: string(after), Pusher: b.cfg.Author.Name,
	})
	if err != nil {
		panic(err) // texts always marshal
	}
	subject := events.SourceKey(d.repo, ref)
	id := sha256.Sum256([]byte(subject + " " + string(after)))
	_, err = b.cfg.Publisher.Publish(ctx, events.Event{
		SpecVersion: events.SpecVersion, ID: "bump-" + hex.EncodeToString(id[:16]), Source: source, Type: events.TypeSourcePushed,
		Subject: subject, Time: b.now().UTC(), Data: data,
	})
	if err != nil { // the webhook or the poll brings it
		b.log.Warn("own push not announced", "repo", d.repo, "commit", string(after), "err", err)
	}
}

const skipCI = "[skip ci]"

// message is one message for all changes. What several components have to say is said by
// each template once, below the first line that all of them share.
func message(group []*decision) (string, error) {
	var order []string
	data, skip := map[string]*commitmessage.Data{}, false
	for _, d := range group {
		if len(d.changes) == 0 {
			continue
		}
		template := d.auto.CommitMessage
		if data[template] == nil {
			order = append(order, template)
			data[template] = &commitmessage.Data{Namespace: d.namespace, App: d.app}
		}
		data[template].Changes = append(data[template].Changes, d.changes...)
		skip = skip || d.auto.SkipCI
	}
	out := commitmessage.FirstLine
	for _, template := range order {
		text, err := commitmessage.Compose(template, *data[template])
		if err != nil {
			return "", err
		}
		more := strings.TrimPrefix(text, commitmessage.FirstLine)
		if !strings.HasPrefix(more, "\n") && more != "" {
			more = "\n" + more
		}
		out = strings.TrimSuffix(out, "\n") + more
	}
	if skip {
		out = strings.TrimSuffix(out, "\n") + "\n\n" + skipCI + "\n"
	}
	return out, nil
}

// signingSecret is the first that a component with changes names.
func signingSecret(group []*decision) string {
	for _, d := range group {
		if name := d.auto.SigningSecret; name != "" && len(d.changes) > 0 {
			return d.secret(name)
		}
	}
	return ""
}

// current is the tag that stands in Git now, as far as one does.
func (d *decision) current() string {
	if len(d.stands) > 0 {
		return first(d.stands)
	}
	if d.commit != "" || d.acts() && d.problem == nil && d.markers > 0 && len(d.changes) == 0 {
		return d.choice.Tag
	}
	for _, tag := range d.tags {
		if tag != "" && tag != d.choice.Tag {
			return tag
		}
	}
	return cmp.Or(first(d.tags), d.before.Current)
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// previous is what stood there before the changes.
func (d *decision) previous() string { return first(d.tags) }
