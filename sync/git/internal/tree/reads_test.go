package tree

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
)

// build makes a tree of files: path to content, "-> target" for a symlink, "+x " before
// the content of an executable.
func build(tb testing.TB, store *objects.Store, files map[string]string) *Tree {
	tb.Helper()
	add := func(kind plumbing.ObjectType, data string) objects.ID {
		id, err := store.Add(kind, []byte(data))
		if err != nil {
			tb.Fatal(err)
		}
		return id
	}
	var tree func(dir string) objects.ID
	tree = func(dir string) objects.ID {
		entries := map[string]string{}
		for _, p := range slices.Sorted(maps.Keys(files)) {
			rest, ok := strings.CutPrefix(p, dir)
			if !ok {
				continue
			}
			name, _, below := strings.Cut(rest, "/")
			mode, content := "100644", files[p]
			if below {
				entries[name] = "40000"
				continue
			}
			if target, ok := strings.CutPrefix(content, "-> "); ok {
				mode, content = "120000", target
			} else if text, ok := strings.CutPrefix(content, "+x "); ok {
				mode, content = "100755", text
			}
			id := add(plumbing.BlobObject, content)
			entries[name] = mode + " " + name + "\x00" + string(id[:])
		}
		var data strings.Builder
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			if e := entries[name]; e != "40000" {
				data.WriteString(e)
				continue
			}
			id := tree(dir + name + "/")
			data.WriteString("40000 " + name + "\x00" + string(id[:]))
		}
		return add(plumbing.TreeObject, data.String())
	}
	root := tree("")
	commit := add(plumbing.CommitObject, "tree "+root.String()+"\n\n")
	if _, err := store.Check(commit, 1000); err != nil {
		tb.Fatal(err)
	}
	return New(store, root, Commit(commit.String()), "refs/heads/main", 1<<20)
}

var base = map[string]string{
	"README.md": "r\n", "apps/a/web.yaml": "a\n", "apps/a/notes.md": "n\n", "apps/b/web.yaml": "b\n", "apps/link.yaml": "-> a/web.yaml",
	"shared": "-> apps/b", "run.sh": "+x #!\n",
}

func edited(edit map[string]string) map[string]string {
	files := maps.Clone(base)
	for p, content := range edit {
		if content == "" {
			delete(files, p)
		} else {
			files[p] = content
		}
	}
	return files
}

