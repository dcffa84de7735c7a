package marker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// outside cuts a file at its markers: what is left has to be the same before and after.
func outside(t *testing.T, src []byte) [][]byte {
	t.Helper()
	docs, err := parse(src)
	if err != nil {
		t.Fatalf("%v in %q", err, src)
	}
	var out [][]byte
	at := 0
	for _, m := range find(src, docs) {
		out = append(out, src[at:m.start])
		at = m.end
	}
	return append(out, src[at:])
}

// checkEdit holds Edit to its promises, for any file.
func checkEdit(t *testing.T, src []byte) (changes int) {
	t.Helper()
	before := bytes.Clone(src)
	got, err := Edit("f.yaml", src, reference(t))
	if !bytes.Equal(src, before) {
		t.Fatalf("the input was written to: %q, was %q", src, before)
	}
	if err != nil || len(got.Changes) == 0 {
		if !bytes.Equal(got.Out, src) {
			t.Fatalf("nothing to do (%v), but %q became %q", err, src, got.Out)
		}
		return 0
	}
	a, b := outside(t, src), outside(t, got.Out)
	if len(a) != len(b) {
		t.Fatalf("%d parts became %d\n%q\n%q", len(a), len(b), src, got.Out)
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			t.Fatalf("part %d: %q became %q\n%q\n%q", i, a[i], b[i], src, got.Out)
		}
	}
	again, err := Edit("f.yaml", got.Out, reference(t))
	if err != nil || len(again.Changes) > 0 || !bytes.Equal(again.Out, got.Out) {
		t.Fatalf("a second edit changes %v (%v)\n%q", again.Changes, err, got.Out)
	}
	return len(got.Changes)
}

func FuzzEdit(f *testing.F) {
	for _, seed := range []string{
		`image: y:1 # {"$imagepolicy": "default:apps"}`,
		"\ufeffa: &b !!str 'y:1'\t# {\"$imagepolicy\": \"default:pinned:digest\"}\r\n---\r\n- |\n  y # {}\n",
		"a: [\n1.0, # {\"$imagepolicy\": \"default:apps:tag\"}\n2 # {\"$imagepolicy\": \"default:apps:tag\"}\n]\u2028b: y\u0085",
		"? x # {\"$imagepolicy\": \"default:apps\"}\n: - y # {\"$imagepolicy\": \"default:apps:name\"}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) { checkEdit(t, src) })
}

// TestEditRandomFiles edits files made of all that YAML has, thousands of them.
func TestEditRandomFiles(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	changes, unread := 0, 0
	const files = 1500
	for range files {
		src := []byte((&author{Rand: random, eol: []string{"\n", "\r\n"}[random.IntN(2)]}).file())
		if yaml.Unmarshal(src, &yaml.Node{}) != nil {
			unread++
		}
		changes += checkEdit(t, src)
	}
	if changes < files || unread > files/10 {
		t.Errorf("%d changes in %d files, %d of them not YAML: the files are no good", changes, files, unread)
	}
}

// author writes random YAML.
type author struct {
	*rand.Rand
	b   strings.Builder
	eol string
	n   int
}

func (a *author) pick(of ...string) string { return of[a.IntN(len(of))] }

func (a *author) file() string {
	a.b.WriteString(a.pick("", "", "\ufeff", "# top"+a.eol, "---"+a.eol, "%YAML 1.1"+a.eol+"---"+a.eol))
	for i := range 1 + a.IntN(3) {
		if i > 0 {
			a.b.WriteString("---" + a.pick("", " # next") + a.eol)
		}
		a.mapping("", 0)
	}
	if out := a.b.String(); a.IntN(3) == 0 {
		return strings.TrimSuffix(out, a.eol)
	}
	return a.b.String()
}

func (a *author) mapping(indent string, depth int) {
	for range 1 + a.IntN(4) {
		a.n++
		fmt.Fprintf(&a.b, indent+a.pick("key%d:", "'key %d':", `"schlüssel🙂%d":`, "k.e-y%d:"), a.n)
		a.value(indent, depth)
	}
}

func (a *author) value(indent string, depth int) {
	switch kind := a.IntN(12); {
	case kind == 0 && depth < 4:
		a.b.WriteString(a.eol)
		a.mapping(indent+a.pick(" ", "  ", "    "), depth+1)
	case kind == 1 && depth < 4:
		a.b.WriteString(a.eol)
		for range 1 + a.IntN(3) {
			a.b.WriteString(indent + "  -")
			a.scalar()
		}
	case kind == 2:
		a.b.WriteString(" |" + a.eol + indent + "  block" + a.marker() + a.eol + a.eol + indent + "   more" + a.eol)
	case kind == 3:
		a.b.WriteString(" [a, 'b', {c: \"d\"}]" + a.marker() + a.eol)
	case kind == 4:
		a.b.WriteString(" {a: b," + a.eol + indent + "  c:")
		a.scalar()
		a.b.WriteString(indent + " }" + a.eol)
	default:
		a.scalar()
	}
	if a.IntN(5) == 0 {
		a.b.WriteString(indent + "#" + a.marker() + a.eol + a.pick("", a.eol, "  "+a.eol))
	}
}

func (a *author) scalar() {
	a.b.WriteString(a.pick(" ", " ", "  "))
	if a.IntN(4) == 0 {
		fmt.Fprintf(&a.b, "%sa%d ", a.pick("&", "!!str &"), a.n)
	}
	a.b.WriteString(a.pick("ghcr.io/x/y:1.0", `"ghcr.io/x/y:1.0"`, `'y:1'`, "1.0", "true", "ünï🙂", `"a\tb"`, `''`, `""`, "two words", "'it''s'"))
	a.b.WriteString(a.marker() + a.eol)
}

func (a *author) marker() string {
	if a.IntN(3) == 0 {
		return a.pick("", " # note", " # note "+Key, "\t")
	}
	ref := a.pick("default:apps", "default:apps:tag", "default:apps:name", "default:pinned", "default:pinned:digest", "default:words:tag", "other:apps", "default:apps:digest")
	return a.pick(" ", "  ", "\t") + `#` + a.pick("", " ", "\t") + `{"$imagepolicy": "` + ref + `"}` + a.pick("", "", " ", " tail")
}
