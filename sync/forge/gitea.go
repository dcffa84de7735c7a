package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// gitea is the API of Gitea and Forgejo. There is no client of it that would take our
// transport and be smaller than this.
// https://docs.gitea.com/api/
type gitea struct {
	http  *http.Client
	at    place
	token string
}

// pull is a pull request, as far as we need one.
type pull struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Body   string `json:"body"`
	Page   string `json:"html_url"`
	Head   branch `json:"head"`
	Base   branch `json:"base"`
}

type branch struct {
	Ref string `json:"ref"`
}

// Gitea lists pull requests by page and cannot filter them by branch.
const (
	giteaPage  = 50
	giteaPages = 20
)

func (g *gitea) propose(ctx context.Context, p Proposal) (string, error) {
	open, err := g.find(ctx, p)
	if err != nil {
		return "", err
	}
	want := map[string]string{"title": p.Title, "body": p.Body}
	switch {
	case open != nil && open.Title == p.Title && open.Body == p.Body:
		return open.Page, nil
	case open != nil:
		err = g.do(ctx, http.MethodPatch, fmt.Sprintf("/pulls/%d", open.Number), want, open)
	default:
		want["head"], want["base"] = p.Branch, p.Into
		open = &pull{}
		err = g.do(ctx, http.MethodPost, "/pulls", want, open)
	}
	return open.Page, err
}

// find returns the open pull request of a branch, nil when there is none.
func (g *gitea) find(ctx context.Context, p Proposal) (*pull, error) {
	for page := range giteaPages {
		var list []pull
		if err := g.do(ctx, http.MethodGet, fmt.Sprintf("/pulls?state=open&limit=%d&page=%d", giteaPage, page+1), nil, &list); err != nil {
			return nil, err
		}
		for _, pr := range list {
			if pr.Head.Ref == p.Branch && pr.Base.Ref == p.Into {
				return &pr, nil
			}
		}
		if len(list) == 0 { // a server may have shorter pages
			break
		}
	}
	return nil, nil
}

func (g *gitea) setStatus(ctx context.Context, s Status) error {
	return g.do(ctx, http.MethodPost, "/statuses/"+url.PathEscape(s.Commit), map[string]string{
		"state": string(s.State), "description": cut(s.Text, gitlabText), "context": s.Context,
	}, nil)
}

// descends asks what ancestor has that commit has not: nothing, if it is one.
func (g *gitea) descends(ctx context.Context, ancestor, commit string) (bool, error) {
	compared := struct {
		Total *int `json:"total_commits"`
	}{}
	err := g.do(ctx, http.MethodGet, "/compare/"+url.PathEscape(commit)+"..."+url.PathEscape(ancestor), nil, &compared)
	if err == nil && compared.Total == nil {
		err = errors.New("the answer does not count commits")
	}
	return err == nil && *compared.Total == 0, err
}

func (g *gitea) do(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, g.at.base+"/api/v1/repos/"+g.at.path()+path, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if g.token != "" {
		req.Header.Set("Authorization", "token "+g.token)
	}
	resp, err := g.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		said := struct {
			Message string `json:"message"`
		}{}
		_ = json.NewDecoder(resp.Body).Decode(&said) // a page of a proxy says nothing
		return &answerError{resp, said.Message}
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
