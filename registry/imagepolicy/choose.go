package imagepolicy

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/tradewind-dev/tradewind/registry"
)

func validTag(tag string) bool { return registry.ValidTag(tag) }

// Why is a reason for which a tag was not chosen.
type Why string

// The reasons. NotANumber fails the whole policy; the others leave one tag out.
const (
	Chosen     Why = "chosen"
	Signature  Why = "a signature of another image"
	NoTag      Why = "not a valid tag"
	NoMatch    Why = "does not match the pattern"
	NotANumber Why = "not a number"
	NoVersion  Why = "not a version with three numbers"
	OutOfRange Why = "outside the range"
	Prerelease Why = "a prerelease, and the range names none"
	Same       Why = "the same value as a later tag"
	Beaten     Why = "another one comes first"
)

// Verdict is what became of a tag.
type Verdict struct {
	Tag   string
	Value string // what was compared; empty for a tag that is no candidate
	Why   Why
}

// Decision is a choice with its reasons.
type Decision struct {
	Tag, Value string
	Err        error     // nil when a tag was chosen
	Verdicts   []Verdict // one for each tag, in the order of the listing
}

// ChoiceError says that a policy chooses none of the tags.
type ChoiceError struct {
	Policy string
	Why    Why    // NotANumber, or empty when no tag is left
	Tag    string // the tag at fault, if it is one
	Value  string
	Tags   int // how many there were
}

func (e *ChoiceError) Error() string {
	switch {
	case e.Why != "" && e.Tag == e.Value:
		return fmt.Sprintf("policy %s: tag %q is %s", e.Policy, e.Tag, e.Why)
	case e.Why != "":
		return fmt.Sprintf("policy %s: %q of tag %q is %s", e.Policy, e.Value, e.Tag, e.Why)
	case e.Tags == 0:
		return fmt.Sprintf("policy %s: there are no tags", e.Policy)
	default:
		return fmt.Sprintf("policy %s: none of %d tags fits", e.Policy, e.Tags)
	}
}

// Hint is what to change.
func (e *ChoiceError) Hint() string {
	if e.Why == NotANumber {
		return "let filterTags.pattern match only tags with a number, and filterTags.extract name its group"
	}
	return "tradewind policy test says for each tag why it does not fit"
}

// candidate is a tag with its value, read as the policy reads it.
type candidate struct {
	at         int // position in the listing
	tag, value string
	number     float64
	version    *semver.Version
}

// read makes a candidate of a tag, or says why it is none.
func (p *Policy) read(tag string) (candidate, Why) {
	value, why := p.value(tag)
	c := candidate{tag: tag, value: value}
	if why != "" {
		return c, why
	}
	switch p.by {
	case byNumerical:
		number, ok := parseNumber(value)
		if !ok {
			return c, NotANumber
		}
		c.number = number
	case bySemver:
		version, err := semver.StrictNewVersion(strings.TrimPrefix(value, "v"))
		if err != nil {
			return c, NoVersion
		}
		c.version = version
		if !p.within.Check(version) {
			if bare, err := version.SetPrerelease(""); err == nil && version.Prerelease() != "" && p.within.Check(&bare) {
				return c, Prerelease
			}
			return c, OutOfRange
		}
	}
	return c, ""
}

// numberGrammar leaves out what a float may be but no tag means: NaN, Inf, hexadecimals.
var numberGrammar = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

func parseNumber(s string) (float64, bool) {
	if !numberGrammar.MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// beats reports whether a is to be chosen rather than b. Of equal ones the later of the
// listing is.
func (p *Policy) beats(a, b candidate) bool {
	order := 0
	switch p.by {
	case byNumerical:
		order = cmp.Compare(a.number, b.number)
		if order == 0 {
			order = compareDigits(a.value, b.value)
		}
	case byAlphabetical:
		order = cmp.Compare(a.value, b.value)
	case bySemver:
		order = a.version.Compare(b.version)
	}
	if p.desc {
		order = -order
	}
	return order > 0 || order == 0 && a.at > b.at
}

// compareDigits tells whole numbers apart that are too long for a float.
func compareDigits(a, b string) int {
	if !allDigits(a) || !allDigits(b) {
		return 0
	}
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func allDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// Choose picks a tag, or fails with a [ChoiceError].
func (p *Policy) Choose(tags []string) (string, error) {
	best, err := p.choose(tags, func(candidate, Why) {})
	return best.tag, err
}

// choose shows every tag to look.
func (p *Policy) choose(tags []string, look func(candidate, Why)) (candidate, error) {
	var best candidate
	var failed error
	found := false
	for at, tag := range tags {
		c, why := p.read(tag)
		c.at = at
		look(c, why)
		switch {
		case why == NotANumber && failed == nil:
			failed = &ChoiceError{Policy: p.String(), Why: why, Tag: tag, Value: c.value, Tags: len(tags)}
		case why == "" && (!found || p.beats(c, best)):
			best, found = c, true
		}
	}
	if failed != nil {
		return candidate{}, failed
	}
	if !found {
		return candidate{}, &ChoiceError{Policy: p.String(), Tags: len(tags)}
	}
	return best, nil
}

// Explain picks a tag and says of each of the others why it was not picked.
func (p *Policy) Explain(tags []string) Decision {
	d := Decision{Verdicts: make([]Verdict, 0, len(tags))}
	last := make(map[string]int, len(tags)) // of a value, its last tag
	best, err := p.choose(tags, func(c candidate, why Why) {
		d.Verdicts = append(d.Verdicts, Verdict{c.tag, c.value, why})
		if why == "" {
			last[c.value] = c.at
		}
	})
	d.Tag, d.Value, d.Err = best.tag, best.value, err
	for at := range d.Verdicts {
		v := &d.Verdicts[at]
		switch {
		case v.Why != "":
		case err == nil && at == best.at:
			v.Why = Chosen
		case last[v.Value] != at:
			v.Why = Same
		default:
			v.Why = Beaten
		}
	}
	return d
}

// Matches is nil for a tag that the policy might choose, and otherwise says why it never
// will.
func (p *Policy) Matches(tag string) error {
	c, why := p.read(tag)
	if why == "" {
		return nil
	}
	return &ChoiceError{Policy: p.String(), Why: why, Tag: tag, Value: cmp.Or(c.value, tag), Tags: 1}
}

// Newer reports whether the policy chooses a rather than b, whatever their order in the
// listing; of equal ones neither is newer.
func (p *Policy) Newer(a, b string) (bool, error) {
	for _, tag := range []string{a, b} {
		if err := p.Matches(tag); err != nil {
			return false, fmt.Errorf("comparing tags: %w", err)
		}
	}
	first, _ := p.read(a)
	second, _ := p.read(b)
	return p.beats(first, second), nil // both at 0: equal ones do not beat each other
}
