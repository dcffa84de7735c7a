package git

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
)

// Ref is what a user wants of a repository. When several fields are set, the first of
// Commit, Name, SemVer, Tag, Branch counts; when none is, the branch the remote's HEAD
// names.
type Ref struct {
	Branch string // short name
	Tag    string // short name
	Name   string // full name, refs/…
	Commit string // full id
	SemVer string // range over tags, the highest wins
}

const (
	branchPrefix = "refs/heads/"
	tagPrefix    = "refs/tags/"
	headRef      = "HEAD"
)

// String is the full name of the ref; for a commit its id, for a version range
// "semver:" and the range.
func (r Ref) String() string {
	switch {
	case r.Commit != "":
		return r.Commit
	case r.Name != "":
		return r.Name
	case r.SemVer != "":
		return "semver:" + r.SemVer
	case r.Tag != "":
		return tagPrefix + r.Tag
	case r.Branch != "":
		return branchPrefix + r.Branch
	}
	return headRef
}

var fullID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Validate refuses what no repository can have.
func (r Ref) Validate() error {
	switch {
	case r.Commit != "":
		if !fullID.MatchString(r.Commit) {
			return &refsError{fmt.Sprintf("commit %q is not a full id", r.Commit), "write all 40 hex digits, in lower case"}
		}
	case r.SemVer != "" && r.Name == "":
		if _, err := semver.NewConstraint(r.SemVer); err != nil {
			return &refsError{fmt.Sprintf("semver range %q does not parse", r.SemVer), "write a range such as >=1.2.0 <2.0.0 or ^1.2"}
		}
	default:
		name := plumbing.ReferenceName(r.String())
		if name == headRef {
			return nil
		}
		if name.Validate() != nil || !strings.HasPrefix(string(name), "refs/") || strings.Contains(string(name), "..") {
			return &refsError{fmt.Sprintf("ref %q is not a name Git accepts", string(name)), "write the branch or tag as the forge shows it"}
		}
	}
	return nil
}

// refsError says that a ref, or a list of them, is not acceptable.
type refsError struct{ reason, hint string }

func (e *refsError) Error() string { return e.reason }
func (e *refsError) Hint() string  { return e.hint }

// Head is where a ref stands.
type Head struct {
	Ref    string // full name; empty when a commit was asked for
	Commit Commit

	want objects.ID // what a server is asked for: the tag object of an annotated tag
}

// Refs is one listing of a repository.
type Refs struct {
	repo   string
	head   string // full name of the branch HEAD names; may be empty
	byName map[string]listed
	caps   *capability.List
}

type listed struct{ want, commit objects.ID }

func newRefs(repo string, adv *packp.AdvRefs, limit int) (Refs, error) {
	r := Refs{repo: repo, byName: make(map[string]listed, len(adv.References)), caps: adv.Capabilities}
	if len(adv.References) > limit {
		return r, &refsError{fmt.Sprintf("the repository has more than %d refs", limit), "remove refs that nobody needs"}
	}
	if format := adv.Capabilities.Get(capability.Capability("object-format")); len(format) > 0 && format[0] != "sha1" {
		return r, &refsError{fmt.Sprintf("the repository uses %q object ids, which are not supported", clip(format[0])), "use a repository with SHA-1 ids"}
	}
	for name, id := range adv.References {
		commit := id
		if peeled, ok := adv.Peeled[name]; ok {
			commit = peeled
		}
		r.byName[name] = listed{id, commit}
	}
	r.head = r.headBranch(adv)
	return r, nil
}

// RefsOf is a listing made by hand, for whoever stands in for a repository: head is the
// default branch, refs are full names.
func RefsOf(repo, head string, refs map[string]Commit) Refs {
	r := Refs{repo: repo, head: head, byName: make(map[string]listed, len(refs)), caps: capability.NewList()}
	for name, commit := range refs {
		id := plumbing.NewHash(string(commit))
		r.byName[name] = listed{id, id}
	}
	return r
}

// headBranch reads the symref capability; servers without it get Git's own guess.
func (r Refs) headBranch(adv *packp.AdvRefs) string {
	for _, s := range adv.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(s, headRef+":"); ok {
			return target
		}
	}
	if adv.Head == nil {
		return ""
	}
	for _, name := range slices.Concat([]string{branchPrefix + "main", branchPrefix + "master"}, r.names(branchPrefix)) {
		if l, ok := r.byName[name]; ok && l.want == *adv.Head {
			return name
		}
	}
	return ""
}

