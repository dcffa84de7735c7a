package registry

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func sum(t *testing.T, text string) string {
	t.Helper()
	hash, _, err := v1.SHA256(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

func TestParseReference(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, test := range []struct{ in, key, tag, digest, text string }{
		{"nginx", "docker.io/library/nginx", "", "", "nginx"},
		{"nginx:1.27", "docker.io/library/nginx", "1.27", "", "nginx:1.27"},
		{"acme/shop", "docker.io/acme/shop", "", "", "acme/shop"},
		{"docker.io/nginx", "docker.io/library/nginx", "", "", "docker.io/nginx"},
		{"index.docker.io/library/nginx", "docker.io/library/nginx", "", "", "index.docker.io/library/nginx"},
		{"ghcr.io/fogdong/test-fog:master-7f5ecb30-1632733303", "ghcr.io/fogdong/test-fog", "master-7f5ecb30-1632733303", "", "ghcr.io/fogdong/test-fog:master-7f5ecb30-1632733303"},
		{"GHCR.IO/acme/shop", "ghcr.io/acme/shop", "", "", "GHCR.IO/acme/shop"},
		{"localhost/shop", "localhost/shop", "", "", "localhost/shop"},
		{"localhost:5000/shop:v1", "localhost:5000/shop", "v1", "", "localhost:5000/shop:v1"},
		{"[::1]:5000/shop", "[::1]:5000/shop", "", "", "[::1]:5000/shop"},
		{"127.0.0.1:5000/a/b/c__d/e--f.g", "127.0.0.1:5000/a/b/c__d/e--f.g", "", "", "127.0.0.1:5000/a/b/c__d/e--f.g"},
		{"a.example/b@" + digest, "a.example/b", "", digest, "a.example/b@" + digest},
		{"a.example/b:c@" + digest, "a.example/b", "c", digest, "a.example/b:c@" + digest},
	} {
		ref, err := ParseReference(test.in)
		if err != nil || ref.Image.Key() != test.key || ref.Tag != test.tag || ref.Digest != test.digest || ref.String() != test.text {
			t.Errorf("%s: %s, %+v, %v", test.in, ref, ref, err)
		}
	}
	for _, bad := range []string{
		"", "/", "a/", "/a", "a//b", "A/b", "a.example/", "a.example/B", "https://a.example/b", "a.example/b:", "a.example/b:-x", "a.example/b:a b",
		"a.example/b@", "a.example/b@sha256:0", "a.example/b@md5:" + strings.Repeat("0", 64), "a.example:port/b", "a.example/../b", "a.example/b/./c",
		"user@a.example/b", "a.example/b?x=1", "a.example/b#x", "a.example/b\n", "a..example@/b", "a.example:123456/b", "-a.example/b", "a.example/" + strings.Repeat("b", 255),
		"a.example/b_", "a.example/b___c", "[::1/b", "a.example/б",
	} {
		if ref, err := ParseReference(bad); err == nil {
			t.Errorf("%q is %+v", bad, ref)
		}
	}
	if _, err := ParseImage("nginx:1"); err == nil || err.Error() != `"nginx:1" is not an image: it has a tag or a digest` {
		t.Errorf("got %v", err)
	}
}

func FuzzParseReference(f *testing.F) {
	for _, seed := range []string{"nginx", "a.example:1/b/c:d@sha256:" + strings.Repeat("0", 64), "[::1]:5000/x", "docker.io/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		if ref.String() != s {
			t.Errorf("%q is written as %q", s, ref)
		}
		again, err := ParseReference(ref.Image.Key())
		if err != nil || again.Image.Key() != ref.Image.Key() {
			t.Errorf("%q: key %q is %v, %v", s, ref.Image.Key(), again, err)
		}
	})
}

func ExampleParseReference() {
	ref, err := ParseReference("nginx:1.27")
	fmt.Println(ref.Image.Key(), ref.Tag, err)
	// Output: docker.io/library/nginx 1.27 <nil>
}
