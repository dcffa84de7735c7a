package registry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// guarded is a registry that wants a token from realm, and says yes to want.
func guarded(realm func() string, want string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != want {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="reg",scope="repository:evil:push"`, realm()))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
	})
}

func tokenServer(t *testing.T) *server {
	t.Helper()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.FormValue("refresh_token") == "refresh" {
			fmt.Fprint(w, `{"access_token": "exchanged"}`)
			return
		}
		if user, password, ok := r.BasicAuth(); ok && (user != "me" || password != "secret") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"token": "abc", "expires_in": 300}`)
	}))
}

const basic = "Basic bWU6c2VjcmV0" // me:secret

func TestTokens(t *testing.T) {
	t.Parallel()
	realm := tokenServer(t)
	s := serve(t, guarded(func() string { return realm.URL + "/token?x=1" }, "Bearer abc"))
	c := client(s, realm)
	c.cfg.TokenRealms = map[string][]string{s.host: {realm.host}}
	for range 2 {
		if _, err := c.Head(t.Context(), s.image(t), "v1", keys(t, s.host)); err != nil {
			t.Fatal(err)
		}
	}
	if asked := realm.took(); len(asked) != 1 || asked[0] != "GET /token?scope=repository%3Aacme%2Fshop%3Apull&service=reg&x=1 "+basic {
		t.Errorf("realm was asked %q", asked)
	}
	if asked := s.took(); len(asked) != 3 || strings.Contains(strings.Join(asked, " "), "Basic") {
		t.Errorf("registry was asked %q", asked)
	}
}

// A realm elsewhere gets no credential, nor does a registry that the Secret does not name.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	realm := tokenServer(t)
	s := serve(t, guarded(func() string { return realm.URL + "/token" }, "Bearer abc"))
	c := client(s, realm)
	if _, err := c.Head(t.Context(), s.image(t), "v1", keys(t, s.host)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Head(t.Context(), s.image(t), "v1", keys(t, "ghcr.io")); err != nil {
		t.Fatal(err)
	}
	for _, asked := range append(realm.took(), s.took()...) {
		if strings.Contains(asked, "Basic") {
			t.Errorf("a credential went astray: %s", asked)
		}
	}
	refusing := serve(t, status(http.StatusUnauthorized))
	strict := serve(t, guarded(func() string { return refusing.URL }, "Bearer abc"))
	_, err := client(strict, refusing).Head(t.Context(), strict.image(t), "v1", keys(t, strict.host))
	e := wantError(t, err, Unauthorized, "looking up "+strict.host+"/acme/shop:v1: authentication refused: its token realm is on another host, which gets no credentials (401)")
	if e.Hint() != "when "+refusing.host+" belongs to "+strict.host+", list it under registry.tokenRealms" {
		t.Errorf("hint %q", e.Hint())
	}
}

func TestOtherCredentials(t *testing.T) {
	t.Parallel()
	basicServer := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != basic {
			w.Header().Set("WWW-Authenticate", `Basic realm="Registry Realm"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"tags": ["a"]}`)
	}))
	c := client(basicServer)
	for range 2 {
		if _, err := c.Tags(t.Context(), basicServer.image(t), keys(t, basicServer.host), Known{}); err != nil {
			t.Fatal(err)
		}
	}
	if asked := basicServer.took(); len(asked) != 3 {
		t.Errorf("asked %q", asked)
	}
	wrong, err := ParseDockerConfig(fmt.Appendf(nil, `{"auths": {%q: {"username": "me", "password": "old"}}}`, basicServer.host))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Tags(t.Context(), basicServer.image(t), wrong, Known{})
	e := wantError(t, err, Unauthorized, "listing tags of "+basicServer.host+"/acme/shop: authentication refused (401)")
	if !strings.Contains(e.Hint(), "renew them") {
		t.Errorf("hint %q", e.Hint())
	}

	bearer := serve(t, guarded(func() string { return "https://unused.example" }, "Bearer direct"))
	direct, err := ParseDockerConfig(fmt.Appendf(nil, `{"auths": {%q: {"registrytoken": "direct"}}}`, bearer.host))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(bearer).Head(t.Context(), bearer.image(t), "v1", direct); err != nil {
		t.Error(err)
	}

	realm := tokenServer(t)
	oauth := serve(t, guarded(func() string { return realm.URL }, "Bearer exchanged"))
	identity, err := ParseDockerConfig(fmt.Appendf(nil, `{"auths": {%q: {"identitytoken": "refresh"}}}`, oauth.host))
	if err != nil {
		t.Fatal(err)
	}
	trusting := client(oauth, realm)
	trusting.cfg.TokenRealms = map[string][]string{oauth.host: {realm.host}}
	if _, err := trusting.Head(t.Context(), oauth.image(t), "v1", identity); err != nil {
		t.Error(err)
	}
}

