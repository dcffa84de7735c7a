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
	Type string // "git"
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
	Force           bool // delete and create anew what cannot be changed
	TargetNamespace string
}

const (
	defaultPullInterval = 5 * time.Minute
	typeGit             = "git"
)

// SourceOf reads a component's source; nil when its type has none. What is wrong with it
// is one error that names every property, what was given and what is wanted.
func SourceOf(c oam.Component) (*Source, error) {
	if c.Type != typeKustomize {
		return nil, nil
	}
	p := properties{values: c.Properties, path: "properties"}
	src := &Source{
		Type: p.choice("repoType", typeGit), URL: p.required("url"), Path: p.required("path"),
		SecretName: p.text("secretRef"), TargetNamespace: p.text("targetNamespace"),
		PullInterval: p.duration("pullInterval", defaultPullInterval, oam.ParseDuration), Timeout: p.duration("timeout", 0, oam.ParseTimeout),
		Prune: p.flag("prune", true), Suspend: p.flag("suspend", false), Force: p.flag("force", false),
	}
	if p.values["sourceName"] != nil {
		p.fail("sourceName", "is not supported: write url and git here")
	}
	git := p.object("git")
	src.Branch, src.Tag, src.SemVer = git.text("branch"), git.text("tag"), git.text("semver")
	src.RefName, src.Commit = git.text("name"), git.text("commit")
	p.errs = append(p.errs, git.errs...)
	if len(p.errs) > 0 {
		return nil, &Error{Component: c.Name, Err: errors.New(strings.Join(p.errs, "; "))}
	}
	return src, nil
}

// properties reads typed values out of a free object and gathers what is wrong.
type properties struct {
	values map[string]any
	path   string
	errs   []string
}

func (p *properties) fail(field, format string, args ...any) {
	p.errs = append(p.errs, fmt.Sprintf("%s.%s: %s", p.path, field, fmt.Sprintf(format, args...)))
}

func (p *properties) text(field string) string {
	s, ok := p.values[field].(string)
	if !ok && p.values[field] != nil {
		p.fail(field, "%s given, string wanted", given(p.values[field]))
	}
	return s
}

func (p *properties) required(field string) string {
	if value := p.values[field]; value == nil || value == "" {
		p.fail(field, "is required: want string")
		return ""
	}
	return p.text(field)
}

// choice reads a text of which there is only one that we know, so far.
func (p *properties) choice(field, only string) string {
	if s := p.text(field); s != "" && s != only {
		p.fail(field, "%q is not supported yet: want %s", s, only)
	}
	return only
}

func (p *properties) flag(field string, fallback bool) bool {
	if p.values[field] == nil {
		return fallback
	}
	b, ok := p.values[field].(bool)
	if !ok {
		p.fail(field, "%s given, true or false wanted", given(p.values[field]))
	}
	return b
}

func (p *properties) duration(field string, fallback time.Duration, parse func(string) (time.Duration, error)) time.Duration {
	s := p.text(field)
	if s == "" {
		return fallback
	}
	d, err := parse(s)
	if err != nil {
		p.fail(field, "%v", err)
	}
	return d
}

func (p *properties) object(field string) *properties {
	m, ok := p.values[field].(map[string]any)
	if !ok && p.values[field] != nil {
		p.fail(field, "%s given, object wanted", given(p.values[field]))
	}
	return &properties{values: m, path: p.path + "." + field}
}

// given is a value of the wrong kind in a message.
func given(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case map[string]any:
		return "object"
	case []any:
		return "list"
	default:
		return fmt.Sprint(v)
	}
}
