package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
)

const fluxContent = "application/vnd.cncf.flux.content.v1.tar+gzip"

// packed is a tar.gz of files, links written as name -> "-> target".
func packed(t *testing.T, content map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for name, text := range content {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			header.Typeflag, header.Linkname, header.Size, text = tar.TypeSymlink, target, 0, ""
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pushArtifact puts an artifact with one layer under a tag, and gives its digest.
func pushArtifact(t *testing.T, s *server, tag, media string, blob []byte) string {
	t.Helper()
	for _, data := range [][]byte{blob, []byte("{}")} {
		send(t, http.MethodPost, s.URL+"/v2/acme/shop/blobs/uploads/?digest="+digestOf(data), "application/octet-stream", data)
	}
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.cncf.flux.config.v1+json", "digest": digestOf([]byte("{}")), "size": 2},
		"layers": []any{map[string]any{"mediaType": media, "digest": digestOf(blob), "size": len(blob)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	send(t, http.MethodPut, s.URL+"/v2/acme/shop/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", raw)
	return digestOf(raw)
}

func TestArtifact(t *testing.T) {
	t.Parallel()
	s := ociServer(t)
	want := pushArtifact(t, s, "v1", fluxContent, packed(t, map[string]string{"./apps/web.yaml": "kind: Web", "README.md": "x"}))
	c := client(s)
	s.took()
	for round, requests := range [][]string{
		{"HEAD /v2/acme/shop/manifests/v1", "GET /v2/acme/shop/manifests/" + want, "GET /v2/acme/shop/blobs/"},
		{"HEAD /v2/acme/shop/manifests/v1"}, // its digest is known
	} {
		digest, tree, err := c.Artifact(t.Context(), s.image(t), "v1", Keychain{})
		if err != nil || digest != want {
			t.Fatalf("round %d: Artifact() = %q, %v; want %s", round, digest, err, want)
		}
		if text, err := fs.ReadFile(tree, "apps/web.yaml"); string(text) != "kind: Web" || err != nil {
			t.Errorf("apps/web.yaml = %q, %v", text, err)
		}
		asked := s.took()
		if len(asked) != len(requests) {
			t.Fatalf("round %d asked %q, want %q", round, asked, requests)
		}
		for i := range asked {
			if !strings.HasPrefix(asked[i], requests[i]) {
				t.Errorf("round %d: request %d is %q, want %q", round, i, asked[i], requests[i])
			}
		}
	}
	if _, _, err := c.Artifact(t.Context(), s.image(t), want, Keychain{}); err != nil || len(s.took()) != 0 {
		t.Errorf("by its digest, which is known: %v, want no request and no error", err)
	}
	next := pushArtifact(t, s, "v1", "application/vnd.oci.image.layer.v1.tar+gzip", packed(t, map[string]string{"a": "b"}))
	if digest, _, err := c.Artifact(t.Context(), s.image(t), "v1", Keychain{}); err != nil || digest != next {
		t.Errorf("after another push: %q, %v; want %s", digest, err, next)
	}
}

func TestArtifactsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := ociServer(t)
	pushArtifact(t, s, "link", fluxContent, packed(t, map[string]string{"a": "-> /etc/passwd"}))
	pushArtifact(t, s, "escape", fluxContent, packed(t, map[string]string{"../a": "x"}))
	pushArtifact(t, s, "chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", packed(t, map[string]string{"a": "x"}))
	pushArtifact(t, s, "bomb", fluxContent, packed(t, map[string]string{"a": strings.Repeat("\x00", 8<<20)}))
	pushArtifact(t, s, "text", fluxContent, []byte(strings.Repeat("kind: ConfigMap\n", 100)))
	c := client(s)
	for tag, want := range map[string]struct {
		kind         Kind
		detail, hint string
	}{
		"link":   {Blocked, "is a link", "no links"},
		"escape": {Blocked, "leads out of the tree", "no links"},
		"chart":  {Malformed, "helm.chart", "flux push artifact"},
		"bomb":   {TooLarge, "100 times its size", "not more than it needs"},
		"text":   {TooLarge, "not a tar file", ""},
		"absent": {NotFound, "", "not be pushed yet"},
	} {
		_, _, err := c.Artifact(t.Context(), s.image(t), tag, Keychain{})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != want.kind || !strings.Contains(e.Error(), want.detail) || !strings.Contains(e.Hint(), want.hint) {
			t.Errorf("%s: %v, want kind %q with %q and a hint with %q", tag, err, want.kind, want.detail, want.hint)
		}
	}
}

// TestArtifactOfAnotherDigest has a registry, or someone on the way, change the layer.
func TestArtifactOfAnotherDigest(t *testing.T) {
	t.Parallel()
	origin := ociServer(t)
	good := packed(t, map[string]string{"a": "good"})
	pushArtifact(t, origin, "v1", fluxContent, good)
	bad := packed(t, map[string]string{"a": "evil"})
	evil := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write(bad)
			return
		}
		origin.Config.Handler.ServeHTTP(w, r)
	}))
	_, tree, err := client(evil).Artifact(t.Context(), evil.image(t), "v1", Keychain{})
	if err == nil || tree != nil || !strings.Contains(err.Error(), "another digest") && !strings.Contains(err.Error(), "broke off") {
		t.Errorf("Artifact() = %v, %v; want no files and an error about the digest", tree, err)
	}
}

// TestArtifactsAreKeptApart checks that a digest is no way around a credential.
func TestArtifactsAreKeptApart(t *testing.T) {
	t.Parallel()
	origin := ociServer(t)
	digest := pushArtifact(t, origin, "v1", fluxContent, packed(t, map[string]string{"a": "secret"}))
	closed := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "me" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		origin.Config.Handler.ServeHTTP(w, r)
	}))
	keys, err := ParseDockerConfig([]byte(`{"auths":{"` + closed.host + `":{"username":"me","password":"p"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	c := client(closed)
	if _, _, err := c.Artifact(t.Context(), closed.image(t), digest, keys); err != nil {
		t.Fatal(err)
	}
	_, tree, err := c.Artifact(t.Context(), closed.image(t), digest, Keychain{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Unauthorized || tree != nil || strings.Contains(e.Hint(), "imageRepository") {
		t.Errorf("without credentials: %v, %v; want %q and a hint that names secretRef", tree, err, Unauthorized)
	}
}
