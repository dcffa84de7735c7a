package registry

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	ociregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// quiet is a registry's log that nobody reads.
func quiet() ociregistry.Option {
	return ociregistry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug))
}

// server is a registry on loopback that writes down what it is asked.
type server struct {
	*httptest.Server
	host string

	mu    sync.Mutex // guards asked
	asked []string   // method, path and Authorization
}

func serve(t *testing.T, h http.Handler) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization")))
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.host = u.Host
	return s
}

func (s *server) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

func (s *server) image(t *testing.T) Image {
	t.Helper()
	image, err := ParseImage(s.host + "/acme/shop")
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// client may speak to loopback over plain HTTP.
func client(servers ...*server) *Client {
	var cfg Config
	for _, s := range servers {
		cfg.AllowedHosts = append(cfg.AllowedHosts, s.host)
		cfg.InsecureHosts = append(cfg.InsecureHosts, s.host)
	}
	return New(cfg)
}

// ociServer is go-containerregistry's own registry, with images in it.
func ociServer(t *testing.T) *server {
	t.Helper()
	return serve(t, ociregistry.New(quiet()))
}

// manifestOf is what images and indexes have in common.
type manifestOf interface {
	RawManifest() ([]byte, error)
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
}

// push puts an image under a tag, without its layers: nobody looks at them.
func push(t *testing.T, s *server, tag string, image v1.Image) string {
	t.Helper()
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	send(t, http.MethodPost, s.URL+"/v2/acme/shop/blobs/uploads/?digest="+digest.String(), "application/octet-stream", config)
	return pushManifest(t, s, tag, image)
}

func pushManifest(t *testing.T, s *server, tag string, m manifestOf) string {
	t.Helper()
	raw, err := m.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	media, err := m.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	send(t, http.MethodPut, s.URL+"/v2/acme/shop/manifests/"+tag, string(media), raw)
	return digest.String()
}

func send(t *testing.T, method, url, media string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

func keys(t *testing.T, server string) Keychain {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	k, err := ParseDockerConfig(fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, server, auth))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestHead(t *testing.T) {
	t.Parallel()
	s := ociServer(t)
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := push(t, s, "v1", image)
	s.took()
	c := client(s)
	got, err := c.Head(t.Context(), s.image(t), "v1", Keychain{})
	if err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if asked := s.took(); len(asked) != 1 || asked[0] != "HEAD /v2/acme/shop/manifests/v1" {
		t.Errorf("asked %q", asked)
	}
	_, err = c.Head(t.Context(), s.image(t), "forged", Keychain{})
	wantError(t, err, NotFound, "looking up "+s.host+"/acme/shop:forged: not found (404)")
	if _, err = c.Head(t.Context(), s.image(t), "../../x", Keychain{}); err == nil || len(s.took()) != 1 {
		t.Errorf("a tag that is none was asked for: %v", err)
	}
}

func TestTagsOfARealRegistry(t *testing.T) {
	t.Parallel()
	s := ociServer(t)
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"b", "a", "c"} {
		push(t, s, tag, image)
	}
	got, err := client(s).Tags(t.Context(), s.image(t), Keychain{}, Known{})
	if err != nil || strings.Join(got.Tags, " ") != "a b c" || got.Unchanged {
		t.Errorf("got %+v, %v", got, err)
	}
	other, err := ParseImage(s.host + "/acme/none")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(s).Tags(t.Context(), other, Keychain{}, Known{})
	wantError(t, err, NotFound, "listing tags of "+s.host+"/acme/none: not found (404)")
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	s := ociServer(t)
	const commit, repo = "7f5ecb303b1f1e1d0c9a3f3d2e1c0b9a8f7e6d5c", "https://github.com/acme/shop"
	plain, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	labelled := func(value, source string) v1.Image {
		image, err := mutate.Config(plain, v1.Config{Labels: map[string]string{revisionKey: value, sourceKey: source}})
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	push(t, s, "plain", plain)
	push(t, s, "odd", labelled("see the wiki", "ssh://wiki"))
	digest := push(t, s, "label", labelled(strings.ToUpper(commit), repo))
	annotated, ok := mutate.Annotations(plain, map[string]string{revisionKey: commit}).(v1.Image)
	if !ok {
		t.Fatal("no image")
	}
	push(t, s, "annotation", annotated)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: plain, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}},
		mutate.IndexAddendum{Add: labelled(commit, repo), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	for _, child := range []v1.Image{plain, labelled(commit, repo)} {
		of, err := child.Digest()
		if err != nil {
			t.Fatal(err)
		}
		push(t, s, of.String(), child)
	}
	pushManifest(t, s, "index", index)
	c := client(s)
	said := Origin{Commit: commit, Source: repo}
	for tag, want := range map[string]Origin{"plain": {}, "odd": {}, "label": said, digest: said, "annotation": {Commit: commit}, "index": said} {
		if got, err := c.Origin(t.Context(), s.image(t), tag, Keychain{}); got != want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", tag, got, err, want)
		}
	}
}
