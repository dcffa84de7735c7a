package forge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v57/github"
)

// github is the API of github.com and of GitHub Enterprise Server.
// https://docs.github.com/en/rest
type github struct {
	client *gh.Client
	at     place
}

func newGitHub(client *http.Client, at place, token string) (api, error) {
	c := gh.NewClient(client)
	if token != "" {
		c = c.WithAuthToken(token)
	}
	base := "https://api.github.com/"
	if at.host != "github.com" {
		base = at.base + "/api/v3/"
	}
	var err error
	c.BaseURL, err = url.Parse(base)
	return &github{c, at}, err
}

// wrong keeps the answer behind an error of the library.
func (g *github) wrong(resp *gh.Response, err error) error {
	if resp == nil {
		return err
	}
	text := ""
	if e, ok := errors.AsType[*gh.ErrorResponse](err); ok {
		text = e.Message
		for _, detail := range e.Errors {
			if detail.Message != "" {
				text += ": " + detail.Message
			}
		}
	}
	return answered(resp.Response, text, err)
}

func (g *github) propose(ctx context.Context, p Proposal) (string, error) {
	open, resp, err := g.client.PullRequests.List(ctx, g.at.owner, g.at.name, &gh.PullRequestListOptions{
		State: "open", Head: g.at.owner + ":" + p.Branch, Base: p.Into,
	})
	if err != nil {
		return "", g.wrong(resp, err)
	}
	for _, pr := range open {
		if pr.GetHead().GetRef() != p.Branch || pr.GetBase().GetRef() != p.Into {
			continue // an API that does not know the filter
		}
		if pr.GetTitle() == p.Title && pr.GetBody() == p.Body {
			return pr.GetHTMLURL(), nil
		}
		pr, resp, err = g.client.PullRequests.Edit(ctx, g.at.owner, g.at.name, pr.GetNumber(), &gh.PullRequest{Title: &p.Title, Body: &p.Body})
		return pr.GetHTMLURL(), g.wrong(resp, err)
	}
	pr, resp, err := g.client.PullRequests.Create(ctx, g.at.owner, g.at.name, &gh.NewPullRequest{
		Title: &p.Title, Body: &p.Body, Head: &p.Branch, Base: &p.Into,
	})
	return pr.GetHTMLURL(), g.wrong(resp, err)
}

const githubText = 140 // characters of a description

func (g *github) setStatus(ctx context.Context, s Status) error {
	state, text := string(s.State), cut(s.Text, githubText)
	_, resp, err := g.client.Repositories.CreateStatus(ctx, g.at.owner, g.at.name, s.Commit, &gh.RepoStatus{
		State: &state, Description: &text, Context: &s.Context,
	})
	return g.wrong(resp, err)
}

func (g *github) descends(ctx context.Context, ancestor, commit string) (bool, error) {
	// The changed files come with the first page only, and nobody needs them.
	compared, resp, err := g.client.Repositories.CompareCommits(ctx, g.at.owner, g.at.name, ancestor, commit, &gh.ListOptions{Page: 2, PerPage: 1})
	if err != nil {
		return false, g.wrong(resp, err)
	}
	status := cmp.Or(compared.GetStatus(), "diverged")
	return status == "ahead" || status == "identical", nil
}

// cut shortens a text to so many characters.
func cut(text string, most int) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most-3]) + "..."
}
