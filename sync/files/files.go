// Package files is a tree of files in memory, from sources that are not Git: archives and
// listings of objects. In go names as strangers wrote them, out comes a read-only file
// system ([fs.FS]).
//
// It promises that every name was checked and that the whole stays within [Limits]. It
// refuses links, absolute names, names that lead elsewhere and names of Git's own, and
// writes nothing to disk.
package files

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a tree. Zero numbers mean the defaults.
type Limits struct {
	Bytes   int64 // of all files; default 64 MiB
	Entries int   // files and directories; default 10 000
	Ratio   int64 // of an archive's content to its packed size; default 100
}

func (l Limits) withDefaults() Limits {
	l.Bytes = cmp.Or(l.Bytes, 64<<20)
	l.Entries = cmp.Or(l.Entries, 10_000)
	l.Ratio = cmp.Or(l.Ratio, 100)
	return l
}

// Error names the entry that a tree cannot have.
type Error struct{ Entry, Reason string }

func (e *Error) Error() string {
	if e.Entry == "" {
		return e.Reason
	}
	return fmt.Sprintf("entry %.200q %s", e.Entry, e.Reason)
}

// Tree is files in memory. It is filled by one goroutine; once it is handed out as a file
// system it is safe for concurrent use.
type Tree struct {
	limits Limits
	files  map[string][]byte
	dirs   map[string][]fs.DirEntry // by name; "." is the root
	size   int64
}

var (
	_ fs.ReadFileFS = (*Tree)(nil)
	_ fs.ReadDirFS  = (*Tree)(nil)
	_ fs.StatFS     = (*Tree)(nil)
)

// New returns an empty tree.
func New(limits Limits) *Tree {
	return &Tree{limits: limits.withDefaults(), files: map[string][]byte{}, dirs: map[string][]fs.DirEntry{".": nil}}
}

// Size is the number of bytes in all files.
func (t *Tree) Size() int64 { return t.size }

const maxName = 4096

// clean checks a name as an archive has it and brings it into the form of io/fs.
func clean(name string) (string, error) {
	wrong := func(reason string) (string, error) { return "", &Error{name, reason} }
	switch {
	case len(name) > maxName:
		return wrong(fmt.Sprintf("has a name of more than %d bytes", maxName))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return wrong("has a control character in its name, or is not UTF-8")
	case strings.HasPrefix(name, "/") || strings.Contains(name, `\`):
		return wrong("has a name that is absolute or has a backslash")
	case slices.Contains(strings.Split(name, "/"), ".."):
		return wrong("leads out of the tree")
	}
	at := path.Clean(name)
	for part := range strings.SplitSeq(at, "/") {
		if isGit(part) {
			return wrong("is of Git's own")
		}
	}
	return at, nil
}

// isGit finds .git in the spellings that file systems take for it: any case, trailing dots
// and spaces, the short name.
func isGit(part string) bool {
	part = strings.ToLower(strings.TrimRight(part, ". "))
	return part == ".git" || part == "git~1"
}

// Add puts a file into the tree, and the directories above it.
func (t *Tree) Add(name string, data []byte) error {
	at, err := clean(name)
	if err != nil {
		return err
	}
	if _, dir := t.dirs[at]; dir || t.files[at] != nil {
		return &Error{name, "stands twice"}
	}
	if err := t.mkdir(path.Dir(at)); err != nil {
		return err
	}
	if t.size += int64(len(data)); t.size > t.limits.Bytes {
		return t.tooLarge()
	}
	t.files[at] = append([]byte{}, data...) // never nil
	return t.enter(at)
}

func (t *Tree) tooLarge() error {
	return &Error{"", fmt.Sprintf("the files have more than %d MiB together", t.limits.Bytes>>20)}
}

// Mkdir makes a directory and those above it, unless they are there.
func (t *Tree) Mkdir(name string) error {
	at, err := clean(name)
	if err != nil {
		return err
	}
	return t.mkdir(at)
}

func (t *Tree) mkdir(at string) error {
	if _, ok := t.dirs[at]; ok {
		return nil
	}
	if t.files[at] != nil {
		return &Error{at, "is a file and a directory"}
	}
	if err := t.mkdir(path.Dir(at)); err != nil {
		return err
	}
	t.dirs[at] = nil
	return t.enter(at)
}

// enter notes at in the directory above it, in order.
func (t *Tree) enter(at string) error {
	if len(t.files)+len(t.dirs)-1 > t.limits.Entries {
		return &Error{"", fmt.Sprintf("more than %d files and directories", t.limits.Entries)}
	}
	entry := fs.FileInfoToDirEntry(t.info(at))
	above := t.dirs[path.Dir(at)]
	i, _ := slices.BinarySearchFunc(above, entry.Name(), func(e fs.DirEntry, name string) int { return cmp.Compare(e.Name(), name) })
	t.dirs[path.Dir(at)] = slices.Insert(above, i, entry)
	return nil
}

func (t *Tree) info(at string) info {
	data, file := t.files[at]
	return info{name: path.Base(at), size: int64(len(data)), dir: !file}
}

// Open implements [fs.FS].
func (t *Tree) Open(name string) (fs.File, error) {
	at, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if i := t.info(at); !i.dir {
		return &file{Reader: *bytes.NewReader(t.files[at]), info: i}, nil
	}
	return &dir{info: t.info(at), left: t.dirs[at]}, nil
}

func (t *Tree) find(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	_, isDir := t.dirs[name]
	if _, isFile := t.files[name]; !isDir && !isFile {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return name, nil
}

// ReadFile implements [fs.ReadFileFS].
func (t *Tree) ReadFile(name string) ([]byte, error) {
	at, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	data, ok := t.files[at]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errIsDir}
	}
	return bytes.Clone(data), nil
}

var errIsDir = errors.New("is a directory")

// ReadDir implements [fs.ReadDirFS].
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	entries, ok := t.dirs[at]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return slices.Clone(entries), nil
}

// Stat implements [fs.StatFS].
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	at, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return t.info(at), nil
}

// info is a file or directory; neither has a time, so that equal trees are equal.
type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

type file struct {
	bytes.Reader

	info info
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

type dir struct {
	info info
	left []fs.DirEntry
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dir) Close() error               { return nil }
func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errIsDir}
}

// ReadDir implements [fs.ReadDirFile].
func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.left) {
		if n > 0 && len(d.left) == 0 {
			return nil, io.EOF
		}
		n = len(d.left)
	}
	var out []fs.DirEntry
	out, d.left = d.left[:n], d.left[n:]
	return slices.Clone(out), nil
}
