// Package tree shows the files of one commit as a read-only file system, straight from
// the object store, and records what is read of it. In go a checked commit and a path,
// out come bytes, listings, and the read-set of whoever asked.
//
// It promises that symlinks lead nowhere but into the same tree, and that a read-set is
// unchanged only where the reader would see the same bytes. It refuses what is outside
// of the tree, over the size limit, or reached over too many symlinks.
package tree

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
)

// Tree is the files of one commit, read-only. It stays valid whatever happens to the
// mirror it came from. It is safe for concurrent use.
type Tree struct {
	store     *objects.Store
	root      objects.ID
	commit    Commit
	ref       string
	fileLimit int64
}

// Commit is a full commit id, 40 lower-case hex digits.
type Commit string

// New returns the tree of a commit that the store has checked, found at ref. Files larger
// than fileLimit are not read.
func New(store *objects.Store, root objects.ID, commit Commit, ref string, fileLimit int64) *Tree {
	return &Tree{store: store, root: root, commit: commit, ref: ref, fileLimit: fileLimit}
}

// Commit is the commit the files are of.
func (t *Tree) Commit() Commit { return t.commit }

// Ref is the full name of the ref the commit was found at; empty when a commit was asked
// for by id.
func (t *Tree) Ref() string { return t.ref }

// ID returns the object id of the file or directory at name, symlinks followed.
func (t *Tree) ID(name string) (string, bool) {
	clean, err := CleanPath(name)
	if err != nil {
		return "", false
	}
	e, err := t.find(clean, true)
	if err != nil {
		return "", false
	}
	return e.ID.String(), true
}

// Objects is where the tree's objects are, and its root among them.
func Objects(t *Tree) (*objects.Store, objects.ID) { return t.store, t.root }

// CleanPath brings a path as users write it ("./apps", "apps/", "/apps") into the form
// file systems want ("apps"; "." for the root). It refuses "..".
func CleanPath(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("path %q: .. is not allowed", name)
		}
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return ".", nil
	}
	if !fs.ValidPath(clean) || strings.ContainsRune(clean, 0) {
		return "", fmt.Errorf("path %q is not a path of a repository", name)
	}
	return clean, nil
}

// maxLinks is how many symlinks may lead from one to the next.
const maxLinks = 8

// find walks from the root to name, which fs.ValidPath accepts. The last part is
// followed when it is a symlink and follow is set; those before it always are.
func (t *Tree) find(name string, follow bool) (objects.Entry, error) {
	at := objects.Entry{Kind: objects.Dir, ID: t.root}
	for rest, more := name, name != "."; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		var err error
		if at, err = t.child(at, part); err != nil {
			return objects.Entry{}, err
		}
		if at.Kind == objects.Link && (more || follow) {
			return t.findLinked(name, follow)
		}
	}
	return at, nil
}

func (t *Tree) findLinked(name string, follow bool) (objects.Entry, error) {
	at, err := t.walk(name, follow)
	if err != nil {
		return objects.Entry{}, err
	}
	return at[len(at)-1], nil
}

// walk returns every entry on the real path to name, the root first.
func (t *Tree) walk(name string, follow bool) ([]objects.Entry, error) {
	at := append(make([]objects.Entry, 0, 8), objects.Entry{Kind: objects.Dir, ID: t.root})
	rest := splitPath(name)
	for links := 0; len(rest) > 0; {
		part, last := rest[0], len(rest) == 1
		rest = rest[1:]
		if part == ".." { // only symlinks hold it
			if len(at) == 1 {
				return nil, &linkError{"leads out of the repository"}
			}
			at = at[:len(at)-1]
			continue
		}
		entry, err := t.child(at[len(at)-1], part)
		if err != nil {
			return nil, err
		}
		if entry.Kind != objects.Link || last && !follow {
			at = append(at, entry)
			continue
		}
		if links++; links > maxLinks {
			return nil, &linkError{fmt.Sprintf("leads over more than %d symlinks", maxLinks)}
		}
		target, err := t.target(entry)
		if err != nil {
			return nil, err
		}
		rest = append(splitPath(target), rest...)
	}
	return at, nil
}

// splitPath drops empty parts and dots.
func splitPath(name string) []string {
	parts := strings.Split(name, "/")
	kept := parts[:0]
	for _, p := range parts {
		if p != "" && p != "." {
			kept = append(kept, p)
		}
	}
	return kept
}

func (t *Tree) child(dir objects.Entry, name string) (objects.Entry, error) {
	if dir.Kind != objects.Dir { // below a file or submodule there is nothing
		return objects.Entry{}, fs.ErrNotExist
	}
	tree, ok := t.store.Tree(dir.ID)
	if !ok {
		return objects.Entry{}, &objects.MissingError{ID: dir.ID, Kind: "tree"}
	}
	entry, ok := tree.Lookup(name)
	if !ok {
		return objects.Entry{}, fs.ErrNotExist
	}
	return entry, nil
}

// linkError says why a symlink is not followed.
type linkError struct{ reason string }

func (e *linkError) Error() string { return "symlink " + e.reason }

const maxTarget = 4096

func (t *Tree) target(link objects.Entry) (string, error) {
	if size, err := t.store.Size(link.ID); err != nil || size > maxTarget || size == 0 {
		return "", &linkError{"has no usable target"}
	}
	data, err := t.store.Blob(link.ID)
	if err != nil {
		return "", err
	}
	target := string(data)
	if strings.HasPrefix(target, "/") || strings.ContainsAny(target, "\x00\\") {
		return "", &linkError{fmt.Sprintf("has a target outside of the repository, %q", clip(target))}
	}
	return target, nil
}

// content returns a copy of a file's bytes.
func (t *Tree) content(file objects.Entry) ([]byte, error) {
	size, err := t.store.Size(file.ID)
	if err != nil {
		return nil, err
	}
	if size > t.fileLimit {
		return nil, fmt.Errorf("the file has %d bytes, more than the %d allowed", size, t.fileLimit)
	}
	data, err := t.store.Blob(file.ID)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), data...), nil
}

// clip keeps what a repository wrote from filling a message.
func clip(s string) string { return s[:min(len(s), 100)] }
