package objects

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Kind is what an entry of a tree is.
type Kind uint8

// The kinds of entries. A submodule is what a checkout without submodules shows: an
// empty directory.
const (
	File Kind = iota + 1
	Exec
	Link
	Dir
	Submodule
)

// Entry is one name in a tree.
type Entry struct {
	Name string
	Kind Kind
	ID   ID
}

// Tree is one directory, its entries sorted by name.
type Tree struct {
	Entries []Entry

	total   int // entries in it and below
	longest int // bytes of the longest path below
	height  int // directories below one another
}

// Lookup finds an entry by name.
func (t *Tree) Lookup(name string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(t.Entries, name, func(e Entry, name string) int { return cmp.Compare(e.Name, name) })
	if !ok {
		return Entry{}, false
	}
	return t.Entries[i], true
}

func (t *Tree) memory() int64 {
	n := int64(perObject)
	for _, e := range t.Entries {
		n += 80 + int64(len(e.Name))
	}
	return n
}

// EntryError says that a tree holds an entry no repository has a good reason for.
type EntryError struct{ Path, Reason string }

func (e *EntryError) Error() string { return fmt.Sprintf("entry %q %s", e.Path, e.Reason) }

// TooManyError says that a commit holds more files and directories than allowed.
type TooManyError struct{ Limit int }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("more than %d files and directories", e.Limit)
}

const (
	maxPath   = 4096
	maxHeight = 512
)

// Tree returns a tree that Check has seen.
func (s *Store) Tree(id ID) (*Tree, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.trees[id]
	return t, ok
}

// Check makes sure that the commit and all below it is here and harmless, and returns
// its root tree. What was checked once is not looked at again: the cost is that of what
// a commit changed.
func (s *Store) Check(commit ID, entries int) (root ID, err error) {
	o, ok := s.get(commit)
	if !ok || o.kind != plumbing.CommitObject {
		return ID{}, &MissingError{ID: commit, Kind: "commit"}
	}
	root, err = treeOf(o.data)
	if err != nil {
		return ID{}, fmt.Errorf("commit %s: %w", commit, err)
	}
	c := checker{store: s, limit: entries}
	t, err := c.check(root, "", 0)
	if err != nil {
		return ID{}, err
	}
	if t.total > entries { // checked before, under a higher limit
		return ID{}, &TooManyError{entries}
	}
	return root, nil
}

// treeOf reads the first line of a commit.
func treeOf(commit []byte) (ID, error) {
	const line = len("tree ") + 2*len(ID{})
	var id ID
	if len(commit) <= line || string(commit[:5]) != "tree " || commit[line] != '\n' {
		return id, fmt.Errorf("does not start with a tree")
	}
	_, err := hex.Decode(id[:], commit[5:line])
	return id, err
}

type checker struct {
	store *Store
	limit int
}

func (c *checker) check(id ID, path string, depth int) (*Tree, error) {
	if t, ok := c.store.Tree(id); ok {
		return t, nil
	}
	if depth > maxHeight {
		return nil, &EntryError{path, fmt.Sprintf("is more than %d directories deep", maxHeight)}
	}
	o, ok := c.store.get(id)
	if !ok || o.kind != plumbing.TreeObject {
		return nil, &MissingError{ID: id, Kind: "tree"}
	}
	t, err := parseTree(o.data, path)
	if err != nil {
		return nil, err
	}
	for _, e := range t.Entries {
		if err := c.entry(t, e, path, depth); err != nil {
			return nil, err
		}
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.store.trees[id] = t
	c.store.memory += t.memory()
	return t, nil
}

func (c *checker) entry(t *Tree, e Entry, path string, depth int) error {
	length, height := len(e.Name), 0
	t.total++
	switch e.Kind {
	case Dir:
		below, err := c.check(e.ID, join(path, e.Name), depth+1)
		if err != nil {
			return err
		}
		t.total += below.total // cannot overflow: each is at most the limit
		length += 1 + below.longest
		height = 1 + below.height
	case Submodule:
	default:
		if o, ok := c.store.get(e.ID); !ok || o.kind != plumbing.BlobObject {
			return &MissingError{ID: e.ID, Kind: "blob"}
		}
	}
	t.longest, t.height = max(t.longest, length), max(t.height, height)
	switch {
	case t.total > c.limit:
		return &TooManyError{c.limit}
	case t.longest > maxPath:
		return &EntryError{clip(join(path, e.Name)), fmt.Sprintf("has a path of more than %d bytes", maxPath)}
	case t.height > maxHeight:
		return &EntryError{clip(join(path, e.Name)), fmt.Sprintf("is more than %d directories deep", maxHeight)}
	}
	return nil
}

func clip(path string) string {
	if len(path) > 256 {
		return strings.ToValidUTF8(path[:256], "") + "…"
	}
	return path
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// parseTree reads a tree object: mode SP name NUL id, repeated.
func parseTree(data []byte, path string) (*Tree, error) {
	text := string(data) // names share it
	t := &Tree{Entries: make([]Entry, 0, bytes.Count(data, []byte{0})/2+1)}
	for at := 0; at < len(text); {
		mode, rest, ok := strings.Cut(text[at:], " ")
		name, after, ok2 := strings.Cut(rest, "\x00")
		if !ok || !ok2 || len(after) < len(ID{}) {
			return nil, &EntryError{path, "is a tree that is cut off"}
		}
		kind, err := kindOf(mode)
		if err != nil {
			return nil, &EntryError{clip(join(path, name)), err.Error()}
		}
		if err := checkName(name); err != nil {
			return nil, &EntryError{clip(join(path, name)), err.Error()}
		}
		at += len(mode) + 1 + len(name) + 1 + len(ID{})
		t.Entries = append(t.Entries, Entry{Name: name, Kind: kind, ID: ID([]byte(after[:len(ID{})]))})
	}
	// Git sorts directories as if their name ended in a slash; readers want plain order.
	slices.SortFunc(t.Entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(t.Entries); i++ {
		if t.Entries[i].Name == t.Entries[i-1].Name {
			return nil, &EntryError{clip(join(path, t.Entries[i].Name)), "is there twice"}
		}
	}
	return t, nil
}

func kindOf(mode string) (Kind, error) {
	switch mode {
	case "100644", "100664": // the second was written by early versions of Git
		return File, nil
	case "100755":
		return Exec, nil
	case "120000":
		return Link, nil
	case "40000":
		return Dir, nil
	case "160000":
		return Submodule, nil
	}
	return 0, fmt.Errorf("has mode %q, which Git does not know", clip(mode))
}
