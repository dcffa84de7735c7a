package render

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// typeKustomize is the component type whose objects come from a Git path.
const typeKustomize = "kustomize"

// Source is where a component's objects come from.
type Source struct {
	URL  string
	Path string
	// Which commit: the first of these that is set counts; none means the repository's
	// default branch.
	Commit, RefName, SemVer, Tag, Branch string

	SecretName      string        // credentials, in the Application's namespace
	PullInterval    time.Duration // how often to poll; default 5 minutes
	Timeout         time.Duration // of one fetch; 0 means the default
	Prune           bool          // delete what leaves the path
	Suspend         bool
	TargetNamespace string
}

const defaultPullInterval = 5 * time.Minute

// SourceOf reads a component's source; nil when its type has none.
func SourceOf(c oam.Component) (*Source, error) {
	if c.Type != typeKustomize {
		return nil, nil
	}
	p := properties{values: c.Properties, path: "properties"}
	if kind := p.text("repoType"); kind != "" && kind != "git" {
		p.fail("repoType", "%q is not supported yet: want git", kind)
	}
	src := &Source{
		URL: p.text("url"), Path: p.text("path"), SecretName: p.text("secretRef"), TargetNamespace: p.text("targetNamespace"),
		PullInterval: p.duration("pullInterval", defaultPullInterval), Timeout: p.duration("timeout", 0),
		Prune: p.flag("prune", true), Suspend: p.flag("suspend", false),
	}
	git := p.object("git")
	src.Branch, src.Tag, src.SemVer = git.text("branch"), git.text("tag"), git.text("semver")
	src.RefName, src.Commit = git.text("name"), git.text("commit")
	p.errs = append(p.errs, git.errs...)
	if src.URL == "" {
		p.fail("url", "is required")
	}
	if src.Path == "" {
		p.fail("path", "is required")
	}
	if len(p.errs) > 0 {
		return nil, &Error{Component: c.Name, Err: errors.New(strings.ReplaceAll(errors.Join(p.errs...).Error(), "\n", "; "))}
	}
	return src, nil
}

// properties reads typed values out of a free object and gathers what is wrong.
type properties struct {
	values map[string]any
	path   string
	errs   []error
}

func (p *properties) fail(field, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s.%s: %s", p.path, field, fmt.Sprintf(format, args...)))
}

func (p *properties) text(field string) string {
	s, ok := p.values[field].(string)
	if !ok && p.values[field] != nil {
		p.fail(field, "%v given, text wanted", p.values[field])
	}
	return s
}

func (p *properties) flag(field string, fallback bool) bool {
	if p.values[field] == nil {
		return fallback
	}
	b, ok := p.values[field].(bool)
	if !ok {
		p.fail(field, "%v given, true or false wanted", p.values[field])
	}
	return b
}

func (p *properties) duration(field string, fallback time.Duration) time.Duration {
	s := p.text(field)
	if s == "" {
		return fallback
	}
	d, err := oam.ParseDuration(s)
	if err != nil {
		p.fail(field, "%v", err)
	}
	return d
}

func (p *properties) object(field string) *properties {
	m, ok := p.values[field].(map[string]any)
	if !ok && p.values[field] != nil {
		p.fail(field, "%v given, an object wanted", p.values[field])
	}
	return &properties{values: m, path: p.path + "." + field}
}
