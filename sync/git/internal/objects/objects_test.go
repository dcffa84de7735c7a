package objects

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
)

// pack builds packs, well-formed or not.
type pack struct {
	body    bytes.Buffer
	offsets []int
	count   int
}

func (p *pack) header(kind plumbing.ObjectType, size int) {
	p.offsets = append(p.offsets, 12+p.body.Len())
	p.count++
	b := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.body.WriteByte(b | 0x80)
		b = byte(size & 0x7f)
	}
	p.body.WriteByte(b)
}

func (p *pack) deflate(data []byte) {
	z := zlib.NewWriter(&p.body)
	_, _ = z.Write(data)
	_ = z.Close()
}

func (p *pack) object(kind plumbing.ObjectType, data []byte) ID {
	p.header(kind, len(data))
	p.deflate(data)
	return plumbing.ComputeHash(kind, data)
}

func (p *pack) refDelta(on ID, delta []byte) {
	p.header(plumbing.REFDeltaObject, len(delta))
	p.body.Write(on[:])
	p.deflate(delta)
}

func (p *pack) offsetDelta(on int, delta []byte) {
	p.header(plumbing.OFSDeltaObject, len(delta))
	back := p.offsets[len(p.offsets)-1] - on
	enc := []byte{byte(back & 0x7f)}
	for back >>= 7; back > 0; back >>= 7 {
		back--
		enc = append([]byte{0x80 | byte(back&0x7f)}, enc...)
	}
	p.body.Write(enc)
	p.deflate(delta)
}

