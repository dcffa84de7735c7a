package git_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

var bot = git.Person{Name: "kubevelabot", Email: "kubevelabot@users.noreply.github.com"}

func edit(files map[string][]byte) git.Edit {
	return git.Edit{Branch: "main", Files: files, Message: "Update image automatically.", Author: bot, When: time.Unix(1700000000, 0)}
}

// pushRepo is a repository that takes pushes.
func pushRepo(tb testing.TB, s *gittest.Server) *gittest.Repo {
	tb.Helper()
	r := s.NewRepo(tb, "config.git")
	r.Git(tb, nil, "config", "http.receivepack", "true")
	return r
}

func TestCommit(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	r := pushRepo(t, s)
	first := r.Commit(t, "main", gittest.Files{"apps/a/app.yaml": "image: a:1\n", "apps/b.yaml": "b\n", "run.sh": "x", "link": "-> apps/b.yaml"})
	m := newMirrors(t, s.Host())
	src := git.Source{URL: r.URL}
	on, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Commit(t.Context(), src, on, edit(map[string][]byte{"apps/a/app.yaml": []byte("image: a:2\n")}))
	if err != nil {
		t.Fatal(err)
	}
	head := r.Head(t, "main")
	if string(got.Commit()) != head || got.Ref() != "refs/heads/main" {
		t.Errorf("returned %s at %s, the branch is at %s", got.Commit(), got.Ref(), head)
	}
	want := fmt.Sprintf("%s|kubevelabot|kubevelabot@users.noreply.github.com|kubevelabot|kubevelabot@users.noreply.github.com|1700000000|Update image automatically.", first)
	if log := r.Git(t, nil, "log", "-1", "--format=%P|%an|%ae|%cn|%ce|%ct|%B", "main"); strings.TrimRight(log, "\n") != want {
		t.Errorf("commit %q, want %q", log, want)
	}
	if diff := r.Git(t, nil, "diff", "--raw", "--no-abbrev", first, "main"); strings.Count(diff, "\n") != 0 || !strings.HasSuffix(diff, "M\tapps/a/app.yaml") {
		t.Errorf("changed more than one file:\n%s", diff)
	}
	if text := r.Git(t, nil, "show", "main:apps/a/app.yaml"); text != "image: a:2" {
		t.Errorf("the file holds %q", text)
	}
	r.Git(t, nil, "fsck", "--strict")
	s.Requests()
	again, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil || again.Commit() != got.Commit() {
		t.Fatalf("fetched %v, %v", again, err)
	}
	if n := len(s.Requests()); n != 1 {
		t.Errorf("the commit we pushed cost %d requests to fetch, want 1 listing", n)
	}
}

func TestCommitLosesARace(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	r := pushRepo(t, s)
	r.Commit(t, "main", gittest.Files{"a.yaml": "1\n"})
	m, src := newMirrors(t, s.Host()), git.Source{URL: r.URL}
	on, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	theirs := r.Commit(t, "main", gittest.Files{"b.yaml": "theirs\n"})
	if _, err := m.Commit(t.Context(), src, on, edit(map[string][]byte{"a.yaml": []byte("2\n")})); !errors.Is(err, git.ErrMoved) {
		t.Fatalf("got %v, want ErrMoved", err)
	}
	if head := r.Head(t, "main"); head != theirs {
		t.Errorf("the branch is at %s, want theirs", head)
	}
	// The race inside the server, after it showed us its refs.
	if on, err = m.Fetch(t.Context(), src, git.Ref{Branch: "main"}); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	s.Before(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, "/git-receive-pack") {
			once.Do(func() { theirs = r.Commit(t, "main", gittest.Files{"c.yaml": "theirs\n"}) })
		}
		return false
	})
	if _, err := m.Commit(t.Context(), src, on, edit(map[string][]byte{"a.yaml": []byte("2\n")})); !errors.Is(err, git.ErrMoved) {
		t.Fatalf("got %v, want ErrMoved", err)
	}
	if head := r.Head(t, "main"); head != theirs {
		t.Errorf("the branch is at %s, want theirs", head)
	}
}

