// Package registry is images: their names, and a client that asks a registry which tags
// there are and what a tag stands for. In goes an [Image] from an Application and the
// credentials of a Secret, out come tags and digests, or an [Error] that says whose move
// it is. It is the only package that speaks to a registry.
//
// It promises that every call ends, whatever the other side does: 15 s a request, 1 000
// pages, 200 000 tags and 32 MiB a listing. It promises that a credential reaches only
// the host it belongs to. It refuses private addresses that are not configured, plain
// HTTP, and redirects that lead elsewhere.
package registry

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Image is the name of a repository in a registry, without a tag.
type Image struct {
	// Host and Repo are canonical: the image "nginx" is docker.io and library/nginx.
	Host, Repo string

	written string
}

// dockerHub is the host of names that have none.
const dockerHub = "docker.io"

// dockerHubNames are the names under which Docker Hub is known.
var dockerHubNames = map[string]bool{
	dockerHub: true, "index.docker.io": true, "registry-1.docker.io": true, "registry.hub.docker.com": true,
}

var (
	hostGrammar   = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$`)
	repoGrammar   = regexp.MustCompile(`^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	digestGrammar = regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
)

// maxName is the longest host and repository that registries agree on.
const maxName = 255

// ValidTag reports whether tag follows the grammar of the OCI distribution specification.
func ValidTag(tag string) bool { return tagGrammar.MatchString(tag) }

// ValidDigest reports whether digest is a SHA-256 or SHA-512 digest, algorithm included.
func ValidDigest(digest string) bool { return digestGrammar.MatchString(digest) }

// NameError is a text that is no name of an image.
type NameError struct{ Given, Reason, Next string }

func (e *NameError) Error() string { return fmt.Sprintf("%q is not an image: %s", e.Given, e.Reason) }

// Hint is what to write instead.
func (e *NameError) Hint() string { return e.Next }

// ParseImage reads the name of a repository: ghcr.io/acme/shop, or nginx for one of
// Docker Hub's own.
func ParseImage(s string) (Image, error) {
	ref, err := ParseReference(s)
	if err != nil {
		return Image{}, err
	}
	if ref.Tag != "" || ref.Digest != "" {
		return Image{}, &NameError{s, "it has a tag or a digest", "leave them out: write " + ref.Image.String()}
	}
	return ref.Image, nil
}

// String is the name as it was written, so that files keep the user's spelling.
func (i Image) String() string {
	if i.written != "" {
		return i.written
	}
	return i.Key()
}

// Key is the canonical name; two spellings of one repository share it.
func (i Image) Key() string { return i.Host + "/" + i.Repo }

// Registry is the canonical host.
func (i Image) Registry() string { return i.Host }

// Reference is an image with what picks one of its versions.
type Reference struct {
	Image       Image
	Tag, Digest string // either may be empty
}

// String is image:tag@digest, without the parts that are empty.
func (r Reference) String() string {
	out := r.Image.String()
	if r.Tag != "" {
		out += ":" + r.Tag
	}
	if r.Digest != "" {
		out += "@" + r.Digest
	}
	return out
}

// ParseReference reads image[:tag][@digest].
func ParseReference(s string) (Reference, error) {
	var ref Reference
	name, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if !ValidDigest(digest) {
			return Reference{}, &NameError{s, "its digest is malformed", "a digest is sha256: and 64 hexadecimal digits"}
		}
		ref.Digest = digest
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		if ref.Tag = name[colon+1:]; !ValidTag(ref.Tag) {
			return Reference{}, &NameError{s, "its tag is malformed", "a tag is up to 128 letters, digits, dots, dashes and underscores"}
		}
		name = name[:colon]
	}
	image, err := parseName(name)
	if err != nil {
		err.Given = s
		return Reference{}, err
	}
	ref.Image = image
	return ref, nil
}

func parseName(name string) (Image, *NameError) {
	if strings.Contains(name, "://") {
		_, rest, _ := strings.Cut(name, "://")
		return Image{}, &NameError{name, "it is a URL", "leave the scheme out: write " + rest}
	}
	host, repo, found := strings.Cut(name, "/")
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, repo = dockerHub, name
	}
	host = strings.ToLower(host)
	if dockerHubNames[host] {
		host = dockerHub
		if !strings.Contains(repo, "/") {
			repo = "library/" + repo
		}
	}
	switch {
	case !hostGrammar.MatchString(host) || !hostParses(host):
		return Image{}, &NameError{name, "its host is malformed", "write host/repository, such as ghcr.io/acme/shop"}
	case strings.ToLower(repo) != repo:
		return Image{}, &NameError{name, "repositories are lower case", "write " + strings.ToLower(name)}
	case !repoGrammar.MatchString(repo):
		return Image{}, &NameError{name, "its repository is malformed", "write host/repository, such as ghcr.io/acme/shop"}
	case len(host)+len(repo) >= maxName:
		return Image{}, &NameError{name, "it is too long", fmt.Sprintf("host and repository have at most %d characters", maxName)}
	}
	return Image{Host: host, Repo: repo, written: name}, nil
}

func hostParses(host string) bool {
	u, err := url.Parse("https://" + host + "/")
	return err == nil && u.Host == host && u.Hostname() != ""
}
