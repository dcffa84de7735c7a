package render

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// typeKustomize is the component type whose objects come from a Git path.
const typeKustomize = "kustomize"

// Source is where a component's objects come from.
type Source struct {
	Type string // SourceGit, SourceOCI or SourceBucket
	URL  string
	Path string
	// Which commit: the first of these that is set counts; none means the repository's
	// default branch.
	Commit, RefName, SemVer, Tag, Branch string
	Artifact                             ArtifactRef // of SourceOCI
	Bucket                               BucketRef   // of SourceBucket

	SecretName      string        // credentials, in the Application's namespace
	PullInterval    time.Duration // how often to poll; default 5 minutes
	Timeout         time.Duration // of one fetch; 0 means the default
	Prune           bool          // delete what leaves the path
	Suspend         bool
	Force           bool // delete and create anew what cannot be changed
	TargetNamespace string
	Decryption      *Decryption // nil when files are read as they are
}

// The types of sources, as repoType has them.
const (
	SourceGit    = "git"
	SourceOCI    = "oci"
	SourceBucket = "oss"
)

// ArtifactRef says which version of an OCI artifact: the first of these that is set
// counts, none means the tag latest.
type ArtifactRef struct{ Digest, SemVer, Tag string }

// String is the reference as it was written.
func (r ArtifactRef) String() string { return cmp.Or(r.Digest, r.SemVer, r.Tag, latest) }

const latest = "latest"

// BucketRef is a bucket of the object store at the source's URL.
type BucketRef struct {
	Name     string
	Provider string // "generic" or "aws"
	Region   string
}

// Decryption names the Secret with the keys for files that were encrypted with SOPS.
type Decryption struct{ SecretName string }

const defaultPullInterval = 5 * time.Minute

// SourceOf reads a component's source; nil when its type has none. What is wrong with it
// is one error that names every property, what was given and what is wanted.
func SourceOf(c oam.Component) (*Source, error) {
	if c.Type != typeKustomize {
		return nil, nil
	}
	p := properties{values: c.Properties, path: "properties"}
	src := &Source{
		Type: p.choice("repoType", SourceGit, SourceOCI, SourceBucket), URL: p.required("url"), Path: p.required("path"),
		SecretName: p.text("secretRef"), TargetNamespace: p.text("targetNamespace"),
		PullInterval: p.duration("pullInterval", defaultPullInterval, oam.ParseDuration), Timeout: p.duration("timeout", 0, oam.ParseTimeout),
		Prune: p.flag("prune", true), Suspend: p.flag("suspend", false), Force: p.flag("force", false),
	}
	if p.values["sourceName"] != nil {
		p.fail("sourceName", "is not supported: write url and git here")
	}
	src.readGit(&p)
	src.readElsewhere(&p)
	src.readDecryption(&p)
	if len(p.errs) > 0 {
		return nil, &Error{Component: c.Name, Err: errors.New(strings.Join(p.errs, "; "))}
	}
	return src, nil
}

func (src *Source) readGit(p *properties) {
	git := p.object("git")
	src.Branch, src.Tag, src.SemVer = git.text("branch"), git.text("tag"), git.text("semver")
	src.RefName, src.Commit = git.text("name"), git.text("commit")
	p.errs = append(p.errs, git.errs...)
}

// readElsewhere reads the blocks of sources that are not Git.
func (src *Source) readElsewhere(p *properties) {
	switch src.Type {
	case SourceOCI:
		oci := p.object("oci")
		src.Artifact = ArtifactRef{Digest: oci.text("digest"), SemVer: oci.text("semver"), Tag: oci.text("tag")}
		oci.choice("provider", "generic")
		if src.URL != "" && !strings.HasPrefix(src.URL, ociScheme) {
			p.fail("url", "%q: want oci://host/repository", src.URL)
		}
		p.errs = append(p.errs, oci.errs...)
	case SourceBucket:
		oss := p.object("oss")
		src.Bucket = BucketRef{Name: oss.required("bucketName"), Provider: oss.choice("provider", "generic", "aws"), Region: oss.text("region")}
		p.errs = append(p.errs, oss.errs...)
	}
}

const ociScheme = "oci://"

// Image is the repository of an OCI artifact, as registries name it.
func (src *Source) Image() string { return strings.TrimPrefix(src.URL, ociScheme) }

func (src *Source) readDecryption(p *properties) {
	if p.values["decryption"] == nil {
		return
	}
	block := p.object("decryption")
	block.choice("provider", "sops")
	secret := block.object("secretRef")
	src.Decryption = &Decryption{SecretName: secret.required("name")}
	p.errs = append(append(p.errs, block.errs...), secret.errs...)
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

// choice reads one of a few texts; the first stands for none.
func (p *properties) choice(field string, known ...string) string {
	s := p.text(field)
	if s == "" {
		return known[0]
	}
	if !slices.Contains(known, s) {
		p.fail(field, "%q is not supported: want %s", s, strings.Join(known, " or "))
	}
	return s
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
