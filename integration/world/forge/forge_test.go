package forge_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/integration/world/forge"
)

const secret = "0123456789abcdef"

// inbox is a gateway that takes everything.
func inbox(t *testing.T, status int) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		want := forge.Sign("github", secret, body)
		for name := range want {
			if got := r.Header.Get(name); got != want.Get(name) {
				t.Errorf("%s: got %q, want %q", name, got, want.Get(name))
			}
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "heard")
	}))
	t.Cleanup(s.Close)
	return s
}

func start(t *testing.T) (*forge.Server, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s, err := forge.Start(ctx, filepath.Join(t.TempDir(), "git"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s, ctx
}

func clone(ctx context.Context, t *testing.T, url string) func(args ...string) string {
	t.Helper()
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out, err := forge.Git(ctx, dir, args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	run("clone", "--quiet", url, ".")
	return run
}

// payload is the part of a push event that the test compares.
type payload struct {
	Ref, Before, After       string
	Created, Deleted, Forced bool
	Head                     *struct{ ID string } `json:"head_commit"`
	Commits                  []struct {
		ID                       string
		Added, Modified, Removed []string
	}
	Repository struct {
		CloneURL string `json:"clone_url"`
		FullName string `json:"full_name"`
	}
}

func await(ctx context.Context, t *testing.T, s *forge.Server, i int) (forge.Delivery, payload) {
	t.Helper()
	d, _, err := s.AwaitDelivery(ctx, i, func(forge.Delivery) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	var p payload
	if err := json.Unmarshal(d.Body, &p); err != nil {
		t.Fatalf("%v: %s", err, d.Body)
	}
	return d, p
}

func TestEveryMovedRefIsAnnounced(t *testing.T) {
	t.Parallel()
	s, ctx := start(t)
	s.Announce(&forge.Webhook{URL: inbox(t, http.StatusAccepted).URL, Secret: secret})
	url, err := s.CreateRepo(ctx, "acme/config", fstest.MapFS{"a/b.yaml": {Data: []byte("x: 1\n")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	git := clone(ctx, t, url)
	first := git("rev-parse", "HEAD")
	if got := git("show", "HEAD:a/b.yaml"); got != "x: 1" {
		t.Fatalf("first commit holds %q", got)
	}

	git("mv", "a/b.yaml", "a/c.yaml")
	git("commit", "-qm", "move")
	git("push", "-q")
	second := git("rev-parse", "HEAD")
	d, p := await(ctx, t, s, 0)
	want := payload{Ref: "refs/heads/main", Before: first, After: second, Head: &struct{ ID string }{second}}
	want.Commits = append(want.Commits, struct {
		ID                       string
		Added, Modified, Removed []string
	}{
		second, []string{"a/c.yaml"}, []string{}, []string{"a/b.yaml"},
	})
	want.Repository.CloneURL, want.Repository.FullName = url, "acme/config"
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("payload of a push (-want +got):\n%s", diff)
	}
	if d.Status != http.StatusAccepted || d.Answer != "heard" || d.Commit != second {
		t.Errorf("delivery: status %d, answer %q, commit %s", d.Status, d.Answer, d.Commit)
	}

	git("tag", "v1")
	git("push", "-q", "origin", "v1", "HEAD:refs/heads/other")
	_, branch := await(ctx, t, s, 1)
	_, tag := await(ctx, t, s, 2)
	if branch.Ref != "refs/heads/other" || !branch.Created || tag.Ref != "refs/tags/v1" || tag.After != second {
		t.Errorf("one push of two refs was announced as %+v and %+v", branch, tag)
	}

	git("push", "-q", "origin", ":other")
	_, p = await(ctx, t, s, 3)
	if !p.Deleted || p.Head != nil || strings.Trim(p.After, "0") != "" {
		t.Errorf("a deleted branch was announced as %+v", p)
	}

	git("reset", "-q", "--hard", first)
	git("push", "-qf")
	_, p = await(ctx, t, s, 4)
	if !p.Forced || p.After != first {
		t.Errorf("a forced push was announced as %+v", p)
	}
}

func TestRedeliveryIsTheSameBytesUnderTheSameID(t *testing.T) {
	t.Parallel()
	s, ctx := start(t)
	s.Announce(&forge.Webhook{URL: inbox(t, http.StatusInternalServerError).URL, Secret: secret})
	url, err := s.CreateRepo(ctx, "acme/config", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	git := clone(ctx, t, url)
	git("commit", "-qm", "first", "--allow-empty")
	git("push", "-q", "origin", "HEAD:main")
	sent, p := await(ctx, t, s, 0)
	if !p.Created || sent.Status != http.StatusInternalServerError {
		t.Errorf("first push into an empty repository: %+v, answered %d", p, sent.Status)
	}
	again, err := s.Redeliver(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != sent.ID || string(again.Body) != string(sent.Body) || len(s.Deliveries(0)) != 2 {
		t.Errorf("redelivered %s after %s; %d deliveries", again.ID, sent.ID, len(s.Deliveries(0)))
	}
}

func TestPrivateRepositoryAsksForItsLogin(t *testing.T) {
	t.Parallel()
	s, ctx := start(t)
	login := &forge.Login{Username: "ada", Password: "open"}
	url, err := s.CreateRepo(ctx, "acme/private", fstest.MapFS{"f": {}}, login)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := forge.Git(ctx, t.TempDir(), "clone", url); err == nil {
		t.Errorf("cloned without a login: %s", out)
	}
	clone(ctx, t, strings.Replace(url, "://", "://ada:open@", 1))
}

func TestBrokenServer(t *testing.T) {
	t.Parallel()
	for _, how := range []string{forge.FaultStatus, forge.FaultDrop} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s, ctx := start(t)
			url, err := s.CreateRepo(ctx, "acme/config", fstest.MapFS{"f": {}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			git := clone(ctx, t, url)
			git("commit", "-qm", "second", "--allow-empty")
			if err := s.Break(how, false); err != nil {
				t.Fatal(err)
			}
			git("push", "-q") // only fetches are broken
			if _, err := forge.Git(ctx, t.TempDir(), "clone", url); err == nil {
				t.Error("fetched from a broken server")
			}
			if err := s.Break(how, true); err != nil {
				t.Fatal(err)
			}
			if _, err := forge.Git(ctx, t.TempDir(), "ls-remote", url); err == nil {
				t.Error("listed refs of a broken server")
			}
			s.Mend()
			clone(ctx, t, url)
		})
	}
}

func TestHangingServerAnswersOnceMended(t *testing.T) {
	t.Parallel()
	s, ctx := start(t)
	url, err := s.CreateRepo(ctx, "acme/config", fstest.MapFS{"f": {}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Break(forge.FaultHang, false); err != nil {
		t.Fatal(err)
	}
	dir, cloned := t.TempDir(), make(chan error, 1)
	go func() {
		_, err := forge.Git(ctx, dir, "clone", url)
		cloned <- err
	}()
	select {
	case err := <-cloned:
		t.Fatalf("a hanging server answered: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	s.Mend()
	if err := <-cloned; err != nil {
		t.Error(err)
	}
}
