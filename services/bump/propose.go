package bump

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

var errNoToken = hinted{errors.New("there is no token for the forge"), "name a Secret with a token under imageRepository.tokenSecretRef"}

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Hint() string { return h.hint }

// propose keeps one pull request open as long as the branch that is read lacks something
// that the branch that is written to has. Merging it is for people; so is closing it,
// which holds until there is something new to be merged.
func (b *Bumper) propose(ctx context.Context, job Job, group []*decision) error {
	first := group[0]
	if !first.auto.PullRequest || !slices.ContainsFunc(group, (*decision).acts) {
		return nil
	}
	open, err := b.unmerged(ctx, job, group)
	if err != nil {
		for _, d := range group {
			if d.acts() { // what was so is believed until it can be looked at
				d.refused, d.request, d.stands = err, d.before.PullRequest, []string{d.before.Current}
			}
		}
		return err
	}
	if len(open) == 0 {
		return nil
	}
	page := ""
	for _, d := range open {
		d.request = d.before.PullRequest
		page = cmp.Or(page, d.request)
	}
	if !slices.ContainsFunc(open, (*decision).unproposed) {
		return nil
	}
	repo, err := b.secrets.forge(ctx, first.policy)
	if err == nil && repo.Token == "" {
		err = errNoToken
	}
	if err == nil {
		page, err = b.cfg.Forge.Propose(ctx, repo, proposal(open))
	}
	for _, d := range open {
		d.request, d.refused = page, err
	}
	if problem, ok := errors.AsType[*forge.Error](err); ok && problem.Retriable() {
		return err
	}
	return nil // a person has to do something; the next poll tries again
}

// unproposed reports whether the forge has to hear of the decision.
func (d *decision) unproposed() bool { return d.commit != "" || d.before.PullRequest == "" }

// unmerged are the decisions that the branch that is read does not have yet. They are
// carried out once more, on copies.
func (b *Bumper) unmerged(ctx context.Context, job Job, group []*decision) ([]*decision, error) {
	src, err := b.secrets.source(ctx, group[0].policy)
	if err != nil {
		return nil, err
	}
	on, err := b.cfg.Repositories.Fetch(ctx, src, git.Ref{Branch: group[0].src.Branch})
	if err != nil {
		return nil, err
	}
	copies := make([]*decision, len(group))
	for i, d := range group {
		again := *d
		again.before = oam.Image{} // that it is not there is no revert
		copies[i] = &again
	}
	if _, err := b.edit(on, copies, b.branch(job.Key+events.Key(" from "+group[0].src.Branch))); err != nil {
		return nil, err
	}
	var open []*decision
	for i, d := range group {
		if d.acts() && d.problem == nil && len(copies[i].changes) > 0 {
			d.stands = copies[i].tags
			open = append(open, d)
		}
	}
	return open, nil
}

const maxListed = 100 // changes in the text of a pull request

func proposal(open []*decision) forge.Proposal {
	p := forge.Proposal{Branch: open[0].push, Into: open[0].src.Branch}
	var body strings.Builder
	for i, d := range open {
		if i == maxListed {
			fmt.Fprintf(&body, "- and %d more\n", len(open)-i)
			break
		}
		from := cmp.Or(first(d.stands), "another tag")
		fmt.Fprintf(&body, "- `%s` from `%s` to `%s` (%s of %s/%s)\n", d.auto.Image, from, d.choice.Tag, d.component, d.namespace, d.app)
	}
	p.Title = fmt.Sprintf("Update %d images", len(open))
	if len(open) == 1 {
		p.Title = fmt.Sprintf("Update %s to %s", open[0].auto.Image, open[0].choice.Tag)
	}
	p.Body = "Newer images that the policies of their components choose.\n\n" + body.String()
	return p
}
