package objects

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// PackError says that a pack is not what a Git server sends.
type PackError struct{ Reason string }

func (e *PackError) Error() string { return "the pack is damaged: " + e.Reason }

// SizeError says that a pack unfolds into more than is allowed.
type SizeError struct {
	What  string
	Limit int64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("the pack holds more than %d %s", e.Limit, e.What)
}

// Ingest adds the objects of a pack. Deltas may build on objects that are here already.
// On an error some objects may have been added; each of them is what its id says.
//
// go-git's own parser allocates what the pack announces and keeps no total, so the pack
// is taken apart here, with its scanner.
func (s *Store) Ingest(r io.Reader, lim Limits) error {
	src := &source{r: r}
	sc := packfile.NewScanner(src)
	_, count, err := sc.Header()
	if err != nil {
		return src.explain(err)
	}
	if int64(count) > int64(lim.Objects) {
		return &SizeError{"objects", int64(lim.Objects)}
	}
	in := ingest{store: s, src: src, left: lim.Inflated, limit: lim.Inflated, at: map[int64]ID{}, waiting: map[base][]pending{}}
	for range count {
		if err := in.next(sc); err != nil {
			return err
		}
	}
	if _, err := sc.Checksum(); err != nil {
		return src.explain(err)
	}
	if len(in.waiting) > 0 {
		return &PackError{"a delta builds on an object that is not there"}
	}
	return nil
}

// source tells errors of the connection from errors in what it brought.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		s.err = err
	}
	return n, err
}

func (s *source) explain(err error) error {
	switch {
	case s.err != nil:
		return s.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &PackError{"it is cut off"}
	}
	return &PackError{err.Error()}
}

// ingest is one pack on its way in.
type ingest struct {
	store       *Store
	src         *source
	left, limit int64
	at          map[int64]ID // by offset in the pack
	waiting     map[base][]pending
}

// base names what a delta builds on: an id, or an offset in the pack.
type base struct {
	id     ID
	offset int64
}

type pending struct {
	offset int64
	delta  []byte
}

func (in *ingest) next(sc *packfile.Scanner) error {
	h, err := sc.NextObjectHeader()
	if err != nil {
		return in.src.explain(err)
	}
	if err := in.take(h.Length); err != nil {
		return err
	}
	var buf bytes.Buffer
	buf.Grow(int(min(h.Length, 1<<20)))
	if _, _, err := sc.NextObject(&buf); err != nil {
		return in.src.explain(err)
	}
	if int64(buf.Len()) != h.Length {
		return &PackError{"an object is shorter than announced"}
	}
	switch h.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return in.add(h.Type, buf.Bytes(), h.Offset)
	case plumbing.OFSDeltaObject:
		return in.delta(base{offset: h.OffsetReference}, pending{h.Offset, buf.Bytes()})
	case plumbing.REFDeltaObject:
		return in.delta(base{id: h.Reference}, pending{h.Offset, buf.Bytes()})
	}
	return &PackError{"it holds an object of unknown type"}
}

func (in *ingest) take(n int64) error {
	if n < 0 || n > in.left {
		return &SizeError{"bytes", in.limit}
	}
	in.left -= n
	return nil
}

// add stores a whole object, then the deltas that waited for it, then those that waited
// for them.
func (in *ingest) add(kind plumbing.ObjectType, data []byte, offset int64) error {
	id, err := in.store.Add(kind, data)
	if err != nil {
		return err
	}
	in.at[offset] = id
	ready := in.ready(nil, id, offset)
	for len(ready) > 0 {
		next := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		id, err := in.resolve(next.on, next.delta)
		if err != nil {
			return err
		}
		in.at[next.offset] = id
		ready = in.ready(ready, id, next.offset)
	}
	return nil
}

type ready struct {
	pending
	on ID
}

func (in *ingest) ready(to []ready, id ID, offset int64) []ready {
	for _, b := range []base{{id: id}, {offset: offset}} {
		for _, p := range in.waiting[b] {
			to = append(to, ready{p, id})
		}
		delete(in.waiting, b)
	}
	return to
}

func (in *ingest) delta(b base, p pending) error {
	on, known := b.id, false
	if b.offset != 0 {
		on, known = in.at[b.offset]
	} else {
		known = in.store.Has(on)
	}
	if !known {
		in.waiting[b] = append(in.waiting[b], p)
		return nil
	}
	kind, data, err := in.patch(on, p.delta)
	if err != nil {
		return err
	}
	return in.add(kind, data, p.offset)
}

func (in *ingest) resolve(on ID, delta []byte) (ID, error) {
	kind, data, err := in.patch(on, delta)
	if err != nil {
		return ID{}, err
	}
	return in.store.Add(kind, data)
}

func (in *ingest) patch(on ID, delta []byte) (plumbing.ObjectType, []byte, error) {
	o, _ := in.store.get(on)
	from, err := in.store.bytes(on, o)
	if err != nil {
		return 0, nil, err
	}
	size, err := targetSize(delta)
	if err != nil {
		return 0, nil, err
	}
	if err := in.take(size); err != nil {
		return 0, nil, err
	}
	data, err := packfile.PatchDelta(from, delta)
	if err != nil {
		return 0, nil, &PackError{err.Error()}
	}
	return o.kind, data, nil
}

// targetSize reads what a delta says it unfolds to: the second of two variable-length
// numbers at its start.
func targetSize(delta []byte) (int64, error) {
	rest := delta
	var size int64
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			if len(rest) == 0 || shift > 56 {
				return 0, &PackError{"a delta is cut off"}
			}
			b := rest[0]
			rest = rest[1:]
			size |= int64(b&0x7f) << shift
			if b&0x80 == 0 {
				break
			}
		}
	}
	return size, nil
}
