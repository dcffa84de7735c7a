// Package forge is a small Git forge for tests: smart HTTP by git's own http-backend, and
// a signed webhook in GitHub's shape after each push, with the part of GitHub's API that is
// about pull requests and statuses. In: repositories made from files.
// Out: clone URLs, and a list of every webhook delivery with its answer. It promises that
// a webhook is posted only after the push is in the repository, and it can be broken on
// purpose. It refuses to repeat a delivery by itself, as GitHub does.
package forge

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

// Server is a small forge: Git over smart HTTP by git's own http-backend, and a
// signed webhook after each push.
type Server struct {
	URL string // http://127.0.0.1:<port>

	git        string // path of the git program
	root       string
	log        *proc.Log
	server     *http.Server
	client     *http.Client
	ctx        context.Context // of deliveries; they outlive the push that caused them
	cancel     context.CancelFunc
	background sync.WaitGroup
	deliveries *proc.Feed[Delivery]

	mu    sync.Mutex
	repos map[string]*repo
	hook  *Webhook
	fault fault
	mute  bool // the API only reads

	rest http.Handler
}

// fault is how the server misbehaves: the zero value does not.
type fault struct {
	how    string // FaultStatus, FaultDrop or FaultHang
	pushes bool   // pushes too, not only fetches
	mended chan struct{}
}

// The ways a server can be broken.
const (
	FaultStatus = "503"  // answers, and says no
	FaultDrop   = "drop" // closes the connection without an answer
	FaultHang   = "hang" // accepts and stays silent until it is mended
)

const maxPush = 256 << 20

// Start serves the repositories made by CreateRepo from below dir.
func Start(ctx context.Context, dir string) (*Server, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := proc.NewLog(dir + ".log")
	if err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL: "http://" + ln.Addr().String(), git: git, root: dir, log: log, client: &http.Client{},
		deliveries: proc.NewFeed[Delivery](), repos: map[string]*repo{},
	}
	s.rest = s.api()
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.server = &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.NewTextHandler(log, nil), slog.LevelWarn)}
	s.background.Go(func() { _ = s.server.Serve(ln) }) // always ErrServerClosed
	return s, nil
}

// Announce sets where pushes are announced to; nil switches webhooks off.
func (s *Server) Announce(hook *Webhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Break makes the server misbehave, for fetches and, if asked, for pushes.
func (s *Server) Break(how string, pushes bool) error {
	switch how {
	case FaultStatus, FaultDrop, FaultHang:
	default:
		return fmt.Errorf("unknown fault %q: want %s, %s or %s", how, FaultStatus, FaultDrop, FaultHang)
	}
	s.Mend()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault{how: how, pushes: pushes, mended: make(chan struct{})}
	return nil
}

// Mend ends what Break began.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault.mended != nil {
		close(s.fault.mended)
	}
	s.fault = fault{}
}

// CreateRepo makes the repository owner/name with files on main and returns its URL; a
// login makes it private.
func (s *Server) CreateRepo(ctx context.Context, name string, files fs.FS, login *Login) (string, error) {
	dir := filepath.Join(s.root, filepath.FromSlash(name)+".git")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	if err := newRepo(ctx, dir, files); err != nil {
		return "", fmt.Errorf("creating repository %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[name] = &repo{name: name, dir: dir, id: len(s.repos) + 1, user: login}
	return s.RepoURL(name), nil
}

// RepoURL is what a user clones.
func (s *Server) RepoURL(name string) string { return s.URL + "/" + name + ".git" }

// ServeHTTP is smart HTTP at /<owner>/<name>.git, and GitHub's API below /api.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		s.rest.ServeHTTP(w, r)
		return
	}
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".git/")
	s.mu.Lock()
	repo, broken := s.repos[name], s.fault
	s.mu.Unlock()
	push := rest == "git-receive-pack" || r.URL.Query().Get("service") == "git-receive-pack"
	if broken.how != "" && (broken.pushes || !push) && misbehave(w, r, broken) {
		return
	}
	switch {
	case repo == nil:
		http.Error(w, "Repository not found.", http.StatusNotFound)
	case repo.user != nil && !repo.user.matches(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "Authentication required.", http.StatusUnauthorized)
	case r.Method == http.MethodPost && rest == "git-receive-pack":
		s.receive(w, r, repo)
	default:
		s.backend(w, r)
	}
}

// misbehave reports whether it has dealt with the request.
func misbehave(w http.ResponseWriter, r *http.Request, f fault) bool {
	switch f.how {
	case FaultStatus:
		http.Error(w, "The server is being maintained.", http.StatusServiceUnavailable)
	case FaultDrop:
		panic(http.ErrAbortHandler)
	case FaultHang:
		select {
		case <-f.mended:
			return false
		case <-r.Context().Done():
		}
	}
	return true
}

func (l *Login) matches(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(user+"\n"+password), []byte(l.Username+"\n"+l.Password)) == 1
}

// receive takes a push. What it changed is read from the repository: a hook script
// would need a shell, and a push can be refused ref by ref.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, repo *repo) {
	repo.pushing.Lock()
	defer repo.pushing.Unlock()
	before, err := repo.refs(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.backend(w, r)
	after, err := repo.refs(s.ctx) // the pusher may be gone, the push is not
	if err != nil {
		_, _ = fmt.Fprintln(s.log, err)
		return
	}
	s.announce(repo, moved(before, after), time.Now())
}

// backend is git http-backend as a CGI program. CGI knows no chunked bodies, which git
// sends for large pushes, so the body is gathered first.
func (s *Server) backend(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPush))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	handler := &cgi.Handler{
		Path: s.git, Args: []string{"http-backend"}, Dir: s.root, Stderr: s.log,
		Logger: slog.NewLogLogger(slog.NewTextHandler(s.log, nil), slog.LevelWarn),
		Env:    append(GitEnv(s.root), "GIT_PROJECT_ROOT="+s.root, "GIT_HTTP_EXPORT_ALL=1"),
	}
	handler.ServeHTTP(w, r)
}

// Stop ends the server; deliveries on their way are given up.
func (s *Server) Stop() error {
	s.Mend()
	s.cancel()
	err := s.server.Close()
	s.background.Wait()
	s.client.CloseIdleConnections()
	if closeErr := s.log.Close(); err == nil {
		err = closeErr
	}
	return err
}
