package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRunRefusesUnknownTargets(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{nil, {"cluster", "nope"}} {
		var out bytes.Buffer
		err := run(t.Context(), names, &out)
		if _, ok := errors.AsType[usageError](err); !ok || !strings.Contains(err.Error(), "cluster, demo, tradewind, tradewind-sops") {
			t.Errorf("run(%q) = %v, want a usage error that lists the targets", names, err)
		}
		if out.Len() > 0 {
			t.Errorf("run(%q) did something: %s", names, &out)
		}
	}
}

func TestKeyFollowsSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := module{dir: dir}
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := m.key(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key := write("a.go", "package main")
	for name, changes := range map[string]bool{"b.go": true, "go.sum": true, "a_test.go": false, "README.md": false} {
		if next := write(name, "x"); (next != key) != changes {
			t.Errorf("writing %s changed the key: %t, want %t", name, next != key, changes)
		} else {
			key = next
		}
	}
	m.flags = []string{"-ldflags", "-X version=2"}
	if next, err := m.key(t.Context()); err != nil || next == key {
		t.Errorf("with other flags: same key, %v", err)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := newProgress("cluster", &out)
	p.mu.Lock()
	p.shown = time.Now() // say nothing that does not matter
	p.mu.Unlock()
	follow(strings.NewReader("go: downloading k8s.io/api v0.37.2\nk8s.io/api/core/v1\nk8s.io/api/apps/v1\n"+
		"# k8s.io/api/apps/v1\n./x.go:1:2: undefined: y\n"), p)
	p.end()
	want := "# k8s.io/api/apps/v1\n./x.go:1:2: undefined: y\n"
	if out.String() != want || p.count() != 2 {
		t.Errorf("printed %q and counted %d, want %q and 2", out.String(), p.count(), want)
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		compiled, total int
		want            string
	}{
		{0, 0, "building x  2m10s  pkg"},
		{7, 0, "building x  7 packages  2m10s  pkg"},
		{7, 90, "building x  7/90 packages  2m10s  pkg"},
		{90, 90, "building x  90/90 packages  2m10s  linking"},
		{0, 1, "building x  2m10s  linking"}, // compiled before, with other link flags
	} {
		p := &progress{name: "x", begun: time.Now().Add(-130 * time.Second), what: "pkg", compiled: test.compiled, total: test.total}
		if got := p.line(); got != test.want {
			t.Errorf("after %d of %d: %q, want %q", test.compiled, test.total, got, test.want)
		}
	}
}
