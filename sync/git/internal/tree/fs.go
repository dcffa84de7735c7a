package tree

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
)

// FS is the tree as a file system. Listings leave out what a GitOps source leaves out
// (see ignore.go); a file that is asked for by name is there whatever listings show.
// Symlinks are followed inside the tree only. Times are zero: Git has none.
func (t *Tree) FS() fs.FS { return treeFS{t, blind{}} }

// observer is told what is read. See [Trace].
type observer interface {
	// saw is told which entry, or error, name led to; follow tells whether a symlink at
	// its end was followed.
	saw(name string, follow bool, e objects.Entry, err error)
	// listed is told what a directory showed.
	listed(name string, entries []objects.Entry, err error)
}

type blind struct{}

func (blind) saw(string, bool, objects.Entry, error) {}
func (blind) listed(string, []objects.Entry, error)  {}

// treeFS implements the interfaces of io/fs over a Tree.
type treeFS struct {
	tree *Tree
	see  observer
}

var (
	_ fs.ReadDirFS  = treeFS{}
	_ fs.ReadFileFS = treeFS{}
	_ fs.StatFS     = treeFS{}
	_ fs.ReadLinkFS = treeFS{}
)

// find resolves name and reports what came of it.
func (f treeFS) find(op, name string, follow bool) (objects.Entry, error) {
	if !fs.ValidPath(name) {
		return objects.Entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	e, err := f.tree.find(name, follow)
	f.see.saw(name, follow, e, err)
	if err != nil {
		return e, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return e, nil
}

func (f treeFS) Open(name string) (fs.File, error) {
	e, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info := f.info(path.Base(name), e)
	if info.IsDir() {
		return &dir{fileInfo: info, fs: f, path: name}, nil
	}
	data, err := f.tree.content(e)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &file{info, bytes.NewReader(data)}, nil
}

func (f treeFS) ReadFile(name string) ([]byte, error) {
	e, err := f.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if isDir(e) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errIsDir}
	}
	data, err := f.tree.content(e)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

func (f treeFS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

func (f treeFS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f treeFS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	e, err := f.find(op, name, follow)
	if err != nil {
		return nil, err
	}
	return f.info(path.Base(name), e), nil
}

func (f treeFS) ReadLink(name string) (string, error) {
	e, err := f.find("readlink", name, false)
	if err == nil && e.Kind != objects.Link {
		err = &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		return "", err
	}
	data, err := f.tree.content(e)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(data), nil
}

func (f treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !isDir(e) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	entries, err := f.tree.list(name)
	f.see.listed(name, entries, err)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	out := make([]fs.DirEntry, len(entries))
	for i, e := range entries {
		out[i] = dirEntry{f, path.Join(name, e.Name), e}
	}
	return out, nil
}

func (f treeFS) info(name string, e objects.Entry) fileInfo {
	info := fileInfo{name: name, mode: modeOf(e.Kind)}
	if !info.IsDir() {
		info.size, _ = f.tree.store.Size(e.ID)
	}
	return info
}

func isDir(e objects.Entry) bool { return e.Kind == objects.Dir || e.Kind == objects.Submodule }

func modeOf(k objects.Kind) fs.FileMode {
	switch k {
	case objects.Dir, objects.Submodule:
		return fs.ModeDir | 0o555
	case objects.Link:
		return fs.ModeSymlink | 0o777
	case objects.Exec:
		return 0o555
	}
	return 0o444
}

type fsError string

func (e fsError) Error() string { return string(e) }

const (
	errIsDir  fsError = "is a directory"
	errNotDir fsError = "is not a directory"
)

// fileInfo is a fs.FileInfo.
type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i fileInfo) Name() string               { return i.name }
func (i fileInfo) Size() int64                { return i.size }
func (i fileInfo) Mode() fs.FileMode          { return i.mode }
func (i fileInfo) ModTime() time.Time         { return time.Time{} }
func (i fileInfo) IsDir() bool                { return i.mode.IsDir() }
func (i fileInfo) Sys() any                   { return nil }
func (i fileInfo) Stat() (fs.FileInfo, error) { return i, nil }
func (i fileInfo) Close() error               { return nil }

// file is an open file.
type file struct {
	fileInfo
	*bytes.Reader
}

// Size is bytes.Reader's too.
func (f *file) Size() int64 { return f.size }

// dir is an open directory; it is listed when it is first read.
type dir struct {
	fileInfo
	fs   treeFS
	path string
	rest []fs.DirEntry
	read bool
}

func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: errIsDir}
}

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		all, err := d.fs.ReadDir(d.path)
		if err != nil {
			return nil, err
		}
		d.rest, d.read = all, true
	}
	if n <= 0 {
		out := d.rest
		d.rest = nil
		return out, nil
	}
	if len(d.rest) == 0 {
		return nil, io.EOF
	}
	out := d.rest[:min(n, len(d.rest))]
	d.rest = d.rest[len(out):]
	return out, nil
}

// dirEntry is a fs.DirEntry; its Info is a read of its own.
type dirEntry struct {
	fs    treeFS
	path  string
	entry objects.Entry
}

func (d dirEntry) Name() string               { return d.entry.Name }
func (d dirEntry) IsDir() bool                { return isDir(d.entry) }
func (d dirEntry) Type() fs.FileMode          { return modeOf(d.entry.Kind).Type() }
func (d dirEntry) Info() (fs.FileInfo, error) { return d.fs.Lstat(d.path) }
func (d dirEntry) String() string             { return fs.FormatDirEntry(d) }
