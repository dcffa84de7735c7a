package git_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

// newMirrors may reach the test's own servers only.
func newMirrors(tb testing.TB, hosts ...string) *git.Mirrors {
	tb.Helper()
	m := git.NewMirrors(git.Config{
		Dir: tb.TempDir(), InsecureHosts: hosts, AllowedHosts: hosts,
		Limits: git.Limits{RequestsPerSecond: 10_000},
	})
	tb.Cleanup(m.Close)
	return m
}

func read(tb testing.TB, tree *git.Tree, name string) string {
	tb.Helper()
	data, err := fs.ReadFile(tree.FS(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

func methods(s *gittest.Server) string {
	var out []string
	for _, r := range s.Requests() {
		out = append(out, r.Method)
	}
	return strings.Join(out, " ")
}

func TestFetchIsIncremental(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "acme/config.git")
	files := gittest.Files{}
	for i := range 200 {
		files[fmt.Sprintf("apps/app-%03d/web.yaml", i)] = fmt.Sprintf("name: %d\n%s", i, strings.Repeat("x: y\n", 50))
	}
	first := repo.Commit(t, "main", files)
	m := newMirrors(t, srv.Host())
	src := git.Source{URL: repo.URL}

	tree, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if string(tree.Commit()) != first || tree.Ref() != "refs/heads/main" {
		t.Errorf("fetched %s at %s, want %s", tree.Ref(), tree.Commit(), first)
	}
	if got := methods(srv); got != "GET POST" {
		t.Errorf("first fetch made requests %q, want one listing and one pack", got)
	}

	// A known head costs a listing, a known commit nothing.
	for _, ref := range []git.Ref{{Branch: "main"}, {}} {
		if _, err := m.Fetch(t.Context(), src, ref); err != nil {
			t.Fatal(err)
		}
		if got := methods(srv); got != "GET" {
			t.Errorf("fetching the known head as %s made requests %q, want one listing", ref, got)
		}
	}
	if _, err := m.Tree(t.Context(), src, git.Commit(first)); err != nil {
		t.Fatal(err)
	}
	if got := methods(srv); got != "" {
		t.Errorf("a known commit made requests %q, want none", got)
	}

	second := repo.Commit(t, "main", gittest.Files{"apps/app-007/web.yaml": "name: new\n"})
	before := git.FetchedBytes(m)
	tree2, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if string(tree2.Commit()) != second {
		t.Errorf("fetched %s, want %s", tree2.Commit(), second)
	}
	if got := methods(srv); got != "GET POST" {
		t.Errorf("second fetch made requests %q", got)
	}
	// commit + three trees + one blob, as deltas to what we have
	if moved := git.FetchedBytes(m) - before; moved == 0 || moved > 2000 {
		t.Errorf("second fetch moved %v bytes of pack, want only the new objects (at most 2000)", moved)
	}
	if got := read(t, tree2, "apps/app-007/web.yaml"); got != "name: new\n" {
		t.Errorf("new content is %q", got)
	}
	if got := read(t, tree, "apps/app-007/web.yaml"); !strings.HasPrefix(got, "name: 7\n") {
		t.Errorf("the older tree changed: %q", got)
	}
}

func TestFetchAfterForcePush(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	first := repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	repo.Commit(t, "main", gittest.Files{"a": "2\n", "b": "2\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	if _, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"}); err != nil {
		t.Fatal(err)
	}
	repo.Git(t, nil, "update-ref", "refs/heads/main", first)
	tree, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if string(tree.Commit()) != first || read(t, tree, "a") != "1\n" {
		t.Errorf("after a force push back: commit %s, a = %q", tree.Commit(), read(t, tree, "a"))
	}
	if _, err := fs.Stat(tree.FS(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file of the dropped commit: %v, want not exist", err)
	}
	// and to history that shares nothing with what is here
	repo.Git(t, nil, "update-ref", "-d", "refs/heads/main")
	other := repo.Commit(t, "main", gittest.Files{"c": "3\n"})
	if tree, err = m.Fetch(t.Context(), src, git.Ref{Branch: "main"}); err != nil || string(tree.Commit()) != other {
		t.Fatalf("unrelated history: %v, %v", tree, err)
	}
}

func TestRefs(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	old := repo.Commit(t, "main", gittest.Files{"v": "1\n"})
	repo.Git(t, nil, "tag", "v1.2.0", "main")
	repo.Git(t, nil, "-c", "user.name=t", "-c", "user.email=t@t", "tag", "-a", "-m", "m", "v1.10.0", "main")
	mid := repo.Commit(t, "main", gittest.Files{"v": "2\n"})
	repo.Git(t, nil, "tag", "v2.0.0", "main")
	repo.Git(t, nil, "tag", "v2.1.0-rc.1", "main")
	repo.Git(t, nil, "tag", "v9", "main")
	head := repo.Commit(t, "main", gittest.Files{"v": "3\n"})
	side := repo.Commit(t, "release/1.x", gittest.Files{"v": "side\n"})
	repo.Git(t, nil, "update-ref", "refs/pull/7/head", mid)

	type want struct {
		commit, ref string
	}
	for _, test := range []struct {
		name string
		ref  git.Ref
		want want
	}{
		{"empty is the remote's HEAD", git.Ref{}, want{head, "refs/heads/main"}},
		{"branch with slash", git.Ref{Branch: "release/1.x"}, want{side, "refs/heads/release/1.x"}},
		{"tag before branch", git.Ref{Branch: "main", Tag: "v1.2.0"}, want{old, "refs/tags/v1.2.0"}},
		{"annotated tag is its commit", git.Ref{Tag: "v1.10.0"}, want{old, "refs/tags/v1.10.0"}},
		{"range before tag, highest wins by number", git.Ref{SemVer: "1.x", Tag: "v2.0.0"}, want{old, "refs/tags/v1.10.0"}},
		{"prerelease only when asked for", git.Ref{SemVer: ">=1.0.0"}, want{mid, "refs/tags/v2.0.0"}},
		{"prerelease asked for", git.Ref{SemVer: ">=1.0.0-0"}, want{mid, "refs/tags/v2.1.0-rc.1"}},
		{"name before range", git.Ref{SemVer: "1.x", Name: "refs/pull/7/head"}, want{mid, "refs/pull/7/head"}},
		{"commit before name", git.Ref{Name: "refs/heads/main", Commit: old}, want{old, ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMirrors(t, srv.Host())
			commit, err := m.Resolve(t.Context(), git.Source{URL: repo.URL}, test.ref)
			if err != nil || string(commit) != test.want.commit {
				t.Errorf("Resolve = %s, %v; want %s", commit, err, test.want.commit)
			}
			tree, err := m.Fetch(t.Context(), git.Source{URL: repo.URL}, test.ref)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, want{string(tree.Commit()), tree.Ref()}, cmp.AllowUnexported(want{})); diff != "" {
				t.Error(diff)
			}
			if got, want := read(t, tree, "v"), repo.Git(t, nil, "show", test.want.commit+":v")+"\n"; got != want {
				t.Errorf("v = %q, want %q", got, want)
			}
		})
	}
}

// A commit that no ref stands at is found by id where the server allows, by history
// where not.
func TestFetchOldCommit(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	for _, byID := range []bool{true, false} {
		repo := srv.NewRepo(t, fmt.Sprintf("by-id-%v.git", byID))
		repo.Git(t, nil, "config", "uploadpack.allowReachableSHA1InWant", fmt.Sprint(byID))
		old := repo.Commit(t, "main", gittest.Files{"v": "1\n"})
		repo.Commit(t, "main", gittest.Files{"v": "2\n"})
		m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
		tree, err := m.Fetch(t.Context(), src, git.Ref{Commit: old})
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, tree, "v"); got != "1\n" {
			t.Errorf("by id %v: v = %q, want the old content", byID, got)
		}
		missing := strings.Repeat("ab", 20)
		_, err = m.Fetch(t.Context(), src, git.Ref{Commit: missing, Branch: "main"})
		want := fmt.Sprintf("fetching %s: commit %s is not in the history of refs/heads/main", repo.URL, missing)
		if byID {
			want = fmt.Sprintf("fetching %s: there is no commit %s", repo.URL, missing)
		}
		if !errors.Is(err, git.ErrRefNotFound) || err.Error() != want {
			t.Errorf("by id %v: %v, want %s", byID, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	srv.NewRepo(t, "empty.git")
	locked := gittest.NewServer(t)
	locked.Require("bot", "s3cret")
	closed := locked.NewRepo(t, "r.git")
	closed.Commit(t, "main", gittest.Files{"a": "1\n"})
	away := gittest.NewServer(t)
	away.Close()
	html := gittest.NewServer(t)
	html.Before(func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "<html>sign in</html>"); return true })
	busy := gittest.NewServer(t)
	busy.Before(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "token=s3cret", http.StatusTooManyRequests)
		return true
	})
	m := newMirrors(t, srv.Host(), locked.Host(), away.Host(), html.Host(), busy.Host())

	for _, test := range []struct {
		name   string
		src    git.Source
		ref    git.Ref
		kind   error
		reason string
		hint   string
	}{
		{"branch gone", git.Source{URL: repo.URL}, git.Ref{Branch: "gone"}, git.ErrRefNotFound,
			repo.URL + `: there is no branch "gone"`, `branches there are: "main"`},
		{"tag gone", git.Source{URL: repo.URL}, git.Ref{Tag: "v1"}, git.ErrRefNotFound,
			repo.URL + `: there is no tag "v1"`, `branches there are: "main"`},
		{"no version in range", git.Source{URL: repo.URL}, git.Ref{SemVer: "^3"}, git.ErrRefNotFound,
			repo.URL + `: no tag is in the range "^3"`, `branches there are: "main"`},
		{"empty repository", git.Source{URL: srv.URL + "/empty.git"}, git.Ref{}, git.ErrRefNotFound,
			srv.URL + "/empty.git: the repository has no default branch", "the repository has no branches yet; push one"},
		{"missing repository", git.Source{URL: srv.URL + "/none.git"}, git.Ref{}, git.ErrRepoNotFound,
			srv.URL + "/none.git: repository not found (404)", "check the URL; a private repository needs a secret in secretRef"},
		{"no credential", git.Source{URL: closed.URL}, git.Ref{}, git.ErrAuth,
			closed.URL + ": authentication refused (401)",
			"name a secret in secretRef; it needs keys username and password, or bearerToken, or identity and known_hosts"},
		{"wrong credential", git.Source{URL: closed.URL, Auth: git.Auth{Username: "bot", Password: "wrong"}, Secret: "default/git-secret"}, git.Ref{}, git.ErrAuth,
			closed.URL + ": authentication refused (401)",
			"secret default/git-secret needs keys username and password, or bearerToken, or identity and known_hosts"},
		{"server away", git.Source{URL: away.URL + "/r.git"}, git.Ref{}, git.ErrUnreachable,
			away.URL + "/r.git: connection refused", ""},
		{"not a Git server", git.Source{URL: html.URL + "/r.git"}, git.Ref{}, git.ErrRepoNotFound,
			html.URL + "/r.git: the server does not offer a Git repository at this URL",
			"write the clone URL; the server answered with something that is not Git's smart protocol"},
		{"too many requests", git.Source{URL: busy.URL + "/r.git"}, git.Ref{}, git.ErrUnreachable,
			busy.URL + "/r.git: the server asks for fewer requests (429)", ""},
		{"credentials in the URL", git.Source{URL: "https://bot:s3cret@example.com/r.git"}, git.Ref{}, git.ErrRefused,
			"the repository: the URL holds credentials", "put them into a secret and name it in secretRef"},
		{"private address", git.Source{URL: "https://127.0.0.2/r.git"}, git.Ref{}, git.ErrRefused,
			"https://127.0.0.2/r.git: 127.0.0.2 is at 127.0.0.2, an address that is not allowed",
			"list 127.0.0.2:443 under git.allowedHosts when it is meant to be inside"},
		{"short commit", git.Source{URL: repo.URL}, git.Ref{Commit: "abc123"}, git.ErrRefused,
			repo.URL + `: commit "abc123" is not a full id`, "write all 40 hex digits, in lower case"},
		{"ref that escapes", git.Source{URL: repo.URL}, git.Ref{Name: "refs/heads/../../x"}, git.ErrRefused,
			repo.URL + `: ref "refs/heads/../../x" is not a name Git accepts`, "write the branch or tag as the forge shows it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := m.Fetch(t.Context(), test.src, test.ref)
			e, ok := errors.AsType[*git.Error](err)
			if !ok {
				t.Fatalf("error is %T: %v", err, err)
			}
			if !errors.Is(err, test.kind) {
				t.Errorf("kind is %v, want %v", e.Kind, test.kind)
			}
			if diff := cmp.Diff([]string{"fetching " + test.reason, test.hint}, []string{err.Error(), e.Hint()}); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, test.src), "s3cret") && test.name != "credentials in the URL" {
				t.Error("a credential is printed")
			}
			if _, resolveErr := m.Resolve(t.Context(), test.src, test.ref); !errors.Is(resolveErr, test.kind) {
				t.Errorf("Resolve: %v, want kind %v", resolveErr, test.kind)
			}
		})
	}
}