func TestUnchangedIsExact(t *testing.T) {
	t.Parallel()
	list := func(dir string) func(fs.FS) {
		return func(f fs.FS) { _, _ = fs.ReadDir(f, dir) }
	}
	file := func(name string) func(fs.FS) {
		return func(f fs.FS) { _, _ = fs.ReadFile(f, name) }
	}
	for _, test := range []struct {
		name string
		read func(fs.FS)
		edit map[string]string
		want bool
	}{
		{"nothing read", func(fs.FS) {}, map[string]string{"README.md": "new\n"}, true},
		{"file read, same", file("apps/a/web.yaml"), map[string]string{"README.md": "new\n"}, true},
		{"file read, changed", file("apps/a/web.yaml"), map[string]string{"apps/a/web.yaml": "new\n"}, false},
		{"file read, gone", file("apps/a/web.yaml"), map[string]string{"apps/a/web.yaml": ""}, false},
		{"file read, becomes executable", file("README.md"), map[string]string{"README.md": "+x r\n"}, false},
		{"listed, another file's content changes", list("apps/a"), map[string]string{"apps/a/notes.md": "new\n"}, true},
		{"listed, a file comes", list("apps/a"), map[string]string{"apps/a/new.yaml": "x\n"}, false},
		{"listed, a file goes", list("apps/a"), map[string]string{"apps/a/notes.md": ""}, false},
		{"listed, a hidden picture comes", list("apps/a"), map[string]string{"apps/a/logo.png": "x\n"}, true},
		{"listed, a file becomes a symlink", list("apps/a"), map[string]string{"apps/a/notes.md": "-> web.yaml"}, false},
		{"listed, a sub-directory changes below", list("apps"), map[string]string{"apps/a/deep/x.yaml": "x\n"}, true},
		{"listed, .sourceignore above hides a file", list("apps/a"), map[string]string{".sourceignore": "notes.md\n"}, false},
		{"listed, .sourceignore above hides nothing here", list("apps/a"), map[string]string{".sourceignore": "*.txt\n"}, true},
		{"absent, still", file("kustomization.yaml"), map[string]string{"README.md": "new\n"}, true},
		{"absent, comes", file("kustomization.yaml"), map[string]string{"kustomization.yaml": "x\n"}, false},
		{"absent below a file, becomes a directory", file("README.md/x"), map[string]string{"README.md": "", "README.md/x": "x\n"}, false},
		{"through a link, target changes", file("apps/link.yaml"), map[string]string{"apps/a/web.yaml": "new\n"}, false},
		{"through a link, link becomes the same file", file("apps/link.yaml"), map[string]string{"apps/link.yaml": "a\n"}, true},
		{"through a linked directory, link moves to the same content", file("shared/web.yaml"), map[string]string{"shared": "-> apps/a", "apps/a/web.yaml": "b\n"}, true},
		{"link read itself, moves", func(f fs.FS) { _, _ = fs.ReadLink(f, "shared") }, map[string]string{"shared": "-> apps/a"}, false},
		{"directory seen, its content changes", func(f fs.FS) { _, _ = fs.Stat(f, "apps") }, map[string]string{"apps/new": "x\n"}, true},
		{"directory seen, becomes a file", func(f fs.FS) { _, _ = fs.Stat(f, "shared") }, map[string]string{"shared": "x\n"}, false},
		{"an error is never the same", file("loop"), map[string]string{}, false},
	} {
		store := objects.New("")
		files := maps.Clone(base)
		files["loop"] = "-> loop"
		before := build(t, store, files)
		after := edited(test.edit)
		after["loop"] = "-> loop"
		reads := Trace(before)
		test.read(reads.FS())
		set := reads.Set()
		if got := set.Unchanged(build(t, store, after)); got != test.want {
			t.Errorf("%s: Unchanged = %v, want %v (%s)", test.name, got, test.want, encode(t, set))
		}
	}
	if (ReadSet{}).Unchanged(build(t, objects.New(""), base)) {
		t.Error("a ReadSet of nothing is unchanged")
	}
}

