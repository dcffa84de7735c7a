// Package oci is a small image registry for tests that tells of pushed tags, as the CNCF
// registry does: in memory, with a notification after each. In: images made up from
// names. Out: how often it was asked for what, and how its notifications were answered. It
// can be broken on purpose. It refuses to repeat a notification.
package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

// Webhook is where pushed tags are announced to.
type Webhook struct{ URL, Secret string }

// Notification is one post and what became of it.
type Notification struct {
	Image, Tag string
	Sent       time.Time
	Status     int    // 0: no answer
	Answer     string // the body of the answer, or the error
}

// The kinds of requests that are counted.
const (
	Head  = "head"  // HEAD of a manifest
	List  = "list"  // a page of tags
	Other = "other" // everything else
)

// Server is the registry.
type Server struct {
	Host          string // 127.0.0.1:<port>
	Notifications *proc.Feed[Notification]

	images     http.Handler
	server     *http.Server
	ctx        context.Context // of notifications, which outlive the push
	cancel     context.CancelFunc
	background sync.WaitGroup

	mu     sync.Mutex
	hook   *Webhook
	fault  string
	counts map[string]int
}

// ours is the user agent of our own pushes, which are neither counted nor broken.
const ours = "world"

// Start starts an empty registry.
func Start(ctx context.Context) (*Server, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s := &Server{
		Host: ln.Addr().String(), Notifications: proc.NewFeed[Notification](),
		images: registry.New(registry.Logger(quiet)), counts: map[string]int{},
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.server = &http.Server{Handler: s, ErrorLog: quiet}
	s.background.Go(func() { _ = s.server.Serve(ln) }) // always ErrServerClosed
	return s, nil
}

// Announce sets where pushed tags are announced to; nil switches that off.
func (s *Server) Announce(hook *Webhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Requests is how often the registry was asked for a kind of thing by others.
func (s *Server) Requests(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[kind]
}

// ServeHTTP is the registry's API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.UserAgent(), ours) {
		s.images.ServeHTTP(w, r)
		return
	}
	list := strings.HasSuffix(r.URL.Path, "/tags/list")
	kind := Other
	switch {
	case list:
		kind = List
	case r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/"):
		kind = Head
	}
	s.mu.Lock()
	s.counts[kind]++
	fault := s.fault
	s.mu.Unlock()
	switch {
	case fault != "" && misbehave(w, r, fault, list):
	case list:
		s.page(w, r)
	default:
		s.images.ServeHTTP(w, r)
	}
}

// page answers a listing and says where it goes on, which the library's registry leaves
// out although it cuts listings. It is asked for one tag more, to know whether there is one.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || n <= 0 {
		s.images.ServeHTTP(w, r)
		return
	}
	more, query := r.Clone(r.Context()), r.URL.Query()
	query.Set("n", strconv.Itoa(n+1))
	more.URL.RawQuery = query.Encode()
	answer := httptest.NewRecorder()
	s.images.ServeHTTP(answer, more)
	var list struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}
	if answer.Code != http.StatusOK || json.Unmarshal(answer.Body.Bytes(), &list) != nil {
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return
	}
	if len(list.Tags) > n {
		list.Tags = list.Tags[:n]
		query.Set("n", strconv.Itoa(n))
		query.Set("last", list.Tags[n-1])
		w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", r.URL.Path, query.Encode()))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

// Push makes an image up and pushes it as repo:tag; quietly announces nothing.
func (s *Server) Push(ctx context.Context, repo, tag string, quietly bool) error {
	return s.PushBuilt(ctx, repo, tag, nil, quietly)
}

// PushBuilt pushes an image with labels.
func (s *Server) PushBuilt(ctx context.Context, repo, tag string, labels map[string]string, quietly bool) error {
	ref, err := name.NewTag(s.Host+"/"+repo+":"+tag, name.Insecure)
	if err != nil {
		return err
	}
	image, err := random.Image(64, 1)
	if err != nil {
		return err
	}
	if labels != nil {
		if image, err = mutate.Config(image, v1.Config{Labels: labels}); err != nil {
			return err
		}
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx), remote.WithUserAgent(ours)); err != nil {
		return fmt.Errorf("pushing %s: %w", ref, err)
	}
	digest, err := image.Digest()
	if err != nil || quietly {
		return err
	}
	s.announce(repo, tag, digest.String())
	return nil
}

// PushMany makes one image up and gives it many tags without announcing any.
func (s *Server) PushMany(ctx context.Context, repo string, tags []string) error {
	if err := s.Push(ctx, repo, tags[0], true); err != nil {
		return err
	}
	first, err := name.NewTag(s.Host+"/"+repo+":"+tags[0], name.Insecure)
	if err != nil {
		return err
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithUserAgent(ours)}
	image, err := remote.Get(first, options...)
	if err != nil {
		return err
	}
	pusher, err := remote.NewPusher(options...)
	if err != nil {
		return err
	}
	for _, tag := range tags[1:] {
		if err := pusher.Push(ctx, first.Context().Tag(tag), image); err != nil {
			return fmt.Errorf("tagging %s:%s: %w", repo, tag, err)
		}
	}
	return nil
}

// Forge announces a tag that was never pushed.
func (s *Server) Forge(repo, tag string) {
	s.announce(repo, tag, "sha256:"+strings.Repeat("0", 64))
}

// announce posts what the CNCF registry posts for the manifest of a pushed image.
func (s *Server) announce(repo, tag, digest string) {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return
	}
	now := time.Now()
	body, err := json.Marshal(map[string]any{"events": []any{map[string]any{
		"id": fmt.Sprintf("%s-%s-%d", repo, tag, now.UnixNano()), "timestamp": now.UTC().Format(time.RFC3339Nano), "action": "push",
		"target": map[string]any{
			"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 1, "length": 1,
			"digest": digest, "repository": repo, "tag": tag, "url": "http://" + s.Host + "/v2/" + repo + "/manifests/" + digest,
		},
		"request": map[string]any{"id": "1", "addr": "127.0.0.1:1", "host": s.Host, "method": "PUT", "useragent": ours},
		"actor":   map[string]any{"name": "ci"}, "source": map[string]any{"addr": s.Host, "instanceID": "world"},
	}}})
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	s.background.Go(func() {
		n := Notification{Image: s.Host + "/" + repo, Tag: tag, Sent: now}
		n.Status, n.Answer = s.post(hook, body)
		s.Notifications.Add(n)
	})
}

func (s *Server) post(hook *Webhook, body []byte) (int, string) {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/vnd.docker.distribution.events.v2+json")
	req.Header.Set("Authorization", "Bearer "+hook.Secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(answer)
}

// Stop ends the registry; notifications on their way are given up.
func (s *Server) Stop() error {
	s.cancel()
	err := s.server.Close()
	s.background.Wait()
	return err
}
