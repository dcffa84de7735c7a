// Package imagepolicy chooses a tag: in go the tags of an image, out comes the one that
// the policy of a component wants, with the reason why each of the others is not it. It
// is pure: no network, no clock.
//
// It promises that a choice depends on the set of tags only, except where two of them
// are equal to the policy: then the later one of the listing is taken. It refuses to
// guess: a tag that the policy cannot read as a number fails the policy instead of
// being skipped, and without any tag that fits there is no choice.
package imagepolicy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Policy is a rule for choosing a tag.
type Policy struct {
	pattern *regexp.Regexp // nil takes every tag
	extract string         // what to compare of a tag; empty takes all of it
	by      order
	desc    bool
	within  *semver.Constraints
	written string // the range as written
}

type order string

const (
	bySemver       order = "semver"
	byAlphabetical order = "alphabetical"
	byNumerical    order = "numerical"
)

// The values of order. Ascending means that the last one, the greatest, is taken.
const (
	asc  = "asc"
	desc = "desc"
)

// maxPattern bounds regular expressions: they are run on every tag.
const maxPattern = 4096

// ParsePolicy reads filterTags and policy of an imageRepository.
func ParsePolicy(imageRepository map[string]any) (*Policy, error) {
	return readPolicy(&fields{at: "imageRepository", left: imageRepository})
}

func readPolicy(block *fields) (*Policy, error) {
	p := &Policy{}
	filter, rule := block.object("filterTags"), block.object("policy")
	if err := p.readFilter(filter); err != nil {
		return nil, err
	}
	if rule == nil {
		block.fail("policy", "it is missing", "set one of policy.numerical, policy.alphabetical and policy.semver")
		return nil, block.err
	}
	// Several may be set; upstream takes them in this order.
	version, alphabetical, numerical := rule.object("semver"), rule.object("alphabetical"), rule.object("numerical")
	for _, r := range []*fields{alphabetical, numerical} {
		if r != nil {
			r.oneOf("order", asc, desc)
		}
	}
	switch {
	case version != nil:
		p.by = bySemver
		p.written = version.required("range")
		within, err := semver.NewConstraint(p.written)
		version.check(err == nil, "range", fmt.Sprintf("%q is not a range of versions", p.written), "write it as ^1.2, >=1.0.0 <2.0.0 or 1.x")
		p.within = within
	case alphabetical != nil:
		p.by, p.desc = byAlphabetical, alphabetical.text("order") == desc
	case numerical != nil:
		p.by, p.desc = byNumerical, numerical.text("order") == desc
	case len(rule.left) == 0:
		block.fail("policy", "it is empty", "set one of numerical, alphabetical and semver, such as numerical: {order: asc}")
	}
	if err := firstOf(version.unknown(), alphabetical.unknown(), numerical.unknown(), rule.unknown(), block); err != nil {
		return nil, err
	}
	if p.by == "" {
		rule.fail("semver", "it is missing", "set one of numerical, alphabetical and semver")
		return nil, rule.err
	}
	return p, nil
}

func (p *Policy) readFilter(f *fields) error {
	if f == nil {
		return nil
	}
	pattern := f.text("pattern")
	p.extract = f.text("extract")
	f.check(len(pattern) <= maxPattern, "pattern", fmt.Sprintf("it is longer than %d bytes", maxPattern), "shorten it")
	f.check(pattern != "" || p.extract == "", "extract", "it needs filterTags.pattern", "write a pattern with a group, such as ^main-(?P<ts>[0-9]+)$")
	if pattern != "" && f.err == nil {
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			f.fail("pattern", strings.TrimPrefix(err.Error(), "error parsing regexp: "), "it is a Go regular expression (RE2): no look-around, named groups as (?P<ts>[0-9]+)")
		}
		p.pattern = compiled
	}
	return firstOf(f.unknown())
}

// String says the rule in a few words.
func (p *Policy) String() string {
	var b strings.Builder
	b.WriteString(string(p.by))
	switch {
	case p.by == bySemver:
		fmt.Fprintf(&b, " %s", p.written)
	case p.desc:
		b.WriteString(" " + desc)
	default:
		b.WriteString(" " + asc)
	}
	if p.extract != "" {
		b.WriteString(" of " + p.extract)
	}
	if p.pattern != nil {
		fmt.Fprintf(&b, " where tags match %s", p.pattern)
	}
	return b.String()
}

// value is what the policy compares of a tag, or why the tag is no candidate.
func (p *Policy) value(tag string) (value string, why Why) {
	switch {
	case strings.HasSuffix(tag, ".sig"):
		return "", Signature
	case !validTag(tag):
		return "", NoTag
	case p.pattern == nil:
		return tag, ""
	}
	match := p.pattern.FindStringSubmatchIndex(tag)
	switch {
	case match == nil:
		return "", NoMatch
	case p.extract == "":
		return tag, ""
	}
	return string(p.pattern.ExpandString(nil, p.extract, tag, match)), ""
}
