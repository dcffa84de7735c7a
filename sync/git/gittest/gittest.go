// Package gittest is a real Git server for tests: bare repositories in a temporary
// folder, behind git http-backend and net/http/cgi. In go files per commit, out come the
// requests that were made. It needs the git program.
package gittest

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Server serves every repository below one folder.
type Server struct {
	*httptest.Server
	root string

	mu       sync.Mutex // guards what follows
	requests []Request
	user     string
	password string
	before   func(http.ResponseWriter, *http.Request) bool
}

// Request is one that reached the server.
type Request struct {
	Method, Path, Authorization string
}

// NewServer starts a server that ends with the test.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	exe, err := exec.CommandContext(tb.Context(), "git", "--exec-path").Output()
	if err != nil {
		tb.Fatalf("finding git: %v", err)
	}
	root := tb.TempDir()
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(exe)), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + root,
		},
		Stderr: io.Discard,
		Logger: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s := &Server{root: root}
	s.Server = httptest.NewServer(s.handler(backend))
	tb.Cleanup(s.Close)
	return s
}

func (s *Server) handler(backend http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.Header.Get("Authorization")})
		before, user, password := s.before, s.user, s.password
		s.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		if u, p, _ := r.BasicAuth(); user != "" && (u != user || p != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="gittest"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	})
}

// Host is host:port of the server.
func (s *Server) Host() string {
	u, _ := url.Parse(s.URL)
	return u.Host
}

// Require makes the server ask for a name and password.
func (s *Server) Require(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.password = user, password
}

// Before runs f ahead of every request; the request ends there when f returns true. A
// nil f ends that.
func (s *Server) Before(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// Requests returns what reached the server since the last call.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

// Repo is one bare repository.
type Repo struct {
	URL string
	Dir string
}

// NewRepo makes an empty repository whose HEAD is main.
func (s *Server) NewRepo(tb testing.TB, name string) *Repo {
	tb.Helper()
	r := &Repo{URL: s.URL + "/" + name, Dir: filepath.Join(s.root, name)}
	if err := os.MkdirAll(r.Dir, 0o750); err != nil {
		tb.Fatal(err)
	}
	r.Git(tb, nil, "init", "--quiet", "--bare", "--initial-branch=main")
	return r
}

// Git runs git in the repository and returns its output without the last newline.
func (r *Repo) Git(tb testing.TB, stdin []byte, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "git", args...)
	cmd.Dir = r.Dir
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Files are the files of a commit: path to content. A content of "" deletes; one that
// starts with "-> " is a symlink.
type Files map[string]string

// Commit puts files on top of a branch, which it makes when needed, and returns the new
// commit.
func (r *Repo) Commit(tb testing.TB, branch string, files Files) string {
	tb.Helper()
	ref := "refs/heads/" + branch
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit %s\ncommitter Test <test@example.com> 1700000000 +0000\ndata 1\nx\n", ref)
	if r.Git(tb, nil, "for-each-ref", ref) != "" {
		fmt.Fprintf(&in, "from %s^0\n", ref)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		content, mode := files[path], "100644"
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			content, mode = target, "120000"
		}
		if content == "" {
			fmt.Fprintf(&in, "D %s\n", path)
			continue
		}
		fmt.Fprintf(&in, "M %s inline %s\ndata %d\n%s\n", mode, path, len(content), content)
	}
	r.Git(tb, in.Bytes(), "fast-import", "--quiet", "--force")
	return r.Git(tb, nil, "rev-parse", ref)
}

// Head is where a ref stands.
func (r *Repo) Head(tb testing.TB, ref string) string {
	tb.Helper()
	return r.Git(tb, nil, "rev-parse", ref+"^{commit}")
}
