package git_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

func TestRedirects(t *testing.T) {
	t.Parallel()
	srv, evil := gittest.NewServer(t), gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	evil.NewRepo(t, "r.git").Commit(t, "main", gittest.Files{"a": "evil\n"})
	target := ""
	srv.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/old"); ok {
			http.Redirect(w, r, target+rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
			return true
		}
		return false
	})
	m := newMirrors(t, srv.Host(), evil.Host())
	src := git.Source{URL: srv.URL + "/old/r.git", Auth: git.Auth{Username: "bot", Password: "s3cret"}}

	// A forge that renamed a repository: same server, another path.
	tree, err := m.Fetch(t.Context(), src, git.Ref{})
	if err != nil || read(t, tree, "a") != "1\n" {
		t.Fatalf("redirect at home: %v, %v", tree, err)
	}

	target = evil.URL
	src.URL = srv.URL + "/old//r.git"
	_, err = m.Fetch(t.Context(), src, git.Ref{})
	want := fmt.Sprintf("fetching %s: the server redirects to %s//r.git/info/refs", src.URL, evil.URL)
	if !errors.Is(err, git.ErrRefused) || err.Error() != want {
		t.Errorf("redirect to another host: %v, want %s", err, want)
	}
	if got := evil.Requests(); len(got) != 0 {
		t.Errorf("the other host saw %v", got)
	}

	// The pack request itself is never redirected.
	srv.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, srv.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	src.URL = repo.URL
	_, err = m.Fetch(t.Context(), src, git.Ref{})
	want = fmt.Sprintf("fetching %s: the server redirects to %s/git-upload-pack", repo.URL, repo.URL)
	if err == nil || err.Error() != want {
		t.Errorf("redirect of the pack request: %v, want %s", err, want)
	}
}

func TestCredentialsAreSentAndKeepMirrorsApart(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	srv.Require("bot", "right")
	repo := srv.NewRepo(t, "r.git")
	commit := repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	m := newMirrors(t, srv.Host())
	right := git.Source{URL: repo.URL, Auth: git.Auth{Username: "bot", Password: "right"}}
	if _, err := m.Fetch(t.Context(), right, git.Ref{}); err != nil {
		t.Fatal(err)
	}
	// The commit is in a mirror; a wrong credential must not get it from there.
	for _, auth := range []git.Auth{{}, {Username: "bot", Password: "wrong"}} {
		if _, err := m.Tree(t.Context(), git.Source{URL: repo.URL, Auth: auth}, git.Commit(commit)); !errors.Is(err, git.ErrAuth) {
			t.Errorf("another credential got %v, want a refusal", err)
		}
	}
}

// Callers that come together share listings, but none gets one that began before it
// came: what was pushed before the call is seen by the call.
func TestSharingNeverServesThePast(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"n": "0\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	var pushed atomic.Pointer[string]
	first := repo.Head(t, "main")
	pushed.Store(&first)
	order := map[string]int{first: 0}
	var mu sync.Mutex // guards order

	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 30 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := *pushed.Load()
				tree, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got, known := order[string(tree.Commit())]
				if known && got < order[before] {
					t.Errorf("fetched push %d although push %d was there before", got, order[before])
				}
				mu.Unlock()
			}
		})
	}
	for i := range 20 {
		commit := repo.Commit(t, "main", gittest.Files{"n": fmt.Sprint(i + 1)})
		mu.Lock()
		order[commit] = i + 1
		mu.Unlock()
		pushed.Store(&commit)
	}
	close(stop)
	wg.Wait()
}

func TestManyCallersOneRequest(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	srv.Before(func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { arrived <- struct{}{}; <-release })
		return false
	})
	var wg sync.WaitGroup
	fetch := func() {
		if _, err := m.Fetch(t.Context(), src, git.Ref{}); err != nil {
			t.Error(err)
		}
	}
	wg.Go(fetch)
	<-arrived
	for range 100 {
		wg.Go(fetch)
	}
	git.AwaitWaiting(m, 101)
	close(release)
	wg.Wait()
	if got := methods(srv); got != "GET POST GET" {
		t.Errorf("101 callers made requests %q, want a clone and one listing for all who waited", got)
	}
}

