package files_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tradewind-dev/tradewind/sync/files"
)

func TestTreeIsAFileSystem(t *testing.T) {
	t.Parallel()
	tree := files.New(files.Limits{})
	for name, text := range map[string]string{"a.yaml": "a", "./b/c.yaml": "c", "b/d/e.yaml": "", "empty/..x": "dots"} {
		if err := tree.Add(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Mkdir("f/g/"); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "a.yaml", "b/c.yaml", "b/d/e.yaml", "empty/..x", "f/g"); err != nil {
		t.Error(err)
	}
	if tree.Size() != 6 {
		t.Errorf("Size() = %d, want 6", tree.Size())
	}
	if _, err := fs.ReadFile(tree, "b/../a.yaml"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a path that is not clean: %v, want ErrInvalid", err)
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"/etc/passwd", "../x", "a/../../x", "a/..", `a\b`, "a\x00b", "a\nb", "\xff", ".git/config", "a/.GIT", "a/.git. /b", "git~1/x",
		strings.Repeat("x/", 2049) + "x", ".", "",
	} {
		tree := files.New(files.Limits{})
		if err := tree.Add(name, []byte("x")); err == nil {
			t.Errorf("a file called %.40q was taken", name)
		} else if _, ok := errors.AsType[*files.Error](err); !ok {
			t.Errorf("%.40q: error %v has the type %T", name, err, err)
		}
	}
	tree := files.New(files.Limits{})
	for i, name := range []string{"a", "a/b", "a"} {
		if err := tree.Add(name, nil); (err == nil) != (i == 0) {
			t.Errorf("entry %d, %s: %v", i, name, err)
		}
	}
}

// entry is one header and content of an archive.
type entry struct {
	tar.Header

	text string
}

func archive(t *testing.T, packed bool, entries ...entry) []byte {
	t.Helper()
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, e := range entries {
		e.Size, e.Mode = int64(len(e.text)), 0o644
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !packed {
		return plain.Bytes()
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func reg(name, text string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name}, text}
}

func TestReadTar(t *testing.T) {
	t.Parallel()
	for _, packed := range []bool{false, true} {
		data := archive(t, packed, entry{tar.Header{Typeflag: tar.TypeDir, Name: "./"}, ""}, reg("./a.yaml", "a: 1"), reg("sub/b.yaml", "b: 2"))
		r := bytes.NewReader(append(data, 0, 0, 0)) // padding that some tools add
		tree, err := files.ReadTar(r, int64(len(data)), files.Limits{})
		if packed { // after gzip that is damage
			if err == nil {
				t.Error("damage after a packed archive was taken")
			}
			r = bytes.NewReader(data)
			tree, err = files.ReadTar(r, int64(len(data)), files.Limits{})
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := fs.ReadFile(tree, "sub/b.yaml")
		if string(text) != "b: 2" || err != nil || r.Len() != 0 {
			t.Errorf("sub/b.yaml = %q, %v, %d bytes unread", text, err, r.Len())
		}
	}
}

func TestArchivesThatAreRefused(t *testing.T) {
	t.Parallel()
	link := func(kind byte, target string) entry {
		return entry{tar.Header{Typeflag: kind, Name: "x", Linkname: target}, ""}
	}
	var many []entry
	for i := range 20 {
		many = append(many, reg(fmt.Sprint("f", i), ""))
	}
	whole := archive(t, true, reg("a", strings.Repeat("abc", 1000)))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"symlink":  {archive(t, true, link(tar.TypeSymlink, "/etc/passwd")), "is a link"},
		"hardlink": {archive(t, false, link(tar.TypeLink, "a")), "is a link"},
		"device":   {archive(t, true, link(tar.TypeChar, "")), "neither a file nor a directory"},
		"escape":   {archive(t, true, reg("a/../../b", "")), "leads out of the tree"},
		"absolute": {archive(t, true, reg("/a", "")), "absolute"},
		"twice":    {archive(t, true, reg("a", "1"), reg("./a", "2")), "stands twice"},
		"many":     {archive(t, true, many...), "more than 10 files"},
		"large":    {archive(t, false, reg("a", strings.Repeat("x", 3<<20))), "more than 2 MiB together"},
		"bomb":     {archive(t, true, reg("a", strings.Repeat("\x00", 1<<20))), "100 times its size"},
		"text":     {[]byte("apiVersion: v1\n" + strings.Repeat("#", 600)), "not a tar file"},
		"cut off":  {whole[:len(whole)-20], "unexpected EOF"},
	} {
		_, err := files.ReadTar(bytes.NewReader(c.data), int64(len(c.data)), files.Limits{Bytes: 2 << 20, Entries: 10, Ratio: 100})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}
