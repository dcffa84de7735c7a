package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
)

// TypeArtifactPublished says that a tag of an image was pushed; Data is an
// [ArtifactPublished].
const TypeArtifactPublished Type = "dev.tradewind.artifact.published"

// Types lists every type in use.
func Types() []Type { return []Type{TypeSourcePushed, TypeArtifactPublished} }

// ArtifactPublished is the payload of [TypeArtifactPublished].
type ArtifactPublished struct {
	// Images holds the canonical key ([ImageKey]) of every address the sender gave for
	// the image; a policy matches when its own image has one of these keys.
	Images []string `json:"images"`
	// Tag is what was pushed. Without one the event says nothing that a policy could use.
	Tag string `json:"tag"`
	// Digest is what the sender says the tag stands for, "sha256:…"; empty when unknown.
	Digest string `json:"digest,omitempty"`
	// Pusher is the sender's word for who did it; informational.
	Pusher string `json:"pusher,omitempty"`
}

// Published decodes the payload of a [TypeArtifactPublished] event.
func (e Event) Published() (ArtifactPublished, error) {
	var p ArtifactPublished
	if e.Type != TypeArtifactPublished {
		return p, fmt.Errorf("event %s has type %q, not %q", e.ID, e.Type, TypeArtifactPublished)
	}
	if err := json.Unmarshal(e.Data, &p); err != nil {
		return p, fmt.Errorf("decoding event %s: %w", e.ID, err)
	}
	return p, nil
}

const (
	dockerHub   = "index.docker.io"
	maxImage    = 512 // bytes of an image's name with its host
	maxImageRef = maxImage + 1 + 128 + 1 + 136
)

var (
	imagePath   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	imageTag    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	imageDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$|^sha512:[0-9a-f]{128}$`)
	hexTag      = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64,128}`)
)

// ValidImageTag says whether tag is one by the grammar of OCI, and no digest in disguise
// (as signatures and attestations are stored).
func ValidImageTag(tag string) bool { return imageTag.MatchString(tag) && !hexTag.MatchString(tag) }

// ValidDigest says whether digest is one by the grammar of OCI.
func ValidDigest(digest string) bool { return imageDigest.MatchString(digest) }

// ImageKey returns the one spelling under which the names of an image are compared: host
// in lower case, a port where it is not that of https, Docker Hub's names with theirs
// written out, no tag and no digest. As with [RepoKey], keys are only ever compared.
func ImageKey(ref string) (string, error) {
	name, _, _, err := SplitImage(ref)
	return name, err
}

// SplitImage takes a reference apart: the image's key, and tag and digest where it has
// them.
func SplitImage(ref string) (key, tag, digest string, err error) {
	if len(ref) > maxImageRef {
		return "", "", "", fmt.Errorf("the image reference is longer than %d bytes", maxImageRef)
	}
	rest := strings.TrimPrefix(strings.Trim(ref, " "), "oci://")
	if rest == "" || strings.Contains(rest, "://") {
		return "", "", "", errors.New("the image reference is empty or a URL: want host/path:tag")
	}
	rest, digest, _ = strings.Cut(rest, "@")
	if digest != "" && !imageDigest.MatchString(digest) {
		return "", "", "", errors.New("the image reference has a digest that is none")
	}
	if at := strings.LastIndexByte(rest, ':'); at > strings.LastIndexByte(rest, '/') && at >= 0 {
		rest, tag = rest[:at], rest[at+1:]
		if tag != "" && !imageTag.MatchString(tag) { // GHCR ends untagged references in a colon
			return "", "", "", errors.New("the image reference has a tag that is none")
		}
	}
	key, err = imageName(rest)
	return key, tag, digest, err
}

func imageName(name string) (string, error) {
	host, path, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, path = dockerHub, name // as Docker reads it
	}
	host, err := imageHost(host)
	if err != nil {
		return "", err
	}
	if path = strings.ToLower(path); host == dockerHub && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	if len(host)+1+len(path) > maxImage || !imagePath.MatchString(path) {
		return "", errors.New("the image reference has a path that no registry takes")
	}
	return host + "/" + path, nil
}

func imageHost(host string) (string, error) {
	name, port := host, ""
	if h, p, err := net.SplitHostPort(host); err == nil {
		name, port = h, p
	}
	port, err := cleanPort("https", port)
	if err != nil {
		return "", errors.New("the image reference has a port that is not from 1 to 65535")
	}
	if name, err = cleanHost(strings.Trim(name, "[]")); err != nil {
		return "", errors.New("the image reference has no valid host name")
	}
	switch name {
	case "docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		name = dockerHub
	}
	if addr, err := netip.ParseAddr(name); err == nil && addr.Is6() {
		name = "[" + name + "]"
	}
	if port != "" {
		name += ":" + port
	}
	return name, nil
}
