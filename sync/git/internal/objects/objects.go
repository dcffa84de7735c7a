// Package objects keeps the Git objects of one repository: packs go in, commits, trees
// and blobs come out. It is a cache that may vanish.
//
// It promises that an object's content has the object's id, that a tree it gives out was
// checked entry by entry (names no system may see, sizes, counts, nothing missing below
// it), and that hostile packs cost bounded memory. It writes to disk only anonymous
// bytes: large blobs, into a file that has no name any more. It refuses what it cannot
// bound or vouch for; nothing is ever repaired.
package objects

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
)

// ID is the id of an object.
type ID = plumbing.Hash

// Limits bound what one repository may hold.
type Limits struct {
	Objects  int   // in one pack
	Inflated int64 // bytes of all objects of one pack
	Entries  int   // files and directories below one commit
}

// Store holds objects. It is safe for concurrent use, with one writer at a time.
type Store struct {
	dir    string // where large blobs go; "" keeps them in memory
	broken atomic.Bool

	mu      sync.RWMutex // guards what follows
	objects map[ID]object
	trees   map[ID]*Tree // checked ones only
	spill   *spill
	memory  int64
}

type object struct {
	kind plumbing.ObjectType
	size int64
	data []byte // nil when spilled
	at   int64  // offset in the spill file
}

// New returns an empty Store. Large blobs are kept in dir when it is not empty.
func New(dir string) *Store {
	return &Store{dir: dir, objects: map[ID]object{}, trees: map[ID]*Tree{}}
}

// perObject is what an object costs in memory beyond its bytes, roughly.
const perObject = 160

// spillSize is the size from which blobs leave memory. Manifests are smaller.
const spillSize = 32 << 10

// Has reports whether the object is here.
func (s *Store) Has(id ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.objects[id]
	return ok
}

// Len is the number of objects, Memory the bytes they take of it.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.objects)
}

// Memory is how many bytes the store takes in memory, Disk how many on disk.
func (s *Store) Memory() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.memory
}

// Disk is how many bytes the store takes on disk.
func (s *Store) Disk() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.spill == nil {
		return 0
	}
	return s.spill.size
}

// Broken reports whether an object could not be read back: the store is to be thrown
// away.
func (s *Store) Broken() bool { return s.broken.Load() }

// Add stores an object under the id of its content and takes ownership of data.
func (s *Store) Add(kind plumbing.ObjectType, data []byte) (ID, error) {
	id := plumbing.ComputeHash(kind, data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[id]; ok {
		return id, nil
	}
	return id, s.put(id, kind, data)
}

func (s *Store) put(id ID, kind plumbing.ObjectType, data []byte) error {
	o := object{kind: kind, size: int64(len(data)), data: data}
	if kind == plumbing.BlobObject && len(data) >= spillSize && s.dir != "" {
		if s.spill == nil {
			f, err := newSpill(s.dir)
			if err != nil {
				return err
			}
			s.spill = f
		}
		at, err := s.spill.write(data)
		if err != nil {
			return err
		}
		o.data, o.at = nil, at
	}
	s.objects[id] = o
	s.memory += perObject + int64(len(o.data))
	return nil
}

func (s *Store) get(id ID) (object, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, ok := s.objects[id]
	return o, ok
}

// bytes returns the content of an object; the caller does not change it.
func (s *Store) bytes(id ID, o object) ([]byte, error) {
	if o.data != nil || o.size == 0 {
		return o.data, nil
	}
	s.mu.RLock()
	f := s.spill
	s.mu.RUnlock()
	data, err := f.read(o.at, o.size)
	if err != nil {
		s.broken.Store(true)
		return nil, fmt.Errorf("reading object %s from the cache: %w", id, err)
	}
	if plumbing.ComputeHash(o.kind, data) != id {
		s.broken.Store(true)
		return nil, fmt.Errorf("object %s is damaged in the cache", id)
	}
	return data, nil
}

// Blob returns the content of a blob; the caller does not change it.
func (s *Store) Blob(id ID) ([]byte, error) {
	o, ok := s.get(id)
	if !ok || o.kind != plumbing.BlobObject {
		return nil, &MissingError{ID: id, Kind: "blob"}
	}
	return s.bytes(id, o)
}

// Size is the length of a blob.
func (s *Store) Size(id ID) (int64, error) {
	o, ok := s.get(id)
	if !ok || o.kind != plumbing.BlobObject {
		return 0, &MissingError{ID: id, Kind: "blob"}
	}
	return o.size, nil
}

// MissingError says that an object is not here although something refers to it.
type MissingError struct {
	ID   ID
	Kind string
}

func (e *MissingError) Error() string { return fmt.Sprintf("%s %s was not sent", e.Kind, e.ID) }

// Keep returns a Store that holds only what the given commits need.
func (s *Store) Keep(commits []ID) (*Store, error) {
	kept := New(s.dir)
	for _, c := range commits {
		o, ok := s.get(c)
		if !ok || o.kind != plumbing.CommitObject {
			continue
		}
		root, err := treeOf(o.data)
		if err != nil {
			return nil, err
		}
		if err := s.keepTree(kept, root); err != nil {
			return nil, err
		}
		if err := kept.put(c, o.kind, o.data); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// keepTree copies a checked tree; kept is not shared yet.
func (s *Store) keepTree(kept *Store, id ID) error {
	if kept.trees[id] != nil {
		return nil
	}
	tree, ok := s.Tree(id)
	if !ok {
		return &MissingError{ID: id, Kind: "tree"}
	}
	for _, e := range tree.Entries {
		var err error
		switch e.Kind {
		case Dir:
			err = s.keepTree(kept, e.ID)
		case Submodule:
		default:
			err = s.keepObject(kept, e.ID)
		}
		if err != nil {
			return err
		}
	}
	if err := s.keepObject(kept, id); err != nil {
		return err
	}
	kept.trees[id] = tree
	kept.memory += tree.memory()
	return nil
}

func (s *Store) keepObject(kept *Store, id ID) error {
	if _, ok := kept.objects[id]; ok {
		return nil
	}
	o, ok := s.get(id)
	if !ok {
		return &MissingError{ID: id, Kind: "object"}
	}
	data, err := s.bytes(id, o)
	if err != nil {
		return err
	}
	return kept.put(id, o.kind, data)
}
