package bump

import (
	"context"
	"crypto/rand"
	"fmt"
	randv2 "math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// The reasons in status, records and logs.
const (
	reasonCommitted = "ImageCommitted"
	reasonHeld      = "ImageHeld"
	reasonScan      = "FailedScan"
	reasonCommit    = "FailedCommit"
	reasonSuspended = "Suspended"
	reasonUnmarked  = "NoMarker"
	reasonProposed  = "PullRequestOpen"
	reasonRefused   = "FailedPullRequest"
	reasonRerun     = "OlderThanRunning"
)

const maxMessage = 1024 // bytes of one message in a status

// result is the metric's word for what became of a decision.
func (d *decision) result() string {
	switch {
	case d.commit != "":
		return committed
	case d.held:
		return held
	case d.scan != nil || d.problem != nil:
		return failed
	}
	return unchanged
}

// why says why Git does not have the latest, in a word and in a sentence.
func (d *decision) why() (reason, message string) {
	text := func(err error) string {
		message := err.Error()
		if hint := hintOf(err); hint != "" {
			message += " (" + hint + ")"
		}
		if len(message) > maxMessage {
			message = strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
		}
		return message
	}
	switch {
	case d.wait != "":
		return reasonSuspended, d.wait
	case d.scan != nil:
		return reasonScan, text(d.scan)
	case d.held:
		return reasonHeld, fmt.Sprintf("%s was taken out of Git again; held until there is a newer tag", d.choice.Tag)
	case d.problem != nil:
		return reasonCommit, text(d.problem)
	case d.refused != nil:
		return reasonRefused, text(d.refused)
	case d.markers == 0:
		return reasonUnmarked, d.unmarked()
	case d.request != "":
		return reasonProposed, fmt.Sprintf("%s waits to be merged: %s", d.choice.Tag, d.request)
	}
	return "", ""
}

// decided reports whether it is known what the policy wants.
func (d *decision) decided() bool { return d.scan == nil && d.wait == "" }

// state is what the status will say.
func (d *decision) state(now time.Time) oam.Image {
	s := d.before
	s.Component = d.component
	if d.auto != nil {
		s.Image, s.Policy = d.auto.Image.String(), d.auto.Policy.String()
	}
	if s.Reason, s.Message = d.why(); d.decided() {
		s.Latest, s.Current = d.choice.Tag, d.current()
	}
	if d.commit != "" {
		at := metav1.NewTime(now.UTC().Truncate(time.Second))
		s.Commit, s.Committed, s.Previous, s.CommittedAt = string(d.commit), d.choice.Tag, d.previous(), &at
		s.Revision, s.Source, s.Warning = "", "", ""
		if l := d.looked; l != nil {
			s.Revision, s.Source, s.Warning = l.origin.Commit, l.origin.Source, l.warning
		}
	}
	if d.decided() {
		s.PullRequest = d.request
	}
	return s
}

// tell counts, and reports what is news.
func (b *Bumper) tell(ctx context.Context, job Job, decisions []*decision) {
	for _, d := range decisions {
		b.metrics.updates.WithLabelValues(d.result()).Inc()
		b.report(ctx, job, d)
	}
}

// store writes the states of all images, several Applications at a time.
func (b *Bumper) store(ctx context.Context, decisions []*decision) {
	byApp := map[events.Key][]*decision{}
	for _, d := range decisions {
		byApp[d.appKey()] = append(byApp[d.appKey()], d)
	}
	var writes errgroup.Group
	writes.SetLimit(asked)
	for _, group := range byApp {
		writes.Go(func() error {
			if err := b.write(ctx, group); err != nil {
				b.log.Warn("state of images not stored", "app", group[0].namespace+"/"+group[0].app, "err", err)
			}
			return nil
		})
	}
	_ = writes.Wait() // said above
}

// write replaces the entries of components that were decided, and drops those of
// components that are gone.
func (b *Bumper) write(ctx context.Context, group []*decision) error {
	app, found, _ := b.cfg.Cluster.Application(group[0].namespace, group[0].app)
	if !found {
		return nil
	}
	decided := map[string]bool{}
	var images []oam.Image
	for _, d := range group {
		decided[d.component] = true
		images = append(images, d.state(b.now()))
	}
	for _, p := range policiesOf(app) {
		at := slices.IndexFunc(app.Status.Images, func(i oam.Image) bool { return i.Component == p.component })
		if at >= 0 && !decided[p.component] {
			images = append(images, app.Status.Images[at])
		}
	}
	slices.SortFunc(images, func(a, b oam.Image) int { return strings.Compare(a.Component, b.Component) })
	return b.cfg.Cluster.WriteImages(ctx, group[0].namespace, group[0].app, images)
}

// report tells of a commit, and of a problem when it is another than before.
func (b *Bumper) report(ctx context.Context, job Job, d *decision) {
	reason, message := d.why()
	o := events.Outcome{
		Run: strings.ToLower(rand.Text()), Key: d.appKey(), Cause: job.Cause, Event: job.Event, Stage: events.StageCommit,
		Result: events.Success, Reason: reason, Message: message, Time: b.now().UTC(),
	}
	if d.commit != "" {
		b.reportCommit(ctx, o, d)
	}
	switch {
	case reason == d.before.Reason && message == d.before.Message || quiet[reason]:
		return
	case reason == reasonScan:
		o.Stage, o.Result = events.StageScan, events.Failure
	case reason == reasonCommit, reason == reasonRefused:
		o.Result = events.Failure
	case reason == reasonHeld:
		o.Result = events.Unchanged
	}
	if o.Result == events.Failure {
		b.log.Warn("image not updated", "app", d.namespace+"/"+d.app, "component", d.component, "reason", reason, "err", message)
	}
	b.publish(ctx, o)
}

// quiet are reasons that nobody has to hear of.
var quiet = map[string]bool{"": true, reasonSuspended: true, reasonUnmarked: true, reasonProposed: true}

// reportCommit tells of a commit, and of what looks wrong with it.
func (b *Bumper) reportCommit(ctx context.Context, o events.Outcome, d *decision) {
	o.Run, o.Reason, o.Commit, o.Changed = strings.ToLower(rand.Text()), reasonCommitted, string(d.commit), len(d.changes)
	o.Message = fmt.Sprintf("%s, written to %s", d.choice.Reference(), d.push)
	if d.request != "" {
		o.Message += ", to be merged: " + d.request
	}
	b.publish(ctx, o)
	if d.looked != nil && d.looked.warning != "" {
		o.Run, o.Reason, o.Result, o.Message = strings.ToLower(rand.Text()), reasonRerun, events.Failure, d.looked.warning
		b.publish(ctx, o)
	}
}

func (b *Bumper) publish(ctx context.Context, o events.Outcome) {
	if err := b.cfg.Queue.Report(ctx, o); err != nil {
		b.log.Warn("outcome not published", "err", err)
	}
}

// wakeLater sets the timer of the branch to the moment at which the first of its images
// should be listed again: the net under the webhooks.
func (b *Bumper) wakeLater(ctx context.Context, key events.Key, policies []*policy) error {
	now := b.now()
	var at time.Time
	for _, p := range policies {
		if p.err != nil {
			continue
		}
		if due := b.images.of(b.imageID(p)).due(p, now); at.IsZero() || due.Before(at) {
			at = due
		}
	}
	if at.IsZero() {
		return nil
	}
	// A listing that fails is due at once; the queue's delays are for that.
	at = later(at, now.Add(time.Second))
	at = at.Add(randv2.N(max(at.Sub(now)/10, time.Millisecond)))
	return b.cfg.Queue.TriggerAt(ctx, events.Trigger{Key: key, Cause: events.CausePoll, Time: at}, at)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
