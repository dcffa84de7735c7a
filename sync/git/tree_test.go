package git_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

func fetch(tb testing.TB, files gittest.Files) *git.Tree {
	tb.Helper()
	tree, _ := fetchFrom(tb, files)
	return tree
}

func fetchFrom(tb testing.TB, files gittest.Files) (*git.Tree, *git.Mirrors) {
	tb.Helper()
	srv := gittest.NewServer(tb)
	repo := srv.NewRepo(tb, "r.git")
	repo.Commit(tb, "main", files)
	m := newMirrors(tb, srv.Host())
	tree, err := m.Fetch(tb.Context(), git.Source{URL: repo.URL}, git.Ref{})
	if err != nil {
		tb.Fatal(err)
	}
	return tree, m
}

func TestTreeIsAFileSystem(t *testing.T) {
	t.Parallel()
	tree := fetch(t, gittest.Files{
		"README.md": "hello\n", "apps/a/web.yaml": "a\n", "apps/b/web.yaml": "b\n", "apps/b/deep/er/x.yaml": "x\n",
		"apps-more/y.yaml": "y\n", // sorts before apps/ in Git, after it in a listing
		"apps/link":        "-> b/web.yaml", "dirlink": "-> apps/b",
	})
	if err := fstest.TestFS(tree.FS(), "README.md", "apps/a/web.yaml", "apps/b/deep/er/x.yaml", "apps-more/y.yaml", "apps/link"); err != nil {
		t.Error(err)
	}
	if got := read(t, tree, "dirlink/web.yaml"); got != "b\n" {
		t.Errorf("file below a linked directory = %q", got)
	}
	var walked []string
	err := fs.WalkDir(tree.FS(), ".", func(p string, _ fs.DirEntry, err error) error { walked = append(walked, p); return err })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		".", "README.md", "apps", "apps/a", "apps/a/web.yaml", "apps/b", "apps/b/deep", "apps/b/deep/er",
		"apps/b/deep/er/x.yaml", "apps/b/web.yaml", "apps/link", "apps-more", "apps-more/y.yaml", "dirlink",
	}
	if diff := cmp.Diff(want, walked); diff != "" {
		t.Error(diff)
	}
}

func TestPathsAsUsersWriteThem(t *testing.T) {
	t.Parallel()
	tree := fetch(t, gittest.Files{"apps/web.yaml": "a\n"})
	want, ok := tree.ID("apps")
	if !ok || len(want) != 40 {
		t.Fatalf("ID(apps) = %q, %v", want, ok)
	}
	for _, name := range []string{"./apps", "apps/", "/apps", "//apps/.", "./apps/./"} {
		if got, ok := tree.ID(name); !ok || got != want {
			t.Errorf("ID(%q) = %q, %v; want %q", name, got, ok, want)
		}
	}
	for name, clean := range map[string]string{"": ".", ".": ".", "/": ".", "./": ".", "a//b/": "a/b"} {
		if got, err := git.CleanPath(name); err != nil || got != clean {
			t.Errorf("CleanPath(%q) = %q, %v; want %q", name, got, err, clean)
		}
	}
	for _, name := range []string{"..", "../x", "apps/../apps", "a/..", "a\x00b", "\xff"} {
		if got, err := git.CleanPath(name); err == nil {
			t.Errorf("CleanPath(%q) = %q, want an error", name, got)
		}
		if _, ok := tree.ID(name); ok {
			t.Errorf("ID(%q) found something", name)
		}
	}
}

