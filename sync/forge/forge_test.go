package forge

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// open returns a client and the repository at an imitation.
func open(tb testing.TB, kind Kind) (*imitation, *Client, Repo) {
	tb.Helper()
	f := newImitation(tb, kind)
	host := strings.TrimPrefix(f.URL, "http://")
	c := New(Config{Kinds: map[string]Kind{host: kind}, AllowedHosts: []string{host}, InsecureHosts: []string{host}})
	return f, c, Repo{URL: f.URL + "/acme/config.git", Token: "secret-token"}
}

var kinds = []Kind{GitHub, GitLab, Gitea}

func TestPropose(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f, c, repo := open(t, kind)
			f.pulls = []map[string]any{
				{"title": "another", "body": "", "head": "feature", "base": "main"},
				{"title": "done", "body": "", "head": "images", "base": "main", "closed": true},
			}
			p := Proposal{Branch: "images", Into: "main", Title: "New images", Body: "shop 1.1.0"}
			propose := func(want string) {
				t.Helper()
				page, err := c.Propose(t.Context(), repo, p)
				if err != nil || page != want {
					t.Errorf("Propose: %q, %v; want %q", page, err, want)
				}
			}
			propose("page/3")
			propose("page/3")
			f.mu.Lock()
			f.calls = nil
			f.mu.Unlock()
			propose("page/3")
			for _, call := range f.calls {
				if !strings.HasPrefix(call, "GET ") {
					t.Errorf("nothing changed, but: %s", call)
				}
			}
			p.Body = "shop 1.2.0"
			if _, err := c.Propose(t.Context(), repo, p); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"title": "New images", "body": "shop 1.2.0", "head": "images", "base": "main"}
			if diff := cmp.Diff([]map[string]any{f.pulls[0], f.pulls[1], want}, f.pulls); diff != "" {
				t.Error(diff)
			}
			if _, ok := f.tokens[map[Kind]string{Gitea: "token secret-token"}[kind]]; !ok && kind == Gitea || kind != Gitea && !f.tokens["Bearer secret-token"] {
				t.Errorf("tokens sent: %v", f.tokens)
			}
		})
	}
}

func TestSetStatus(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f, c, repo := open(t, kind)
			for _, s := range []Status{
				{c1, "tradewind/default/shop", Pending, "looking"},
				{c1, "tradewind/default/shop", Failure, "FailedRender: no such file"},
				{c1, "tradewind/default/shop", Success, "healthy"},
			} {
				if err := c.SetStatus(t.Context(), repo, s); err != nil {
					t.Fatal(err)
				}
			}
			want := []string{
				c1 + " tradewind/default/shop pending looking",
				c1 + " tradewind/default/shop failure FailedRender: no such file",
				c1 + " tradewind/default/shop success healthy",
			}
			if diff := cmp.Diff(want, f.statuses); diff != "" {
				t.Error(diff)
			}
			// GitLab refuses to say the same again; that is no error.
			if err := c.SetStatus(t.Context(), repo, Status{c1, "tradewind/default/shop", Success, "healthy"}); err != nil {
				t.Error(err)
			}
			if err := c.SetStatus(t.Context(), repo, Status{c2, "x", Failure, strings.Repeat("long ", 100)}); err != nil {
				t.Error(err)
			}
			if last := f.statuses[len(f.statuses)-1]; len(last) > 320 || !strings.HasSuffix(last, "...") {
				t.Errorf("description of %d bytes: %s", len(last), last)
			}
		})
	}
}

