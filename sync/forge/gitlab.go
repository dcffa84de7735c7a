package forge

import (
	"context"
	"errors"
	"net/http"
	"strings"

	gl "github.com/xanzy/go-gitlab"
	"golang.org/x/time/rate"
)

// gitlab is the API of gitlab.com and of GitLab's own installations.
// https://docs.gitlab.com/api/rest/
type gitlab struct {
	client *gl.Client
	at     place
}

func newGitLab(client *http.Client, at place, token string) (api, error) {
	// The library's own limiter would first ask the server for its limits.
	c, err := gl.NewOAuthClient(token, gl.WithBaseURL(at.base+"/api/v4"), gl.WithHTTPClient(client), gl.WithoutRetries(),
		gl.WithCustomLimiter(rate.NewLimiter(rate.Inf, 1)))
	return &gitlab{c, at}, err
}

func (g *gitlab) wrong(resp *gl.Response, err error) error {
	if resp == nil {
		return err
	}
	text := ""
	if e, ok := errors.AsType[*gl.ErrorResponse](err); ok {
		text = e.Message
	}
	return answered(resp.Response, text, err)
}

func (g *gitlab) propose(ctx context.Context, p Proposal) (string, error) {
	with := gl.WithContext(ctx)
	state := "opened"
	open, resp, err := g.client.MergeRequests.ListProjectMergeRequests(g.at.path(), &gl.ListProjectMergeRequestsOptions{
		State: &state, SourceBranch: &p.Branch, TargetBranch: &p.Into,
	}, with)
	if err != nil {
		return "", g.wrong(resp, err)
	}
	var mr *gl.MergeRequest
	switch {
	case len(open) > 0 && open[0].Title == p.Title && open[0].Description == p.Body:
		return open[0].WebURL, nil
	case len(open) > 0:
		mr, resp, err = g.client.MergeRequests.UpdateMergeRequest(g.at.path(), open[0].IID, &gl.UpdateMergeRequestOptions{Title: &p.Title, Description: &p.Body}, with)
	default:
		mr, resp, err = g.client.MergeRequests.CreateMergeRequest(g.at.path(), &gl.CreateMergeRequestOptions{
			Title: &p.Title, Description: &p.Body, SourceBranch: &p.Branch, TargetBranch: &p.Into,
		}, with)
	}
	if err != nil {
		return "", g.wrong(resp, err)
	}
	return mr.WebURL, nil
}

const gitlabText = 255

func (g *gitlab) setStatus(ctx context.Context, s Status) error {
	state, text := gl.BuildStateValue(s.State), cut(s.Text, gitlabText)
	if s.State == Failure {
		state = gl.Failed
	}
	_, resp, err := g.client.Commits.SetCommitStatus(g.at.path(), s.Commit, &gl.SetCommitStatusOptions{
		State: state, Name: &s.Context, Description: &text,
	}, gl.WithContext(ctx))
	// A status that is said twice is refused as a change to what it is already.
	if e, ok := errors.AsType[*gl.ErrorResponse](err); ok && resp.StatusCode == http.StatusBadRequest &&
		strings.Contains(e.Message, "Cannot transition status") {
		return nil
	}
	return g.wrong(resp, err)
}

func (g *gitlab) descends(ctx context.Context, ancestor, commit string) (bool, error) {
	base, resp, err := g.client.Repositories.MergeBase(g.at.path(), &gl.MergeBaseOptions{Ref: &[]string{ancestor, commit}}, gl.WithContext(ctx))
	if err != nil {
		return false, g.wrong(resp, err)
	}
	return strings.HasPrefix(base.ID, ancestor), nil
}