func TestSymlinksStayInTheTree(t *testing.T) {
	t.Parallel()
	files := gittest.Files{
		"a/file": "inside\n", "a/up": "-> ../b/file", "b/file": "b\n",
		"escape": "-> ../../etc/passwd", "absolute": "-> /etc/passwd", "deep/out": "-> ../../../x",
		"loop1": "-> loop2", "loop2": "-> loop1", "self": "-> self/x", "dangling": "-> nowhere",
		"dir": "-> a", "chain8": "-> c7", "chain9": "-> chain8", "root": "-> .", "back": `-> ..\x`,
	}
	for i := 7; i > 1; i-- {
		files[fmt.Sprintf("c%d", i)] = fmt.Sprintf("-> c%d", i-1)
	}
	files["c1"] = "-> a/file"
	tree := fetch(t, files)
	for name, want := range map[string]string{
		"a/up": "b\n", "dir/file": "inside\n", "dir/up": "b\n", "chain8": "inside\n", "root/root/a/file": "inside\n",
	} {
		if got := read(t, tree, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"escape":   "open escape: symlink leads out of the repository",
		"deep/out": "open deep/out: symlink leads out of the repository",
		"absolute": `open absolute: symlink has a target outside of the repository, "/etc/passwd"`,
		"back":     `open back: symlink has a target outside of the repository, "..\\x"`,
		"loop1":    "open loop1: symlink leads over more than 8 symlinks",
		"self":     "open self: symlink leads over more than 8 symlinks",
		"chain9":   "open chain9: symlink leads over more than 8 symlinks",
		"dangling": "open dangling: file does not exist",
		"a/file/x": "open a/file/x: file does not exist",
	} {
		if _, err := tree.FS().Open(name); err == nil || err.Error() != want {
			t.Errorf("Open(%s) = %v, want %s", name, err, want)
		}
		if _, ok := tree.ID(name); ok {
			t.Errorf("ID(%s) found something", name)
		}
	}
	if target, err := fs.ReadLink(tree.FS(), "escape"); err != nil || target != "../../etc/passwd" {
		t.Errorf("ReadLink = %q, %v", target, err)
	}
}

func TestListingsLeaveOutWhatASourceDoesNotNeed(t *testing.T) {
	t.Parallel()
	tree := fetch(t, gittest.Files{
		".github/workflows/ci.yaml": "ci\n", ".gitlab-ci.yml": "ci\n", "a.png": "p\n", "web.yaml": "w\n", "x.tar.gz": "z\n",
		"sub/.sourceignore": "# comment\n*.md\n/private/\n!logo.png\n\n", "sub/doc.md": "d\n", "sub/private/p.yaml": "p\n",
		"sub/logo.png": "l\n", "sub/deep/private/q.yaml": "q\n", "sub/deep/doc.md": "d\n", ".github-like/x.yaml": "x\n",
	})
	for dir, want := range map[string]string{
		".": ".github-like sub web.yaml", "sub": ".sourceignore deep logo.png", "sub/deep": "private", "sub/deep/private": "q.yaml",
		".github/workflows": "ci.yaml", // asked for by name
	} {
		entries, err := fs.ReadDir(tree.FS(), dir)
		if err != nil {
			t.Error(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if diff := cmp.Diff(want, strings.Join(names, " ")); diff != "" {
			t.Errorf("%s: %s", dir, diff)
		}
	}
	if got := read(t, tree, "a.png"); got != "p\n" {
		t.Errorf("a hidden file asked for by name = %q", got)
	}
	_, err := fs.ReadDir(tree.FS(), "sub/private")
	if want := "readdir sub/private: sub/private is excluded by .sourceignore: permission denied"; err == nil || err.Error() != want {
		t.Errorf("listing an excluded directory: %v, want %s", err, want)
	}
}

func TestSubmoduleIsAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	commit := repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	plant(t, repo, treeEntry("160000", "module", commit), treeEntry("100644", ".gitmodules", repo.Git(t, nil, "rev-parse", "main:a")))
	tree, err := newMirrors(t, srv.Host()).Fetch(t.Context(), git.Source{URL: repo.URL}, git.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := fs.ReadDir(tree.FS(), "module"); err != nil || len(entries) != 0 {
		t.Errorf("submodule lists %v, %v; want nothing", entries, err)
	}
	if info, err := fs.Stat(tree.FS(), "module"); err != nil || !info.IsDir() {
		t.Errorf("submodule is %v, %v; want a directory", info, err)
	}
}

// treeEntry is one entry of a raw tree object.
func treeEntry(mode, name, id string) string {
	raw, err := hex.DecodeString(id)
	if err != nil {
		panic(err)
	}
	return mode + " " + name + "\x00" + string(raw)
}

// plant makes main a commit of a tree with these raw entries, which git itself would
// refuse to make.
func plant(tb testing.TB, repo *gittest.Repo, entries ...string) {
	tb.Helper()
	tree := repo.Git(tb, []byte(strings.Join(entries, "")), "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
	commit := repo.Git(tb, []byte("tree "+tree+"\nauthor t <t@t> 1 +0000\ncommitter t <t@t> 1 +0000\n\nx\n"),
		"hash-object", "-t", "commit", "-w", "--stdin", "--literally")
	repo.Git(tb, nil, "update-ref", "refs/heads/main", commit)
}

func TestHostileEntriesAreRefused(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	long := strings.Repeat("x", 4097)
	const (
		reserved = "has a name that is reserved for Git's own files"
		control  = "has a name with a slash, backslash or control character"
		noName   = "has a name that is empty or dots only"
	)
	for i, test := range []struct{ mode, name, want string }{
		{"100644", ".git", reserved},
		{"100644", ".GIT", reserved},
		{"40000", ".Git", reserved},
		{"100644", ".git ", reserved},
		{"100644", ".git...", reserved},
		{"100644", "git~1", reserved},
		{"100644", "GIT~2", reserved},
		{"100644", ".g\u200cit", reserved},
		{"100644", "\ufeff.git", reserved},
		{"100644", ".git::$INDEX_ALLOCATION", reserved},
		{"100644", "..", noName},
		{"100644", ".", noName},
		{"100644", "a/b", control},
		{"100644", `a\b`, control},
		{"100644", "a\rb", control},
		{"100644", "a\x7fb", control},
		{"100644", "a\x1b[31m", control},
		{"100600", "x", `has mode "100600", which Git does not know`},
		{"100644", long, "has a path of more than 4096 bytes"},
	} {
		repo := srv.NewRepo(t, fmt.Sprintf("r%d.git", i))
		repo.Commit(t, "main", gittest.Files{"a": "1\n", "d/x": "1\n"})
		id := repo.Git(t, nil, "rev-parse", "main:a")
		if test.mode == "40000" {
			id = repo.Git(t, nil, "rev-parse", "main:d")
		}
		plant(t, repo, treeEntry(test.mode, test.name, id))
		_, err := newMirrors(t, srv.Host()).Fetch(t.Context(), git.Source{URL: repo.URL}, git.Ref{})
		shown := test.name
		if test.name == long {
			shown = long[:256] + "…"
		}
		want := fmt.Sprintf("fetching %s: entry %q %s", repo.URL, shown, test.want)
		if !errors.Is(err, git.ErrRefused) || err.Error() != want {
			t.Errorf("entry %q: %v, want %s", test.name, err, want)
		}
	}
	repo := srv.NewRepo(t, "twice.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n", "d/x": "1\n"})
	plant(t, repo, treeEntry("100644", "x", repo.Git(t, nil, "rev-parse", "main:a")), treeEntry("40000", "x", repo.Git(t, nil, "rev-parse", "main:d")))
	_, err := newMirrors(t, srv.Host()).Fetch(t.Context(), git.Source{URL: repo.URL}, git.Ref{})
	if want := fmt.Sprintf("fetching %s: entry %q is there twice", repo.URL, "x"); err == nil || err.Error() != want {
		t.Errorf("two entries of one name: %v, want %s", err, want)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	noise := make([]byte, 200<<10)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	repo.Commit(t, "main", gittest.Files{"big": string(noise), "a/b/c": "1\n", "a/d": "2\n"})
	for _, test := range []struct {
		name   string
		limits git.Limits
		want   string
	}{
		{"pack", git.Limits{PackBytes: 100 << 10}, "the pack is larger than 100 KiB"},
		{"unfolded", git.Limits{ObjectBytes: 100 << 10}, "the pack holds more than 102400 bytes"},
		{"entries", git.Limits{Entries: 4}, "more than 4 files and directories"},
		{"refs", git.Limits{Refs: 1}, "the list of refs is larger than 320 bytes"},
	} {
		test.limits.RequestsPerSecond = 1000
		m := git.NewMirrors(git.Config{InsecureHosts: []string{srv.Host()}, AllowedHosts: []string{srv.Host()}, Limits: test.limits})
		_, err := m.Fetch(t.Context(), git.Source{URL: repo.URL}, git.Ref{})
		want := fmt.Sprintf("fetching %s: %s", repo.URL, test.want)
		if !errors.Is(err, git.ErrRefused) || err.Error() != want {
			t.Errorf("%s: %v, want %s", test.name, err, want)
		}
	}
	m := git.NewMirrors(git.Config{InsecureHosts: []string{srv.Host()}, AllowedHosts: []string{srv.Host()}, Limits: git.Limits{FileBytes: 1000}})
	tree, err := m.Fetch(t.Context(), git.Source{URL: repo.URL}, git.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = fs.ReadFile(tree.FS(), "big")
	if want := "read big: the file has 204800 bytes, more than the 1000 allowed"; err == nil || err.Error() != want {
		t.Errorf("large file: %v, want %s", err, want)
	}
}

// Large files live in a file without a name and come back whole.
func TestLargeFilesLeaveMemory(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 1<<14)
	tree, m := fetchFrom(t, gittest.Files{"big": big, "copy/big": big + "x", "small": "s\n"})
	for name, want := range map[string]string{"big": big, "copy/big": big + "x", "small": "s\n"} {
		f, err := tree.FS().Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
	if memory := git.MirrorMemory(m); memory > 10_000 {
		t.Errorf("the store takes %d bytes of memory, want the large files elsewhere", memory)
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{".", "./apps", "apps/", "/apps", "../x", "a/../b", "a//b", "link/x", "loop", "\x00", "apps/web.yaml/x"} {
		f.Add(s)
	}
	tree := fetch(f, gittest.Files{"apps/web.yaml": "a\n", "link": "-> apps", "loop": "-> loop", "out": "-> ../.."})
	f.Fuzz(func(t *testing.T, name string) {
		clean, err := git.CleanPath(name)
		if err == nil {
			if !fs.ValidPath(clean) {
				t.Fatalf("CleanPath(%q) = %q, which is not valid", name, clean)
			}
			if again, err := git.CleanPath(clean); err != nil || again != clean {
				t.Fatalf("CleanPath(%q) = %q, then %q, %v", name, clean, again, err)
			}
		}
		_, found := tree.ID(name)
		if found && err != nil {
			t.Fatalf("ID(%q) found something, CleanPath refuses it: %v", name, err)
		}
		if _, err := tree.FS().Open(name); err == nil && !fs.ValidPath(name) {
			t.Fatalf("Open(%q) accepts a path that is not valid", name)
		}
	})
}