func encode(tb testing.TB, s ReadSet) string {
	tb.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

func TestReadSetIsStored(t *testing.T) {
	t.Parallel()
	tree := build(t, objects.New(""), base)
	reads := Trace(tree)
	for _, name := range []string{"run.sh", "none", "apps/link.yaml"} {
		_, _ = fs.ReadFile(reads.FS(), name)
	}
	_, _ = fs.ReadDir(reads.FS(), "apps")
	set := reads.Set()
	want := `{"root":"` + tree.root.String() + `","reads":["fd apps","ll0a2ae8cc1ebb3cd5a4e71dde3c3e4c1e0ee10d31 apps",` +
		`"ff78981922613b2afb6025042ff6bd878ac1994e85 apps/link.yaml","f- none","fx0f13dd5bd5d3df6c61dba5d1da46c6dd2f8d6ee3 run.sh"]}`
	got := encode(t, set)
	listing := listingOf(must(tree.list("apps"))(t), nil).id.String()
	want = strings.Replace(want, "0a2ae8cc1ebb3cd5a4e71dde3c3e4c1e0ee10d31", listing, 1)
	want = strings.Replace(want, "0f13dd5bd5d3df6c61dba5d1da46c6dd2f8d6ee3", plumbing.ComputeHash(plumbing.BlobObject, []byte("#!\n")).String(), 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var back ReadSet
	if err := json.Unmarshal([]byte(got), &back); err != nil {
		t.Fatal(err)
	}
	if !back.Unchanged(tree) || encode(t, back) != got {
		t.Errorf("stored and read back: %s", encode(t, back))
	}
	if diff := cmp.Diff([]string{"apps", "apps/link.yaml", "none", "run.sh"}, back.Paths()); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{`{"root":"zz"}`, `{"root":"` + hex.EncodeToString(make([]byte, 20)) + `","reads":["q- x"]}`, `{"reads":1}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// Whatever is edited: when the reads are unchanged, the reader sees the same bytes. The
// reader decides what to read next by what it saw.
func TestUnchangedMeansSameBytes(t *testing.T) {
	t.Parallel()
	same, different := 0, 0
	for seed := range uint64(4000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		store := objects.New("")
		files := randomFiles(rng)
		before := build(t, store, files)
		reads := Trace(before)
		saw := wander(reads.FS(), seed)
		for range 1 + rng.IntN(3) {
			edit(rng, files)
		}
		after := build(t, store, files)
		var set ReadSet
		if err := json.Unmarshal([]byte(encode(t, reads.Set())), &set); err != nil {
			t.Fatal(err)
		}
		if !set.Unchanged(after) {
			different++
			continue
		}
		same++
		if diff := cmp.Diff(saw, wander(after.FS(), seed)); diff != "" {
			t.Fatalf("seed %d: unchanged, but the reader saw (-before +after):\n%s", seed, diff)
		}
	}
	if same < 400 || different < 400 {
		t.Errorf("%d unchanged, %d changed: the edits prove little", same, different)
	}
}

var (
	someDirs  = []string{"", "a/", "b/", "a/c/", "a/b/"}
	someNames = []string{"x.yaml", "y.yaml", "b", "c", "z.png", ".sourceignore", "link"}
)

func randomFiles(rng *rand.Rand) map[string]string {
	files := map[string]string{"keep": "k\n"}
	for range 4 + rng.IntN(10) {
		edit(rng, files)
	}
	return files
}

// edit changes one path, and keeps the rest a possible tree: nothing is below a file.
func edit(rng *rand.Rand, files map[string]string) {
	p := someDirs[rng.IntN(len(someDirs))] + someNames[rng.IntN(len(someNames))]
	if rng.IntN(4) == 0 {
		delete(files, p)
		return
	}
	for other := range files {
		if strings.HasPrefix(other, p+"/") || strings.HasPrefix(p, other+"/") {
			delete(files, other)
		}
	}
	content := fmt.Sprintf("%d\n", rng.IntN(3))
	switch {
	case path.Base(p) == ".sourceignore":
		content = []string{"*.yaml\n", "/b/\n", "!z.png\n", "c\n"}[rng.IntN(4)]
	case rng.IntN(6) == 0:
		content = "-> " + []string{"x.yaml", "../x.yaml", "a", "../b", "link", "../../.."}[rng.IntN(6)]
	case rng.IntN(8) == 0:
		content = "+x " + content
	}
	files[p] = content
}

// wander reads around and returns all it learned.
func wander(f fs.FS, seed uint64) []string {
	var log []string
	known := []string{".", "a", "b", "x.yaml", "a/c/y.yaml", "a/link/x.yaml"}
	for range 6 {
		h := fnv.New64a()
		for _, line := range log {
			_, _ = io.WriteString(h, line)
		}
		rng := rand.New(rand.NewPCG(seed, h.Sum64()))
		p := known[rng.IntN(len(known))]
		switch rng.IntN(6) {
		case 0:
			info, err := fs.Stat(f, p)
			log = append(log, "stat "+describe(info, err))
		case 1:
			info, err := fs.Lstat(f, p)
			log = append(log, "lstat "+describe(info, err))
		case 2:
			target, err := fs.ReadLink(f, p)
			log = append(log, fmt.Sprint("readlink ", target, err))
		case 3:
			data, err := fs.ReadFile(f, p)
			log = append(log, fmt.Sprint("read ", string(data), err))
		default:
			entries, err := fs.ReadDir(f, p)
			log = append(log, fmt.Sprint("list ", err))
			for _, e := range entries {
				log = append(log, fs.FormatDirEntry(e))
				known = append(known, path.Join(p, e.Name()))
				if rng.IntN(8) == 0 {
					log = append(log, describe(e.Info()))
				}
			}
		}
	}
	return log
}

func describe(info fs.FileInfo, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.Name(), info.Mode(), info.Size())
}

func FuzzReadSet(f *testing.F) {
	f.Add([]byte(`{"root":"78981922613b2afb6025042ff6bd878ac1994e85","reads":["fd apps","f- none","l!  x"]}`))
	tree := build(f, objects.New(""), base)
	f.Fuzz(func(t *testing.T, data []byte) {
		var s ReadSet
		if json.Unmarshal(data, &s) != nil {
			return
		}
		s.Unchanged(tree)
		var again ReadSet
		if err := json.Unmarshal([]byte(encode(t, s)), &again); err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
	})
}