// names lists refs with a prefix, sorted.
func (r Refs) names(prefix string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range maps.Keys(r.byName) {
			if strings.HasPrefix(name, prefix) && !yield(name) {
				return
			}
		}
	})
}

// Resolve says where ref stands in this listing. A commit stands where it says.
func (r Refs) Resolve(ref Ref) (Head, error) {
	if err := ref.Validate(); err != nil {
		return Head{}, newError("listing", Source{}, r.repo, err)
	}
	switch {
	case ref.Commit != "":
		return Head{Commit: Commit(ref.Commit), want: plumbing.NewHash(ref.Commit)}, nil
	case ref.Name == "" && ref.SemVer != "":
		return r.highest(ref.SemVer)
	case ref.String() == headRef:
		if r.head == "" {
			return Head{}, r.notFound("the repository has no default branch")
		}
		return r.at(r.head)
	}
	return r.at(ref.String())
}

func (r Refs) at(name string) (Head, error) {
	l, ok := r.byName[name]
	if !ok {
		kind, short := "ref", name
		if s, ok := strings.CutPrefix(name, branchPrefix); ok {
			kind, short = "branch", s
		} else if s, ok := strings.CutPrefix(name, tagPrefix); ok {
			kind, short = "tag", s
		}
		return Head{}, r.notFound(fmt.Sprintf("there is no %s %q", kind, short))
	}
	return Head{Ref: name, Commit: Commit(l.commit.String()), want: l.want}, nil
}

// highest finds the highest version in a range. Tags need three numbers, a leading v is
// allowed; of two tags for one version the later name wins, so that the choice is stable.
func (r Refs) highest(expr string) (Head, error) {
	within, err := semver.NewConstraint(expr)
	if err != nil {
		return Head{}, newError("listing", Source{}, r.repo, &refsError{fmt.Sprintf("semver range %q does not parse", expr), ""})
	}
	var best *semver.Version
	var name string
	for _, tag := range r.names(tagPrefix) {
		v, err := semver.StrictNewVersion(strings.TrimPrefix(strings.TrimPrefix(tag, tagPrefix), "v"))
		if err != nil || !within.Check(v) {
			continue
		}
		if best == nil || v.Compare(best) >= 0 {
			best, name = v, tag
		}
	}
	if best == nil {
		return Head{}, r.notFound(fmt.Sprintf("no tag is in the range %q", expr))
	}
	return r.at(name)
}

// has reports whether a ref stands at id.
func (r Refs) has(id objects.ID) bool {
	for _, l := range r.byName {
		if l.want == id {
			return true
		}
	}
	return false
}

func (r Refs) noCommit(ref Ref, branch string) error {
	e := &Error{Op: "fetching", Repo: r.repo, Kind: ErrRefNotFound, Reason: "there is no commit " + ref.Commit}
	if branch != "" {
		e.Reason = fmt.Sprintf("commit %s is not in the history of %s", ref.Commit, clip(branch))
		e.hint = "name the branch it is on beside the commit; the server gives out commits only through branches"
	}
	return e
}

// shownBranches is how many branches a hint offers.
const shownBranches = 5

func (r Refs) notFound(reason string) error {
	e := &Error{Op: "listing", Repo: r.repo, Kind: ErrRefNotFound, Reason: reason}
	branches := r.names(branchPrefix)
	if len(branches) == 0 {
		e.hint = "the repository has no branches yet; push one"
		return e
	}
	var shown []string
	for _, b := range branches[:min(len(branches), shownBranches)] {
		shown = append(shown, fmt.Sprintf("%q", clip(strings.TrimPrefix(b, branchPrefix))))
	}
	e.hint = "branches there are: " + strings.Join(shown, ", ")
	if len(branches) > shownBranches {
		e.hint += fmt.Sprintf(" and %d more", len(branches)-shownBranches)
	}
	return e
}

// clip keeps what a repository wrote from filling a message.
func clip(s string) string { return s[:min(len(s), 100)] }