// A token that the registry does not take any more is exchanged for another.
func TestTokenEnds(t *testing.T) {
	t.Parallel()
	valid := "Bearer first"
	var s *server
	s = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			fmt.Fprintf(w, `{"token": %q}`, strings.TrimPrefix(valid, "Bearer "))
		case r.Header.Get("Authorization") != valid:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, s.URL))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			fmt.Fprint(w, `{"tags": ["a"]}`)
		}
	}))
	c := client(s)
	for _, valid = range []string{"Bearer first", "Bearer second"} {
		if _, err := c.Tags(t.Context(), s.image(t), Keychain{}, Known{}); err != nil {
			t.Error(err)
		}
	}
}

// A blob may come from elsewhere; the credential does not go there.
func TestBlobRedirectsWithoutCredentials(t *testing.T) {
	t.Parallel()
	config := `{"config": {"Labels": {"org.opencontainers.image.revision": "abcdef0"}}}`
	storage := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, config) }))
	digest := sum(t, config)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != basic:
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, "/blobs/"):
			http.Redirect(w, r, storage.URL+"/blob?signature=1", http.StatusTemporaryRedirect)
		default:
			fmt.Fprintf(w, `{"config": {"digest": %q}}`, digest)
		}
	}))
	got, err := client(s, storage).Origin(t.Context(), s.image(t), "v1", keys(t, s.host))
	if got.Commit != "abcdef0" || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if asked := storage.took(); len(asked) != 1 || asked[0] != "GET /blob?signature=1" {
		t.Errorf("storage was asked %q", asked)
	}
	plain := New(Config{AllowedHosts: []string{s.host, storage.host}, InsecureHosts: []string{s.host}})
	_, err = plain.Origin(t.Context(), s.image(t), "v1", keys(t, s.host))
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Blocked {
		t.Errorf("a redirect to plain HTTP: %v", err)
	}
}

func TestKeychain(t *testing.T) {
	t.Parallel()
	auth := base64.StdEncoding.EncodeToString([]byte("hub:pa:ss"))
	k, err := ParseDockerConfig([]byte(`{"auths": {
		"https://index.docker.io/v1/": {"auth": "` + auth + `"},
		"GHCR.io": {"username": "all", "password": "x"},
		"ghcr.io/acme": {"username": "acme", "password": "x"},
		"https://ghcr.io/acme/shop/web/": {"username": "web", "password": "x"},
		"registry.example:5000": {"username": "port", "password": "x"},
		"empty.example": {}, "": {"username": "nobody", "password": "x"}
	}, "credHelpers": {"x": "y"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{
		"nginx": "hub", "docker.io/acme/x": "hub", "registry-1.docker.io/library/nginx": "hub",
		"ghcr.io/other/x": "all", "ghcr.io/acme/x": "acme", "ghcr.io/acme/shop": "acme", "ghcr.io/acmeother/x": "all",
		"ghcr.io/acme/shop/web": "web", "registry.example:5000/x": "port",
		"registry.example/x": "", "registry.example:5001/x": "", "ghcr.io.evil.example/acme": "", "empty.example/x": "", "quay.io/x": "",
	} {
		parsed, err := ParseImage(image)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.of(parsed); got.username != want || want == "hub" && got.password != "pa:ss" {
			t.Errorf("%s: %+v, want %q", image, got, want)
		}
	}
	for _, bad := range []string{"", "{}", "[]", `{"auths": {}}`, `{"auths": {"a.example": {"auth": "!"}}}`, `{"auths": {"a.example": {"auth": "YQ=="}}}`} {
		if _, err := ParseDockerConfig([]byte(bad)); err == nil {
			t.Errorf("%s is a Docker configuration", bad)
		} else if e, ok := errors.AsType[*SecretError](err); !ok || e.Hint() == "" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestParseChallenge(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{`Bearer realm="https://a/t",service="s",scope="x,y"`, "bearer https://a/t s x,y"},
		{`bearer Realm="https://a/t", service=s , scope=x`, "bearer https://a/t s x"},
		{`Basic realm="a, b"`, "basic a, b  "},
		{`Bearer`, "bearer   "},
		{`Bearer realm`, "bearer   "},
		{`Bearer realm="open`, "bearer open  "},
		{``, "   "},
	} {
		scheme, p := parseChallenge(test.text)
		if got := strings.Join([]string{scheme, p["realm"], p["service"], p["scope"]}, " "); got != test.want {
			t.Errorf("%s: %q, want %q", test.text, got, test.want)
		}
	}
}
