package imagepolicy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestTable runs testdata/policies.txtar: one file for each group of cases, in it one case
// a line: tags | pattern | extract | rule | the tag chosen, or "error: " and a part of
// the error. Blanks separate tags; - stands for nothing.
func TestTable(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("testdata/policies.txtar")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, file := range archive.Files {
		for line := range strings.Lines(string(file.Data)) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			cases++
			columns := strings.Split(line, " | ")
			if len(columns) != 5 {
				t.Fatalf("%s: %d columns: %s", file.Name, len(columns), line)
			}
			for i := range columns {
				if columns[i] = strings.TrimSpace(columns[i]); columns[i] == "-" {
					columns[i] = ""
				}
			}
			policy, err := ParsePolicy(block(columns[1], columns[2], columns[3]))
			got := ""
			if err == nil {
				got, err = policy.Choose(strings.Fields(columns[0]))
			}
			if want, fails := strings.CutPrefix(columns[4], "error: "); fails {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %s\n got %q, %v", file.Name, line, got, err)
				}
				continue
			}
			if err != nil || got != columns[4] {
				t.Errorf("%s: %s\n got %q, %v", file.Name, line, got, err)
			}
		}
	}
	if cases < 100 {
		t.Errorf("only %d cases", cases)
	}
}

// block is an imageRepository: rule is the name of a policy and its order or range.
func block(pattern, extract, rule string) map[string]any {
	name, arg, _ := strings.Cut(rule, " ")
	key := "order"
	if name == "semver" {
		key = "range"
	}
	inner := map[string]any{}
	if arg != "" {
		inner[key] = arg
	}
	out := map[string]any{"policy": map[string]any{name: inner}}
	if pattern+extract != "" {
		out["filterTags"] = map[string]any{"pattern": pattern, "extract": extract}
	}
	return out
}

func mustPolicy(t *testing.T, pattern, extract, rule string) *Policy {
	t.Helper()
	p, err := ParsePolicy(block(pattern, extract, rule))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The order of the listing does not matter, unless two tags are equal to the policy.
func TestChoiceOfAnyOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, rule := range []string{"numerical asc", "numerical desc", "alphabetical asc", "alphabetical desc", "semver >=0.0.0-0", "semver 1.x"} {
		p := mustPolicy(t, `^([0-9.]+)(-[a-z]+)?$`, "$1$2", rule)
		if strings.HasPrefix(rule, "numerical") {
			p = mustPolicy(t, `^([0-9]+)`, "$1", rule)
		}
		for range 300 {
			tags, seen := randomTags(random, p)
			want, wantErr := p.Choose(tags)
			for range 10 {
				shuffled := slices.Clone(tags)
				random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				got, err := p.Choose(shuffled)
				if (err == nil) != (wantErr == nil) {
					t.Fatalf("%s of %v: %v, of %v: %v", p, tags, wantErr, shuffled, err)
				}
				if got == want {
					continue
				}
				newer, _ := p.Newer(got, want)
				older, _ := p.Newer(want, got)
				if newer || older || slices.Index(shuffled, got) < slices.Index(shuffled, want) {
					t.Fatalf("%s chose %q of %v and %q of %v", p, want, tags, got, shuffled)
				}
			}
			checkExplained(t, p, tags, want, seen)
		}
	}
}

// randomTags makes tags in which equal values are as likely as not.
func randomTags(random *rand.Rand, p *Policy) (tags []string, candidates int) {
	digits := func() string { return string(rune('0'+random.IntN(3))) + strings.Repeat("0", random.IntN(2)) }
	for range random.IntN(8) {
		tag := digits()
		if p.by != byNumerical {
			tag += "." + digits() + "." + digits()
		}
		tag = strings.ReplaceAll(tag, "00", "0")
		if random.IntN(4) == 0 {
			tag += "-" + string(rune('a'+random.IntN(3)))
		}
		if slices.Contains(tags, tag) {
			continue
		}
		tags = append(tags, tag)
		if p.Matches(tag) == nil {
			candidates++
		}
	}
	return tags, candidates
}

func checkExplained(t *testing.T, p *Policy, tags []string, want string, candidates int) {
	t.Helper()
	d := p.Explain(tags)
	if d.Tag != want || len(d.Verdicts) != len(tags) {
		t.Fatalf("%s: chose %q, explains %q in %d verdicts of %d tags", p, want, d.Tag, len(d.Verdicts), len(tags))
	}
	fit := 0
	for at, v := range d.Verdicts {
		if v.Tag != tags[at] || v.Why == "" || (v.Why == Chosen) != (v.Tag == want) {
			t.Fatalf("%s of %v: verdict %+v, chosen %q", p, tags, v, want)
		}
		switch v.Why {
		case Chosen:
			fit++
		case Beaten, Same:
			fit++
			if newer, err := p.Newer(v.Tag, want); newer || err != nil {
				t.Fatalf("%s of %v: %q beats the chosen %q (%v)", p, tags, v.Tag, want, err)
			}
		}
	}
	if fit != candidates {
		t.Fatalf("%s of %v: %d candidates, want %d", p, tags, fit, candidates)
	}
}

func TestMatchesAndNewer(t *testing.T) {
	t.Parallel()
	p := mustPolicy(t, `^master-[a-f0-9]+-(?P<ts>[0-9]+)`, "$ts", "numerical asc")
	if err := p.Matches("latest"); err == nil || !strings.Contains(err.Error(), "does not match the pattern") {
		t.Errorf("latest: %v", err)
	}
	if err := p.Matches("master-aa-17"); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"master-aa-10", "master-bb-9", true},
		{"master-bb-9", "master-aa-10", false},
		{"master-aa-9", "master-bb-9", false},
		{"master-bb-9", "master-aa-9", false},
	} {
		if got, err := p.Newer(test.a, test.b); got != test.want || err != nil {
			t.Errorf("Newer(%s, %s) = %v, %v", test.a, test.b, got, err)
		}
	}
	if _, err := p.Newer("latest", "master-aa-1"); err == nil {
		t.Error("latest was compared")
	}
}

func TestManyTags(t *testing.T) {
	t.Parallel()
	tags := make([]string, 0, 9000)
	for i := range 9000 {
		tags = append(tags, "v1."+strings.Repeat("1", i%3+1)+"."+string(rune('0'+i%10)))
	}
	got, err := mustPolicy(t, "", "", "semver ^1").Choose(tags)
	if got != "v1.111.9" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
