package bump

import (
	"context"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/registry/imagepolicy"
	"github.com/tradewind-dev/tradewind/registry/marker"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// decision is what one policy wants, and what became of it.
type decision struct {
	*policy
	before oam.Image // what the status said

	choice marker.Choice
	wait   string // why the policy is not asked, empty when it is
	scan   error  // why there is no choice
	soon   error  // why there may be another choice soon

	markers int      // that name the policy
	tags    []string // that stand there
	changes []marker.Change
	held    bool
	problem error // why what was chosen is not in Git
	commit  git.Commit
	request string   // page of the pull request that waits to be merged
	refused error    // why there is none
	stands  []string // tags in the branch that is read, while another is written to
	looked  *look
	pushed  *push // set for one decision of a commit
}

// acts reports whether the decision is to be carried out.
func (d *decision) acts() bool { return d.wait == "" && d.scan == nil && !d.held }

const (
	asked = 8 // policies that are decided at a time
	races = 5 // lost before the branch is left to the others for a moment
	busy  = time.Second
)

// Run takes one look at one branch. Its error is a verdict for the queue.
func (b *Bumper) Run(ctx context.Context, job Job) error {
	policies := b.index.ofBranch(job.Key)
	if len(policies) == 0 {
		return events.Skip("no component writes images to the branch")
	}
	b.gather(ctx, job.Key, policies)
	startOf, fetched := b.ahead(ctx, policies)
	defer fetched()
	decisions := b.decide(ctx, policies, job)
	var errs []error
	inspected := b.inspect(ctx, decisions)
	for _, group := range groups(decisions) {
		err := b.update(ctx, job, group, startOf)
		if err == nil {
			err = b.propose(ctx, job, group)
		}
		errs = append(errs, err)
	}
	// The news makes others look at the Applications that are written to meanwhile. Two
	// writers of one status get into each other's way, but a write is sooner done than a
	// look.
	var news sync.WaitGroup
	news.Go(func() { b.follow(ctx, decisions) })
	inspected()
	b.store(ctx, decisions)
	news.Wait()
	b.tell(ctx, job, decisions)
	errs = append(errs, b.wakeLater(ctx, job.Key, policies))
	return verdict(decisions, errors.Join(errs...))
}

// verdict tries again what time can mend. A registry that refuses, or a policy that
// cannot choose, waits for the next event or the next poll.
func verdict(decisions []*decision, err error) error {
	var after time.Duration
	for _, d := range decisions {
		problem, ok := errors.AsType[*registry.Error](d.scan)
		switch {
		case d.soon != nil:
			after = max(after, soon)
		case ok && problem.Retriable():
			after = max(after, problem.RetryAfter)
			err = errors.Join(err, d.scan)
		case d.scan != nil && !ok && !isChoice(d.scan) && d.err == nil:
			err = errors.Join(err, d.scan) // the queue, or a Secret
		}
	}
	switch {
	case after > 0 && err == nil:
		return events.RetryAfter(after, errNotYet)
	case errors.Is(err, git.ErrMoved): // a busy branch is no trouble that grows
		return events.RetryAfter(max(after, busy/2+randv2.N(busy)), err)
	case after > 0:
		return events.RetryAfter(after, err)
	}
	if problem, ok := errors.AsType[*forge.Error](err); ok && problem.RetryAfter > 0 {
		return events.RetryAfter(problem.RetryAfter, err)
	}
	return err
}

func isChoice(err error) bool {
	_, ok := errors.AsType[*imagepolicy.ChoiceError](err)
	return ok
}

// decide asks every policy, several at a time.
func (b *Bumper) decide(ctx context.Context, policies []*policy, job Job) []*decision {
	out := make([]*decision, 0, len(policies))
	var ask errgroup.Group
	ask.SetLimit(asked)
	for _, p := range policies {
		app, found, _ := b.cfg.Cluster.Application(p.namespace, p.app)
		if !found || !app.DeletionTimestamp.IsZero() {
			continue
		}
		d := &decision{policy: p, wait: halted(app, p), scan: p.err}
		if at := slices.IndexFunc(app.Status.Images, func(i oam.Image) bool { return i.Component == p.component }); at >= 0 {
			d.before = app.Status.Images[at]
		}
		out = append(out, d)
		if d.acts() {
			ask.Go(func() error { d.scan = b.choose(ctx, d, job); return nil })
		}
	}
	_ = ask.Wait() // every decision has its own error
	return out
}

func (b *Bumper) choose(ctx context.Context, d *decision, job Job) error {
	i, err := b.refresh(ctx, d.policy, job)
	if errors.Is(err, errNotYet) { // the others are there
		d.soon, err = err, nil
	}
	if err != nil {
		return err
	}
	tag, err := i.choose(d.policy)
	if err != nil {
		return err
	}
	d.choice = marker.Choice{Image: d.auto.Image, Tag: tag, Namespace: d.namespace, Policy: d.component}
	if d.auto.Reflect == imagepolicy.ReflectNever {
		return nil
	}
	d.choice.Digest, err = b.digest(ctx, d.policy, i, tag)
	return err
}

// group is the same for policies that go into one commit.
func (p *policy) group() string {
	key := strings.Join([]string{p.src.URL, p.secret(p.src.SecretName), p.src.Branch}, " ")
	if p.auto.PullRequest {
		key += " " + p.secret(p.auto.TokenSecret) + " proposed"
	}
	return key
}

// groups are the decisions that go into one commit: those with one credential for one
// repository, which is nearly always all of them.
func groups(decisions []*decision) [][]*decision {
	var order []string
	by := map[string][]*decision{}
	for _, d := range decisions {
		if d.err != nil {
			continue // nobody knows where it would write
		}
		key := d.group()
		if by[key] == nil {
			order = append(order, key)
		}
		by[key] = append(by[key], d)
	}
	out := make([][]*decision, 0, len(order))
	for _, key := range order {
		out = append(out, by[key])
	}
	return out
}

// update carries decisions out, again on each new head as long as others push first.
func (b *Bumper) update(ctx context.Context, job Job, group []*decision, startOf func(*policy) start) (err error) {
	if !slices.ContainsFunc(group, (*decision).acts) {
		return nil
	}
	from := startOf(group[0].policy)
	for lost := 0; err == nil && lost < races; lost++ {
		if lost > 0 {
			from = b.start(ctx, group[0].policy)
		}
		if err = b.attempt(ctx, job, from, group); err == nil {
			return nil
		}
		if !errors.Is(err, git.ErrMoved) {
			break
		}
		b.metrics.updates.WithLabelValues(conflict).Inc()
		b.log.Debug("somebody pushed first", "repo", group[0].repo, "branch", group[0].push)
		if lost+1 < races {
			err = nil
		}
	}
	for _, d := range group {
		if d.acts() {
			d.problem, d.commit = err, ""
		}
	}
	return fmt.Errorf("committing images to %s of %s: %w", group[0].push, group[0].repo, err)
}
