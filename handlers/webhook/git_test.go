package webhook

import (
	"os/exec"
	"strings"
	"testing"
)

func TestValidRef(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]bool{
		"refs/heads/main":            true,
		"refs/heads/feature/a.b>c":   true,
		"refs/heads/$x":              true,
		"refs/heads/a;b":             true,
		"refs/heads/$(id)":           true,
		"refs/heads/'\"`":            true,
		"refs/heads/%2e%2e":          true,
		"refs/heads/a,b&c|d!#":       true,
		"refs/heads/{a}":             true,
		"refs/heads/a]":              true,
		"refs/heads/-x":              true,
		"refs/heads/@":               true,
		"refs/heads/refs/heads/main": true,
		"refs/heads/größe-日本":        true,
		"refs/heads/cafe\u0301":      true,
		"refs/tags/v1.0.0":           true,
		"refs/pull/1/head":           true, // a ref, though none we look at
		"refs/heads/a.lockx":         true,
		"":                           false,
		"main":                       false,
		"heads/main":                 false,
		"HEAD":                       false,
		"refs/":                      false,
		"refs/heads":                 false,
		"refs/heads/":                false,
		"/refs/heads/main":           false,
		"refs/heads//main":           false,
		"refs/heads/main/":           false,
		"refs/heads/a b":             false,
		"refs/heads/a*":              false,
		"refs/heads/a?":              false,
		"refs/heads/[a":              false,
		"refs/heads/a..b":            false,
		"refs/heads/a~1":             false,
		"refs/heads/a^":              false,
		"refs/heads/a:b":             false,
		`refs/heads/a\b`:             false,
		"refs/heads/a@{1}":           false,
		"refs/heads/a.lock":          false,
		"refs/heads/a.lock/b":        false,
		"refs/heads/.a":              false,
		"refs/heads/a/.b":            false,
		"refs/heads/a.":              false,
		"refs/heads/a\x00":           false,
		"refs/heads/a\n":             false,
		"refs/heads/a\x7f":           false,
		"refs/heads/\xff":            false,
		"refs/heads/\ufffd":          false,
		"--upload-pack=x":            false,
		"-refs/heads/main":           false,
		"refs/heads/" + strings.Repeat("a", 5000): false,
	} {
		if got := ValidRef(ref); got != want {
			t.Errorf("ValidRef(%.60q) = %v, want %v", ref, got, want)
		}
	}
}

// git itself is the judge of the grammar.
func TestValidRefAsGit(t *testing.T) {
	t.Parallel()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("no git here")
	}
	for _, part := range []string{
		"a", "a.b", ".a", "a.", "a..b", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a]b", "a@{b", "@", "a@b", "a.lock", "a.lock.b",
		"a/.b", "a//b", "a/", "-a", "a\x01b", "a\x7fb", "{a}", "a'b", `a"b`, `a\b`, "a%b", "$a", "ä", "日", "..", ".lock",
	} {
		ref := "refs/heads/" + part
		want := exec.CommandContext(t.Context(), git, "check-ref-format", ref).Run() == nil
		if got := ValidRef(ref); got != want {
			t.Errorf("ValidRef(%q) = %v, git says %v", ref, got, want)
		}
	}
}

func TestObjectID(t *testing.T) {
	t.Parallel()
	const id = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
	for _, tt := range []struct {
		in, want string
		zero     bool
	}{
		{id, id, false},
		{strings.ToUpper(id), id, false},
		{id + strings.Repeat("a", 24), id + strings.Repeat("a", 24), false},
		{strings.Repeat("0", 40), "", true},
		{strings.Repeat("0", 64), "", true},
		{strings.Repeat("0", 50), "", false},
		{id[:7], "", false},
		{id + "0", "", false},
		{"g" + id[1:], "", false},
		{"--upload-pack=x", "", false},
		{"", "", false},
	} {
		if got, zero := objectID(tt.in); got != tt.want || zero != tt.zero {
			t.Errorf("objectID(%q) = %q, %v, want %q, %v", tt.in, got, zero, tt.want, tt.zero)
		}
	}
}
