package events

import (
	"strings"
	"testing"
)

func TestImageKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ ref, want string }{
		{"nginx", "index.docker.io/library/nginx"},
		{"library/nginx:1.27", "index.docker.io/library/nginx"},
		{"docker.io/nginx", "index.docker.io/library/nginx"},
		{"registry-1.docker.io/library/nginx", "index.docker.io/library/nginx"},
		{"org/app", "index.docker.io/org/app"},
		{"ghcr.io/Org/App:v1", "ghcr.io/org/app"},
		{"ghcr.io/o/app:", "ghcr.io/o/app"},
		{"Host.Example:5000/a/b", "host.example:5000/a/b"},
		{"host.example:443/a/b", "host.example/a/b"},
		{"localhost:5000/a", "localhost:5000/a"},
		{"localhost/a", "localhost/a"},
		{"127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b"},
		{"[::1]:5000/a", "[::1]:5000/a"},
		{"oci://host.example/a/b", "host.example/a/b"},
		{"host.example/a/b:t@sha256:" + strings.Repeat("a", 64), "host.example/a/b"},
		{"host.example/a__b/c-d.e", "host.example/a__b/c-d.e"},
	} {
		if got, err := ImageKey(tt.ref); err != nil || got != tt.want {
			t.Errorf("ImageKey(%q) = %q, %v, want %q", tt.ref, got, err, tt.want)
		}
	}
	for _, ref := range []string{
		"", " ", "https://ghcr.io/o/app", "host.example/", "host.example/a b", "host.example/../a", "host.example//a", "host.example/a/",
		"host.example:0/a", "host.example:99999/a", "host..example/a", "host.example/a:b@sha256:12", "host.example/a:-x", "-x/a", "a\x00b",
		"host.example/" + strings.Repeat("a", 600), "host.example/a:" + strings.Repeat("t", 129), "host.example/a\n",
	} {
		if got, err := ImageKey(ref); err == nil {
			t.Errorf("ImageKey(%q) = %q, want an error", ref, got)
		}
	}
}

func TestSplitImage(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0a", 32)
	key, tag, got, err := SplitImage("h.example:5000/a/b:v1@" + digest)
	if err != nil || key != "h.example:5000/a/b" || tag != "v1" || got != digest {
		t.Errorf("got %q, %q, %q, %v", key, tag, got, err)
	}
	if key, tag, _, err = SplitImage("h.example:5000/a/b"); err != nil || key != "h.example:5000/a/b" || tag != "" {
		t.Errorf("without a tag: %q, %q, %v", key, tag, err)
	}
}

func TestValidImageTag(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]bool{
		"v1": true, "master-cba5605f-1632714412": true, "_x": true, "A.b-c_d": true, strings.Repeat("a", 128): true,
		"": false, "-x": false, ".x": false, "a b": false, "a+b": false, "sha256:ab": false, strings.Repeat("a", 129): false,
		"sha256-" + strings.Repeat("a", 64) + ".sig": false, "a\n": false,
	} {
		if got := ValidImageTag(tag); got != want {
			t.Errorf("ValidImageTag(%q) = %t", tag, got)
		}
	}
}

func TestBranchKey(t *testing.T) {
	t.Parallel()
	k := BranchKey("github.com/acme/config", "feature/a@b")
	if want := Key("branch/github.com/acme/config@feature/a@b"); k != want || k.Validate() != nil {
		t.Errorf("got %q, %v", k, k.Validate())
	}
	if source, ok := k.Branch(); !ok || source != "github.com/acme/config@feature/a@b" {
		t.Errorf("Branch() = %q, %t", source, ok)
	}
	if _, _, ok := k.App(); ok {
		t.Error("a branch passes for an Application")
	}
	for _, bad := range []Key{"branch/", "branch/x", "branch/@main", "branch/h/r@", "app/a", "x/y/z", ""} {
		if bad.Validate() == nil {
			t.Errorf("%q is valid", bad)
		}
	}
}

func FuzzImageKey(f *testing.F) {
	for _, s := range []string{"nginx", "ghcr.io/o/a:v1", "[::1]:5000/a", "h:5000/a@sha256:", "oci://h.x/a:b", "a:b:c", "A/B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		key, tag, digest, err := SplitImage(ref)
		if err != nil {
			return
		}
		if again, err := ImageKey(key); err != nil || again != key {
			t.Errorf("ImageKey(%q) = %q, but read again %q, %v", ref, key, again, err)
		}
		if tag != "" && !imageTag.MatchString(tag) || digest != "" && !ValidDigest(digest) {
			t.Errorf("%q has tag %q, digest %q", ref, tag, digest)
		}
	})
}
