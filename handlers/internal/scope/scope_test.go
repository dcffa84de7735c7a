package scope

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithin(t *testing.T) {
	t.Parallel()
	s, err := Parse([]string{
		"github.com/acme/config", "https://github.com/acme/web.git", "gitlab.example.com/group/*", "git.example.com/Team/*",
		"127.0.0.1:3000/acme/*", "self.example.com/*", "bb.example.com/scm/PROJ/*", "dev.azure.com/org/My Proj/*",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key         string
		exact, fold bool
	}{
		{"github.com/acme/config", true, true},
		{"github.com/acme/web", true, true},
		{"github.com/acme/config2", false, false},
		{"github.com/acme/config/x", false, false},
		{"github.com/acme", false, false},
		{"gitlab.example.com/group/a", true, true},
		{"gitlab.example.com/group/sub/a", true, true},
		{"gitlab.example.com/group", false, false},
		{"gitlab.example.com/groups/a", false, false},
		{"gitlab.example.com.evil.example/group/a", false, false},
		{"git.example.com/Team/app", true, true},
		{"git.example.com/team/app", false, true},
		{"git.example.com/TEAM/app", false, true},
		{"127.0.0.1:3000/acme/config", true, true},
		{"127.0.0.1:30000/acme/config", false, false},
		{"127.0.0.1/acme/config", false, false},
		{"self.example.com/any/thing", true, true},
		{"self.example.com:8443/any/thing", false, false},
		{"bb.example.com/proj/app", true, true},
		{"dev.azure.com/org/my proj/app", true, true},
		{"dev.azure.com/org/other/app", false, false},
		{"", false, false},
	} {
		for fold, want := range map[bool]bool{false: tt.exact, true: tt.fold} {
			var keys []string
			if want {
				keys = []string{tt.key}
			}
			if diff := cmp.Diff(keys, s.Within([]string{tt.key, "github.com/other/x"}, fold)); diff != "" {
				t.Errorf("%s, fold %v (-want +got):\n%s", tt.key, fold, diff)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const advice = ": want host/path or host/org/*"
	for entry, want := range map[string]string{
		"*":                          "it holds one of * ? @",
		"*/*":                        "it holds one of * ? @",
		"github.com/*/config":        "it holds one of * ? @",
		"github.com/acme*":           "it holds one of * ? @",
		"github.com/acme/**":         "it holds one of * ? @",
		"https://token@github.com/a": "it holds one of * ? @",
		"git@github.com:acme/config": "it holds one of * ? @",
		"github.com/a?b":             "it holds one of * ? @",
		"":                           "the repository URL has no valid host name",
		"/*":                         "the repository URL has no valid host name",
		"github.com":                 "the repository URL names a server but no repository",
		"github.com/../*":            "the repository URL climbs out with .. in its path",
		"file:///srv/*":              "the repository URL is neither https, http, ssh nor git",
	} {
		_, err := Parse([]string{entry})
		if got := "entry 1 of its scope: " + want + advice; err == nil || err.Error() != got {
			t.Errorf("%q: got %v, want %s", entry, err, got)
		}
	}
	if _, err := Parse(nil); err == nil {
		t.Error("an empty scope is taken")
	}
}

func TestWithinImages(t *testing.T) {
	t.Parallel()
	s, err := Parse([]string{"ghcr.io/Acme/*", "docker.io/acme/app", "docker.io/library/*", "127.0.0.1:5000/acme/*", "registry.example.com/*", "dev.azure.com/org/My Proj/*"})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{
		"ghcr.io/acme/app": true, "ghcr.io/acme/team/app": true, "ghcr.io/acme": false, "ghcr.io/acmee/app": false,
		"index.docker.io/acme/app": true, "index.docker.io/acme/other": false, "index.docker.io/library/nginx": true,
		"127.0.0.1:5000/acme/app": true, "127.0.0.1:50000/acme/app": false, "registry.example.com/a": true, "": false,
	} {
		if got := s.WithinImages([]string{key}); (len(got) == 1) != want {
			t.Errorf("%q: %q, want %t", key, got, want)
		}
	}
}
