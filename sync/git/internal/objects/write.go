package objects

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // Git's own
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Rewrite gives files that are below root new contents, by path, and returns the new root
// and every object it added. Names, modes and order of all entries stay to the byte. Only
// files that are there can be written, and none through a symlink.
func (s *Store) Rewrite(root ID, files map[string][]byte) (ID, []ID, error) {
	w := writer{store: s}
	next, err := w.dir(root, "", files)
	return next, w.added, err
}

type writer struct {
	store *Store
	added []ID
}

func (w *writer) dir(id ID, path string, files map[string][]byte) (ID, error) {
	o, ok := w.store.get(id)
	if !ok || o.kind != plumbing.TreeObject {
		return ID{}, &MissingError{ID: id, Kind: "tree"}
	}
	data, below := bytes.Clone(o.data), map[string]map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		first, rest, deeper := strings.Cut(name, "/")
		if deeper {
			if below[first] == nil {
				below[first] = map[string][]byte{}
			}
			below[first][rest] = files[name]
			continue
		}
		if err := w.set(data, join(path, name), name, []Kind{File, Exec}, func(ID) (ID, error) { return w.add(plumbing.BlobObject, files[name]) }); err != nil {
			return ID{}, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(below)) {
		if err := w.set(data, join(path, name), name, []Kind{Dir}, func(id ID) (ID, error) { return w.dir(id, join(path, name), below[name]) }); err != nil {
			return ID{}, err
		}
	}
	return w.add(plumbing.TreeObject, data)
}

// set replaces the id of one entry in the bytes of a tree.
func (w *writer) set(tree []byte, path, name string, kinds []Kind, next func(ID) (ID, error)) error {
	for at := 0; at < len(tree); {
		mode, rest, _ := bytes.Cut(tree[at:], []byte(" "))
		entry, _, ok := bytes.Cut(rest, []byte{0})
		start := at + len(mode) + 1 + len(entry) + 1
		if !ok || start+len(ID{}) > len(tree) {
			return &EntryError{path, "is in a tree that is cut off"}
		}
		at = start + len(ID{})
		if string(entry) != name {
			continue
		}
		kind, err := kindOf(string(mode))
		if err != nil || !slices.Contains(kinds, kind) {
			return &EntryError{clip(path), "is not what it was taken for"}
		}
		id, err := next(ID(tree[start:at]))
		if err != nil {
			return err
		}
		copy(tree[start:at], id[:])
		return nil
	}
	return &EntryError{clip(path), "is not there"}
}

func (w *writer) add(kind plumbing.ObjectType, data []byte) (ID, error) {
	id, err := w.store.Add(kind, data)
	w.added = append(w.added, id)
	return id, err
}

// Pack writes objects as a pack without deltas: what we write is small.
func (s *Store) Pack(out io.Writer, ids []ID) error {
	sum := sha1.New() //nolint:gosec // Git's own
	to := io.MultiWriter(out, sum)
	ids = unique(ids)
	header := append([]byte("PACK"), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 2), uint32(len(ids)))...) //nolint:gosec // few
	if _, err := to.Write(header); err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.packOne(to, id); err != nil {
			return fmt.Errorf("packing object %s: %w", id, err)
		}
	}
	_, err := out.Write(sum.Sum(nil))
	return err
}

func (s *Store) packOne(to io.Writer, id ID) error {
	o, ok := s.get(id)
	if !ok {
		return &MissingError{ID: id, Kind: "object"}
	}
	data, err := s.bytes(id, o)
	if err != nil {
		return err
	}
	// Four bits of the size beside the kind, then seven at a time, the lowest first.
	size := len(data)
	head := []byte{byte(o.kind)<<4 | byte(size&0x0f)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	if _, err := to.Write(head); err != nil {
		return err
	}
	z := zlib.NewWriter(to)
	if _, err := z.Write(data); err != nil {
		return err
	}
	return z.Close()
}

func unique(ids []ID) []ID {
	seen := map[ID]bool{}
	return slices.DeleteFunc(slices.Clone(ids), func(id ID) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}
