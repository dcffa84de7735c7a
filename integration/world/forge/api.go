package forge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// PullRequest is one at the forge.
type PullRequest struct {
	Number                  int
	Title, Body, Head, Base string
	Merged                  bool
}

// CommitStatus is what somebody said of a commit.
type CommitStatus struct {
	Commit, Context, State, Description string
}

// apiRoot is where GitHub Enterprise Server has the API of its repositories.
const apiRoot = "/api/v3/repos/{owner}/{name}"

// maxRequest bounds the body of a call.
const maxRequest = 1 << 20

// apiError is an answer that is not a success.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

// endpoint answers one call about a repository; in is the body.
type endpoint func(r *http.Request, repo *repo, in map[string]string) (out any, status int, err error)

// api is the part of GitHub's REST API that is about pull requests, statuses and
// comparing. A private repository wants the password of its login as token.
func (s *Server) api() http.Handler {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]endpoint{
		"GET " + apiRoot + "/pulls":            s.listPulls,
		"POST " + apiRoot + "/pulls":           s.openPull,
		"PATCH " + apiRoot + "/pulls/{number}": s.editPull,
		"POST " + apiRoot + "/statuses/{sha}":  s.setStatus,
		"GET " + apiRoot + "/compare/{range}":  s.compare,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, status, err := s.call(r, answer)
			if err != nil {
				status = http.StatusInternalServerError
				if e, ok := errors.AsType[*apiError](err); ok {
					status = e.status
				}
				out = map[string]string{"message": err.Error()}
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	return mux
}

func (s *Server) call(r *http.Request, answer endpoint) (any, int, error) {
	s.mu.Lock()
	repo := s.repos[r.PathValue("owner")+"/"+r.PathValue("name")]
	mute := s.mute
	s.mu.Unlock()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case repo == nil:
		return nil, 0, &apiError{http.StatusNotFound, "Not Found"}
	case repo.user != nil && token != repo.user.Password:
		return nil, 0, &apiError{http.StatusUnauthorized, "Bad credentials"}
	case mute && r.Method != http.MethodGet:
		return nil, 0, &apiError{http.StatusForbidden, "Resource not accessible by personal access token"}
	}
	in := map[string]string{}
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRequest)).Decode(&in); err != nil {
			return nil, 0, &apiError{http.StatusBadRequest, "Problems parsing JSON"}
		}
	}
	return answer(r, repo, in)
}

func (s *Server) show(repo *repo, p PullRequest) map[string]any {
	return map[string]any{
		"number": p.Number, "state": "open", "title": p.Title, "body": p.Body,
		"html_url": fmt.Sprintf("%s/%s/pull/%d", s.URL, repo.name, p.Number),
		"head":     map[string]string{"ref": p.Head, "label": "acme:" + p.Head}, "base": map[string]string{"ref": p.Base},
	}
}

func (s *Server) listPulls(r *http.Request, repo *repo, _ map[string]string) (any, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []any{}
	for _, p := range repo.pulls {
		if !p.Merged && r.FormValue("head") == r.PathValue("owner")+":"+p.Head && r.FormValue("base") == p.Base {
			out = append(out, s.show(repo, p))
		}
	}
	return out, http.StatusOK, nil
}

func (s *Server) openPull(r *http.Request, repo *repo, in map[string]string) (any, int, error) {
	refs, err := repo.refs(r.Context())
	if err != nil {
		return nil, 0, err
	}
	for _, name := range []string{in["head"], in["base"]} {
		if refs["refs/heads/"+name] == "" {
			return nil, 0, &apiError{http.StatusUnprocessableEntity, "Validation Failed: no branch " + name}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := PullRequest{Number: len(repo.pulls) + 1, Title: in["title"], Body: in["body"], Head: in["head"], Base: in["base"]}
	repo.pulls = append(repo.pulls, p)
	return s.show(repo, p), http.StatusCreated, nil
}

func (s *Server) editPull(r *http.Request, repo *repo, in map[string]string) (any, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range repo.pulls {
		if p := &repo.pulls[i]; fmt.Sprint(p.Number) == r.PathValue("number") {
			p.Title, p.Body = in["title"], in["body"]
			return s.show(repo, *p), http.StatusOK, nil
		}
	}
	return nil, 0, &apiError{http.StatusNotFound, "Not Found"}
}

func (s *Server) setStatus(r *http.Request, repo *repo, in map[string]string) (any, int, error) {
	commit := r.PathValue("sha")
	if _, err := Git(r.Context(), repo.dir, "cat-file", "-e", commit+"^{commit}"); err != nil {
		return nil, 0, &apiError{http.StatusUnprocessableEntity, "No commit found for SHA: " + commit}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	repo.statuses = append(repo.statuses, CommitStatus{Commit: commit, Context: in["context"], State: in["state"], Description: in["description"]})
	return in, http.StatusCreated, nil
}

func (s *Server) compare(r *http.Request, repo *repo, _ map[string]string) (any, int, error) {
	base, head, _ := strings.Cut(r.PathValue("range"), "...")
	out, err := Git(r.Context(), repo.dir, "rev-list", "--left-right", "--count", base+"..."+head, "--")
	if err != nil {
		return nil, 0, &apiError{http.StatusNotFound, "Not Found"}
	}
	var behind, ahead int
	if _, err := fmt.Sscan(out, &behind, &ahead); err != nil {
		return nil, 0, err
	}
	status := "diverged"
	switch {
	case behind == 0 && ahead == 0:
		status = "identical"
	case behind == 0:
		status = "ahead"
	case ahead == 0:
		status = "behind"
	}
	return map[string]any{"status": status, "ahead_by": ahead, "behind_by": behind, "total_commits": ahead}, http.StatusOK, nil
}

// Mute makes the API refuse to write, as for a token that may only read.
func (s *Server) Mute(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}

// Pulls are the pull requests of a repository that wait.
func (s *Server) Pulls(name string) (open []PullRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if repo := s.repos[name]; repo != nil {
		for _, p := range repo.pulls {
			if !p.Merged {
				open = append(open, p)
			}
		}
	}
	return open
}

// Statuses is what was said of the commits of a repository, in the order in which it was.
func (s *Server) Statuses(name string) []CommitStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if repo := s.repos[name]; repo != nil {
		return append([]CommitStatus{}, repo.statuses...)
	}
	return nil
}

// Merge does what the button of the only open pull request does, where that is a
// fast-forward, and announces it as a push.
func (s *Server) Merge(ctx context.Context, name string) error {
	open := s.Pulls(name)
	if len(open) != 1 {
		return fmt.Errorf("merging at %s: %d pull requests are open", name, len(open))
	}
	s.mu.Lock()
	repo := s.repos[name]
	s.mu.Unlock()
	repo.pushing.Lock()
	defer repo.pushing.Unlock()
	before, err := repo.refs(ctx)
	if err != nil {
		return err
	}
	p := open[0]
	if _, err := Git(ctx, repo.dir, "merge-base", "--is-ancestor", p.Base, p.Head); err != nil {
		return fmt.Errorf("%s is not a fast-forward of %s: %w", p.Head, p.Base, err)
	}
	if _, err := Git(ctx, repo.dir, "update-ref", "refs/heads/"+p.Base, "refs/heads/"+p.Head); err != nil {
		return err
	}
	after, err := repo.refs(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	repo.pulls[p.Number-1].Merged = true
	s.mu.Unlock()
	s.announce(repo, moved(before, after), time.Now())
	return nil
}