func (p *pack) bytes() []byte {
	out := append([]byte("PACK"), 0, 0, 0, 2)
	out = binary.BigEndian.AppendUint32(out, uint32(p.count))
	out = append(out, p.body.Bytes()...)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

func varint(n int) []byte {
	var out []byte
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// copyTwice is a delta that yields its base two times.
func copyTwice(size int) []byte {
	d := append(varint(size), varint(2*size)...)
	op := []byte{0x80 | 0x10 | 0x20 | 0x40, byte(size), byte(size >> 8), byte(size >> 16)}
	return append(append(d, op...), op...)
}

var roomy = Limits{Objects: 1000, Inflated: 1 << 20}

func TestIngestResolvesDeltas(t *testing.T) {
	t.Parallel()
	base := []byte(strings.Repeat("0123456789", 10))
	twice := bytes.Repeat(base, 2)
	baseID, twiceID := plumbing.ComputeHash(plumbing.BlobObject, base), plumbing.ComputeHash(plumbing.BlobObject, twice)
	fourID := plumbing.ComputeHash(plumbing.BlobObject, bytes.Repeat(base, 4))
	for _, test := range []struct {
		name  string
		build func(*pack)
		have  []byte
	}{
		{"base before delta", func(p *pack) {
			p.object(plumbing.BlobObject, base)
			p.refDelta(baseID, copyTwice(100))
			p.refDelta(twiceID, copyTwice(200))
		}, nil},
		{"deltas before their base, the later ones first", func(p *pack) {
			p.refDelta(twiceID, copyTwice(200))
			p.refDelta(baseID, copyTwice(100))
			p.object(plumbing.BlobObject, base)
		}, nil},
		{"by offset", func(p *pack) {
			p.object(plumbing.BlobObject, base)
			p.offsetDelta(p.offsets[0], copyTwice(100))
			p.offsetDelta(p.offsets[1], copyTwice(200))
		}, nil},
		{"by offset to one that waits", func(p *pack) {
			p.refDelta(baseID, copyTwice(100))
			p.offsetDelta(p.offsets[0], copyTwice(200))
			p.object(plumbing.BlobObject, base)
		}, nil},
		{"base is here already", func(p *pack) {
			p.refDelta(baseID, copyTwice(100))
			p.refDelta(twiceID, copyTwice(200))
		}, base},
	} {
		var p pack
		test.build(&p)
		s := New("")
		if test.have != nil {
			if _, err := s.Add(plumbing.BlobObject, bytes.Clone(test.have)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Ingest(bytes.NewReader(p.bytes()), roomy); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got, err := s.Blob(fourID); err != nil || !bytes.Equal(got, bytes.Repeat(base, 4)) {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
}

func TestIngestRefuses(t *testing.T) {
	t.Parallel()
	blob := bytes.Repeat([]byte("x"), 100)
	id := plumbing.ComputeHash(plumbing.BlobObject, blob)
	for _, test := range []struct {
		name string
		data func() []byte
		want string
	}{
		{"nothing", func() []byte { return nil }, "the pack is damaged: empty packfile"},
		{"size field lies, too small", func() []byte {
			var p pack
			p.header(plumbing.BlobObject, 10)
			p.deflate(blob)
			return p.bytes()
		}, "the pack is damaged: packfile: inflated object exceeds declared size"},
		{"size field lies, too large", func() []byte {
			var p pack
			p.header(plumbing.BlobObject, 1000)
			p.deflate(blob)
			return p.bytes()
		}, "the pack is damaged: an object is shorter than announced"},
		{"cut off", func() []byte {
			var p pack
			p.object(plumbing.BlobObject, blob)
			return p.bytes()[:20]
		}, "the pack is damaged: it is cut off"},
		{"reserved type", func() []byte {
			var p pack
			p.object(5, blob)
			return p.bytes()
		}, "the pack is damaged: it holds an object of unknown type"},
		{"delta on nothing", func() []byte {
			var p pack
			p.refDelta(id, copyTwice(100))
			return p.bytes()
		}, "the pack is damaged: a delta builds on an object that is not there"},
		{"delta bomb", func() []byte {
			var p pack
			p.object(plumbing.BlobObject, blob)
			for i, size := 0, 100; i < 20; i, size = i+1, size*2 {
				p.offsetDelta(p.offsets[i], copyTwice(size))
			}
			return p.bytes()
		}, "the pack holds more than 1048576 bytes"},
		{"inflate bomb", func() []byte {
			var p pack
			p.object(plumbing.BlobObject, make([]byte, 2<<20))
			return p.bytes()
		}, "the pack holds more than 1048576 bytes"},
		{"announces too many", func() []byte {
			var p pack
			p.object(plumbing.BlobObject, blob)
			p.count = 1 << 30
			return p.bytes()
		}, "the pack holds more than 1000 objects"},
		{"delta for another base", func() []byte {
			var p pack
			p.object(plumbing.BlobObject, blob)
			p.refDelta(id, copyTwice(50))
			return p.bytes()
		}, "the pack is damaged: invalid delta"},
	} {
		err := New("").Ingest(bytes.NewReader(test.data()), roomy)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
	var p pack
	p.object(plumbing.BlobObject, blob)
	data := p.bytes()
	data[len(data)-1] ^= 1
	var damaged *PackError
	if err := New("").Ingest(bytes.NewReader(data), roomy); !errors.As(err, &damaged) || !strings.Contains(err.Error(), "checksum mismatch") {
		t.Errorf("wrong checksum: %v", err)
	}
}

func TestNamesThatGitDoesNotSend(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("i", 20)
	for data, want := range map[string]string{
		"100644 \x00" + id:           `entry "" has a name that is empty or dots only`,
		"040000 x\x00" + id:          `entry "x" has mode "040000", which Git does not know`,
		" x\x00" + id:                `entry "x" has mode "", which Git does not know`,
		"100644 x\x00" + id[:19]:     `entry "" is a tree that is cut off`,
		"100644 x":                   `entry "" is a tree that is cut off`,
		"100644 x\x00" + id + "junk": `entry "" is a tree that is cut off`,
	} {
		if _, err := parseTree([]byte(data), ""); err == nil || err.Error() != want {
			t.Errorf("parseTree(%q) = %v, want %s", data, err, want)
		}
	}
}

// A tree that contains itself many times over is counted, not walked.
func TestTreeBomb(t *testing.T) {
	t.Parallel()
	s := New("")
	add := func(kind plumbing.ObjectType, data string) ID {
		id, err := s.Add(kind, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	blob := add(plumbing.BlobObject, "x")
	level := add(plumbing.TreeObject, "100644 f\x00"+string(blob[:]))
	for range 40 {
		var data string
		for i := range 10 {
			data += fmt.Sprintf("40000 d%d\x00%s", i, level[:])
		}
		level = add(plumbing.TreeObject, data)
	}
	commit := add(plumbing.CommitObject, "tree "+level.String()+"\n\n")
	_, err := s.Check(commit, 100_000)
	if diff := cmp.Diff("more than 100000 files and directories", fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	deep := add(plumbing.TreeObject, "100644 f\x00"+string(blob[:]))
	for range 600 {
		deep = add(plumbing.TreeObject, "40000 d\x00"+string(deep[:]))
	}
	commit = add(plumbing.CommitObject, "tree "+deep.String()+"\n\n")
	if _, err := s.Check(commit, 100_000); err == nil || !strings.HasSuffix(err.Error(), "is more than 512 directories deep") {
		t.Errorf("600 directories deep: %v", err)
	}
}

func TestDamagedCacheIsNotTrusted(t *testing.T) {
	t.Parallel()
	s := New(t.TempDir())
	id, err := s.Add(plumbing.BlobObject, bytes.Repeat([]byte("a"), spillSize))
	if err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(s.dir); err != nil || len(names) != 0 {
		t.Errorf("the cache folder holds %v, %v; want no names", names, err)
	}
	if _, err := s.spill.file.WriteAt([]byte("b"), 7); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Blob(id); err == nil || err.Error() != fmt.Sprintf("object %s is damaged in the cache", id) {
		t.Errorf("damaged object: %v", err)
	}
	if !s.Broken() {
		t.Error("the store does not say that it is broken")
	}
}

func FuzzIngest(f *testing.F) {
	var p pack
	id := p.object(plumbing.BlobObject, []byte("hello hello hello"))
	p.refDelta(id, copyTwice(17))
	p.offsetDelta(p.offsets[0], copyTwice(17))
	f.Add(p.bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		s := New("")
		lim := Limits{Objects: 100, Inflated: 1 << 16}
		_ = s.Ingest(bytes.NewReader(data), lim)
		for id, o := range s.objects {
			if plumbing.ComputeHash(o.kind, o.data) != id {
				t.Fatalf("object %s is not what its id says", id)
			}
		}
		if s.Memory() > lim.Inflated+perObject*int64(len(s.objects)) {
			t.Fatalf("%d bytes from a pack limited to %d", s.Memory(), lim.Inflated)
		}
	})
}

func FuzzTree(f *testing.F) {
	id := strings.Repeat("i", 20)
	for _, s := range []string{"100644 a\x00" + id, "40000 .git\x00" + id, "100644 a/b\x00" + id, "160000 m\x00" + id + "120000 l\x00" + id} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := parseTree(data, "")
		if err != nil {
			return
		}
		size := 0
		for i, e := range tree.Entries {
			if checkName(e.Name) != nil || strings.ContainsAny(e.Name, "/\\\x00\n") || strings.EqualFold(e.Name, ".git") {
				t.Fatalf("name %q was let through", e.Name)
			}
			if i > 0 && tree.Entries[i-1].Name >= e.Name {
				t.Fatalf("names %q and %q are not in order", tree.Entries[i-1].Name, e.Name)
			}
			if got, ok := tree.Lookup(e.Name); !ok || got != e {
				t.Fatalf("Lookup(%q) = %v, %v", e.Name, got, ok)
			}
			size += len(e.Name) + len(e.ID) + 2
		}
		if size > len(data) {
			t.Fatalf("%d bytes of entries out of %d", size, len(data))
		}
	})
}