// A server that announces one commit and sends another, or damaged data, is not
// believed, and nothing of the old state is lost.
func TestServerThatLies(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	commit := repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	good, err := m.Fetch(t.Context(), src, git.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	second := repo.Commit(t, "main", gittest.Files{"a": "2\n"})

	rewrite := func(change func(r *http.Request, body []byte) []byte) {
		srv.Before(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost || r.Header.Get("X-Inner") != "" {
				return false
			}
			body, _ := io.ReadAll(r.Body)
			req, _ := http.NewRequestWithContext(r.Context(), r.Method, srv.URL+r.URL.Path, bytes.NewReader(change(r, body)))
			req.Header = r.Header.Clone()
			req.Header.Set("X-Inner", "1")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return true
			}
			defer resp.Body.Close()
			answer, _ := io.ReadAll(resp.Body)
			w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
			_, _ = w.Write(change(nil, answer))
			return true
		})
	}
	for name, test := range map[string]struct {
		change func(r *http.Request, body []byte) []byte
		want   string
	}{
		"sends another commit": {func(r *http.Request, body []byte) []byte {
			if r != nil {
				return bytes.ReplaceAll(body, []byte(second), []byte(commit))
			}
			return body
		}, "the server's answer is incomplete: commit " + second + " was not sent"},
		"cuts off": {func(r *http.Request, body []byte) []byte {
			if r == nil {
				return body[:len(body)-30]
			}
			return body
		}, "the server's answer is incomplete: the pack is damaged: it is cut off"},
	} {
		repo.Git(t, nil, "config", "uploadpack.allowAnySHA1InWant", "true")
		rewrite(test.change)
		fresh := newMirrors(t, srv.Host())
		_, err := fresh.Fetch(t.Context(), src, git.Ref{})
		want := "fetching " + repo.URL + ": " + test.want
		if !errors.Is(err, git.ErrUnreachable) || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if _, err := m.Fetch(t.Context(), src, git.Ref{}); err == nil {
			t.Errorf("%s: the mirror believed it", name)
		}
	}
	srv.Before(nil)
	if got := read(t, good, "a"); got != "1\n" {
		t.Errorf("the tree from before reads %q", got)
	}
	if tree, err := m.Fetch(t.Context(), src, git.Ref{}); err != nil || string(tree.Commit()) != second {
		t.Errorf("after the server came to its senses: %v, %v", tree, err)
	}
}

// The ref moves between the listing and the pack, and the server does not give out what
// it listed: one more try finds the new place.
func TestRefMovesMeanwhile(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	first := repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	if _, err := m.Fetch(t.Context(), src, git.Ref{}); err != nil {
		t.Fatal(err)
	}
	repo.Commit(t, "main", gittest.Files{"a": "2\n"})
	var once sync.Once
	third := ""
	srv.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			once.Do(func() {
				repo.Git(t, nil, "update-ref", "refs/heads/main", first)
				third = repo.Commit(t, "main", gittest.Files{"a": "3\n"})
			})
		}
		return false
	})
	srv.Requests()
	tree, err := m.Fetch(t.Context(), src, git.Ref{})
	if err != nil || string(tree.Commit()) != third || read(t, tree, "a") != "3\n" {
		t.Errorf("Fetch = %v, %v; want %s", tree, err, third)
	}
	if got := methods(srv); got != "GET POST GET POST" {
		t.Errorf("requests %q", got)
	}
}

func TestCancelAndDeadline(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	hang := make(chan struct{})
	srv.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hang:
			return false
		case <-r.Context().Done():
			return true
		}
	})
	m := git.NewMirrors(git.Config{InsecureHosts: []string{srv.Host()}, AllowedHosts: []string{srv.Host()}, Timeout: 100 * time.Millisecond})
	src := git.Source{URL: repo.URL}
	_, err := m.Fetch(t.Context(), src, git.Ref{})
	if want := "fetching " + repo.URL + ": the server did not answer in time"; !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
		t.Errorf("deadline: %v, want %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Fetch(ctx, src, git.Ref{})
	if want := "fetching " + repo.URL + ": canceled"; !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("cancel: %v, want %s", err, want)
	}
	close(hang)
	for range 100 { // a busy machine may need more than the deadline
		if _, err = m.Fetch(t.Context(), src, git.Ref{}); err == nil {
			return
		}
	}
	t.Errorf("afterwards: %v", err)
}

func TestBranchDeleted(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	repo.Commit(t, "side", gittest.Files{"a": "side\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	tree, err := m.Fetch(t.Context(), src, git.Ref{Branch: "side"})
	if err != nil {
		t.Fatal(err)
	}
	repo.Git(t, nil, "branch", "-D", "side")
	if _, err := m.Fetch(t.Context(), src, git.Ref{Branch: "side"}); !errors.Is(err, git.ErrRefNotFound) {
		t.Errorf("deleted branch: %v", err)
	}
	if got := read(t, tree, "a"); got != "side\n" {
		t.Errorf("the last good tree reads %q", got)
	}
}