// Eight writers with a mirror each, and nobody's work is lost.
func TestCommitManyWriters(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	r := pushRepo(t, s)
	const writers, each = 8, 5
	files := gittest.Files{}
	for w := range writers {
		files[fmt.Sprintf("%d.yaml", w)] = "0\n"
	}
	r.Commit(t, "main", files)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			m, src := newMirrors(t, s.Host()), git.Source{URL: r.URL}
			for n := 1; n <= each; {
				on, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
				if err == nil {
					_, err = m.Commit(t.Context(), src, on, edit(map[string][]byte{fmt.Sprintf("%d.yaml", w): fmt.Appendf(nil, "%d\n", n)}))
				}
				switch {
				case err == nil:
					n++
				case !errors.Is(err, git.ErrMoved):
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	group.Wait()
	if n := r.Git(t, nil, "rev-list", "--count", "main"); n != fmt.Sprint(1+writers*each) {
		t.Errorf("%s commits, want %d", n, 1+writers*each)
	}
	for w := range writers {
		if text := r.Git(t, nil, "show", fmt.Sprintf("main:%d.yaml", w)); text != fmt.Sprint(each) {
			t.Errorf("%d.yaml holds %q", w, text)
		}
	}
}

func TestCommitToANewBranch(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	r := pushRepo(t, s)
	first := r.Commit(t, "main", gittest.Files{"a.yaml": "1\n"})
	m, src := newMirrors(t, s.Host()), git.Source{URL: r.URL}
	on, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	e := edit(map[string][]byte{"a.yaml": []byte("2\n")})
	e.Branch, e.New = "images/main", true
	if _, err := m.Commit(t.Context(), src, on, e); err != nil {
		t.Fatal(err)
	}
	if r.Head(t, "main") != first || r.Head(t, "images/main^") != first {
		t.Error("the wrong branch moved")
	}
	if _, err := m.Commit(t.Context(), src, on, e); !errors.Is(err, git.ErrMoved) {
		t.Errorf("a branch that is there already: %v", err)
	}
}

func TestCommitRefused(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	r := pushRepo(t, s)
	r.Commit(t, "main", gittest.Files{"a.yaml": "1\n", "link.yaml": "-> a.yaml", "dir/x": "y"})
	m, src := newMirrors(t, s.Host()), git.Source{URL: r.URL, Secret: "default/git-secret"}
	on, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("2\n")
	for _, tt := range []struct {
		name string
		edit func(*git.Edit)
		want string
	}{
		{"no such file", func(e *git.Edit) { e.Files = map[string][]byte{"b.yaml": data} }, `entry "b.yaml" is not there`},
		{"a symlink", func(e *git.Edit) { e.Files = map[string][]byte{"link.yaml": data} }, `entry "link.yaml" is not what it was taken for`},
		{"a directory", func(e *git.Edit) { e.Files = map[string][]byte{"dir": data} }, `entry "dir" is not what it was taken for`},
		{"below a file", func(e *git.Edit) { e.Files = map[string][]byte{"a.yaml/x": data} }, `entry "a.yaml" is not what it was taken for`},
		{"no branch", func(e *git.Edit) { e.Branch = "" }, "there is no branch to push to"},
		{"odd branch", func(e *git.Edit) { e.Branch = "a..b" }, `ref "refs/heads/a..b" is not a name Git accepts`},
		{"odd author", func(e *git.Edit) { e.Author.Name = "a\ntree x" }, "the author has a name or address that Git does not take"},
	} {
		e := edit(map[string][]byte{"a.yaml": data})
		tt.edit(&e)
		if _, err := m.Commit(t.Context(), src, on, e); err == nil || !strings.HasSuffix(err.Error(), tt.want) || !errors.Is(err, git.ErrRefused) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	r.Git(t, nil, "config", "http.receivepack", "false")
	_, err = m.Commit(t.Context(), src, on, edit(map[string][]byte{"a.yaml": data}))
	if e, ok := errors.AsType[*git.Error](err); !ok || !errors.Is(err, git.ErrAuth) || !strings.Contains(e.Hint(), "may write") {
		t.Errorf("a read-only credential: %v", err)
	}
}

type fixedSigner string

func (s fixedSigner) Sign([]byte) (string, error) { return string(s), nil }

func TestCommitSigned(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	r := pushRepo(t, s)
	r.Commit(t, "main", gittest.Files{"a.yaml": "1\n"})
	m, src := newMirrors(t, s.Host()), git.Source{URL: r.URL}
	on, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	e := edit(map[string][]byte{"a.yaml": []byte("2\n")})
	e.Signer = fixedSigner("-----BEGIN X-----\n\nabc\n-----END X-----\n")
	if _, err := m.Commit(t.Context(), src, on, e); err != nil {
		t.Fatal(err)
	}
	raw := r.Git(t, nil, "cat-file", "commit", "main")
	if !strings.Contains(raw, "\ngpgsig -----BEGIN X-----\n \n abc\n -----END X-----\n\nUpdate image automatically.") {
		t.Errorf("commit:\n%s", raw)
	}
	r.Git(t, nil, "fsck", "--strict")
}
