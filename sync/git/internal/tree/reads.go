package tree

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
)

// Reads records what is read of a tree, so that a later tree can be asked whether it
// would read the same. It is safe for concurrent use.
type Reads struct {
	tree *Tree

	mu   sync.Mutex // guards seen
	seen map[question]answer
}

// Trace returns a recorder of reads of t.
func Trace(t *Tree) *Reads { return &Reads{tree: t, seen: map[question]answer{}} }

// FS is the tree's file system ([Tree.FS]); what is read through it is recorded.
func (r *Reads) FS() fs.FS { return treeFS{r.tree, r} }

// question is what a reader can ask a file system about a path: what is there when
// symlinks are followed, what is there when the last one is not, what a directory shows.
type question struct {
	path string
	ask  byte
}

const (
	askFollow   = 'f'
	askNoFollow = 'n'
	askList     = 'l'
)

// answer is all a reader can learn from a question, and no more:
//
//   - of a file its blob, and whether it is executable; of a symlink its blob
//   - of a directory only that it is one; what is in it are other questions
//   - of a listing the names and their types, in a digest. Not the tree id: that changes
//     with every file below, read or not
//   - of an absent path, that it is absent
//   - of anything else that it went wrong; such an answer is never the same again
type answer struct {
	kind byte
	id   objects.ID
}

const (
	isFile   = 'f'
	isExec   = 'x'
	isLink   = 's'
	isADir   = 'd'
	isList   = 'l'
	isAbsent = '-'
	isBroken = '!'
)

func (r *Reads) saw(name string, follow bool, e objects.Entry, err error) {
	q := question{name, askNoFollow}
	if follow {
		q.ask = askFollow
	}
	r.record(q, answerOf(e, err))
}

func (r *Reads) listed(name string, entries []objects.Entry, err error) {
	r.record(question{name, askList}, listingOf(entries, err))
}

func (r *Reads) record(q question, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[q] = a
}

func answerOf(e objects.Entry, err error) answer {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return answer{kind: isAbsent}
	case err != nil:
		return answer{kind: isBroken}
	}
	switch e.Kind {
	case objects.File:
		return answer{isFile, e.ID}
	case objects.Exec:
		return answer{isExec, e.ID}
	case objects.Link:
		return answer{isLink, e.ID}
	}
	return answer{kind: isADir}
}

func listingOf(entries []objects.Entry, err error) answer {
	if err != nil {
		return answer{kind: isBroken}
	}
	text := make([]byte, 0, 64*len(entries))
	for _, e := range entries {
		text = strconv.AppendUint(text, uint64(modeOf(e.Kind).Type()), 8)
		text = append(append(append(text, ' '), e.Name...), 0)
	}
	sum := sha256.Sum256(text)
	return answer{isList, objects.ID(sum[:len(objects.ID{})])}
}

// Set is what was read so far.
func (r *Reads) Set() ReadSet {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := ReadSet{root: r.tree.root, reads: make([]read, 0, len(r.seen))}
	for q, a := range r.seen {
		s.reads = append(s.reads, read{q, a})
	}
	slices.SortFunc(s.reads, func(a, b read) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.ask, b.ask)) })
	return s
}

// ReadSet is what a reader observed of a tree: its inputs. The zero ReadSet observed
// nothing of no tree and is unchanged nowhere.
type ReadSet struct {
	root  objects.ID
	reads []read
}

type read struct {
	question
	answer
}

// Unchanged reports whether everything that was read is the same in t: a reader that
// depends on nothing else would see the same bytes. In doubt it says no.
func (s ReadSet) Unchanged(t *Tree) bool {
	if t == nil || s.root.IsZero() {
		return false
	}
	for _, r := range s.reads {
		if r.kind == isBroken {
			return false
		}
	}
	if s.root == t.root {
		return true
	}
	for _, r := range s.reads {
		if t.ask(r.question) != r.answer {
			return false
		}
	}
	return true
}

func (t *Tree) ask(q question) answer {
	if q.ask == askList {
		entries, err := t.list(q.path)
		return listingOf(entries, err)
	}
	return answerOf(t.find(q.path, q.ask == askFollow))
}

// Paths are the paths that were read or looked for, sorted.
func (s ReadSet) Paths() []string {
	paths := make([]string, 0, len(s.reads))
	for _, r := range s.reads {
		paths = append(paths, r.path)
	}
	return slices.Compact(paths)
}

// readSetJSON is the stored form: per read the question, the answer, its id when it has
// one, and the path.
type readSetJSON struct {
	Root  string   `json:"root"`
	Reads []string `json:"reads"`
}

// MarshalJSON writes the same bytes for the same reads.
func (s ReadSet) MarshalJSON() ([]byte, error) {
	out := readSetJSON{Root: s.root.String(), Reads: make([]string, len(s.reads))}
	for i, r := range s.reads {
		id := ""
		if !r.id.IsZero() {
			id = r.id.String()
		}
		out.Reads[i] = string([]byte{r.ask, r.kind}) + id + " " + r.path
	}
	return json.Marshal(out)
}

// UnmarshalJSON refuses what MarshalJSON does not write.
func (s *ReadSet) UnmarshalJSON(data []byte) error {
	var in readSetJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("decoding a read-set: %w", err)
	}
	root, err := parseID(in.Root)
	if err != nil {
		return fmt.Errorf("decoding a read-set: root: %w", err)
	}
	out := ReadSet{root: root, reads: make([]read, len(in.Reads))}
	for i, text := range in.Reads {
		if out.reads[i], err = parseRead(text); err != nil {
			return fmt.Errorf("decoding a read-set: read %d: %w", i, err)
		}
	}
	*s = out
	return nil
}

func parseRead(text string) (read, error) {
	head, path, ok := strings.Cut(text, " ")
	if !ok || len(head) < 2 || !fs.ValidPath(path) ||
		!strings.ContainsRune("fnl", rune(head[0])) || !strings.ContainsRune("fxsdl-!", rune(head[1])) {
		return read{}, fmt.Errorf("%q is not one", clip(text))
	}
	r := read{question{path, head[0]}, answer{kind: head[1]}}
	if head[2:] == "" {
		return r, nil
	}
	id, err := parseID(head[2:])
	r.id = id
	return r, err
}

func parseID(text string) (objects.ID, error) {
	var id objects.ID
	if len(text) != hex.EncodedLen(len(id)) {
		return id, fmt.Errorf("%q is not an object id", clip(text))
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err
}