func TestDescends(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			_, c, repo := open(t, kind)
			for _, test := range []struct {
				ancestor, commit string
				want             bool
			}{
				{c1, c3, true},
				{c2, c2, true},
				{c3, c1, false},
				{cx, c3, false},
				{c2, cx, false},
				{c1, cx, true},
			} {
				got, err := c.Descends(t.Context(), repo, test.ancestor, test.commit)
				if err != nil || got != test.want {
					t.Errorf("Descends(%.2s, %.2s) = %v, %v; want %v", test.ancestor, test.commit, got, err, test.want)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f, c, repo := open(t, kind)
			for _, test := range []struct {
				answer            int
				header            http.Header
				denied, retriable bool
				after             time.Duration
			}{
				{answer: 401, denied: true},
				{answer: 403, denied: true},
				{answer: 404, denied: true},
				{answer: 403, header: http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Limit": {"5000"}}, retriable: true},
				{answer: 429, header: http.Header{"Retry-After": {"7"}}, retriable: true, after: 7 * time.Second},
				{answer: 500, retriable: true},
				{answer: 302, header: http.Header{"Location": {"http://127.0.0.1:1/"}}},
			} {
				f.mu.Lock()
				f.answer, f.header, f.calls = test.answer, test.header, nil
				f.mu.Unlock()
				err := c.SetStatus(t.Context(), repo, Status{c1, "x", Success, "healthy"})
				problem, ok := errors.AsType[*Error](err)
				if !ok {
					t.Errorf("%d: %v is no Error", test.answer, err)
					continue
				}
				if problem.Status != test.answer || problem.Denied() != test.denied || problem.Retriable() != test.retriable || problem.RetryAfter != test.after {
					t.Errorf("%d %v: %v, denied %v, retriable %v after %s", test.answer, test.header, err, problem.Denied(), problem.Retriable(), problem.RetryAfter)
				}
				if strings.Contains(err.Error(), "secret-token") || len(f.calls) != 1 {
					t.Errorf("%d: %v after calls %v", test.answer, err, f.calls)
				}
			}
		})
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	c := New(Config{Kinds: map[string]Kind{"git.acme.example": GitLab, "hub.acme.example:8443": GitHub}, InsecureHosts: []string{"git.acme.example"}})
	for _, test := range []struct{ url, want string }{
		{"https://github.com/acme/config.git", "github https://github.com acme config"},
		{"https://GitHub.com/acme/config", "github https://github.com acme config"},
		{"git@github.com:acme/config.git", "github https://github.com acme config"},
		{"ssh://git@git.acme.example:2222/a/b/c.git", "gitlab https://git.acme.example a/b c"},
		{"http://git.acme.example/a/b", "gitlab http://git.acme.example a b"},
		{"https://user:secret@hub.acme.example:8443/a/b/", "github https://hub.acme.example:8443 a b"},
		{"https://codeberg.org/a/b", "gitea https://codeberg.org a b"},
		{"https://github.com.evil.example/a/b", "it is not known what kind of forge the repository is at"},
		{"http://github.com/a/b", "github.com may not be reached over plain http"},
		{"https://github.com/a/b/c", `its path "/a/b/c" is not that of a repository at github`},
		{"https://github.com/a", `its path "/a" is not that of a repository at github`},
		{"https://gitlab.com/a/../b", `its path "/a/../b" is not that of a repository at gitlab`},
		{"https://github.com/a/b%3Fx", `its path "/a/b?x" is not that of a repository at github`},
		{"file:///a/b", "it is not known what kind of forge the repository is at: its URL has no host"},
	} {
		at, err := c.locate(test.url)
		got := strings.Join([]string{string(at.kind), at.base, at.owner, at.name}, " ")
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.url, got, test.want)
		}
	}
}

// A forge on an inside address that nobody allowed is not asked, and gets no token.
func TestGuard(t *testing.T) {
	t.Parallel()
	f := newImitation(t, Gitea)
	host := strings.TrimPrefix(f.URL, "http://")
	c := New(Config{Kinds: map[string]Kind{host: Gitea}, InsecureHosts: []string{host}})
	err := c.SetStatus(t.Context(), Repo{URL: f.URL + "/acme/config", Token: "secret-token"}, Status{c1, "x", Success, ""})
	if err == nil || !strings.Contains(err.Error(), "an address that is not allowed") || len(f.calls) > 0 {
		t.Errorf("%v after calls %v", err, f.calls)
	}
	if problem, _ := errors.AsType[*Error](err); problem.Hint() != "list "+host+" under git.allowedHosts when it is meant to be inside" {
		t.Errorf("hint: %s", problem.Hint())
	}
}

func TestTokenFromSecret(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		data map[string][]byte
		want string
	}{
		{map[string][]byte{"username": []byte("bot"), "password": []byte("p")}, "p"},
		{map[string][]byte{"bearerToken": []byte("b")}, "b"},
		{map[string][]byte{"token": []byte("t"), "password": []byte("p")}, "t"},
		{map[string][]byte{"identity": []byte("key"), "password": []byte("p")}, ""},
		{nil, ""},
	} {
		if got := TokenFromSecret(test.data); got != test.want {
			t.Errorf("TokenFromSecret(%v) = %q, want %q", test.data, got, test.want)
		}
	}
}
