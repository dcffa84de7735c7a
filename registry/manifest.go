package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// accepted are the manifests a tag may stand for.
var accepted = []string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
}

// Head asks what a tag stands for: one HEAD request. An absent tag is an [Error] of kind
// [NotFound].
func (c *Client) Head(ctx context.Context, image Image, tag string, keys Keychain) (string, error) {
	r, err := c.manifestRequest("looking up", image, tag, keys)
	if err != nil {
		return "", err
	}
	r.method = http.MethodHead
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.do(ctx, r)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	digest := resp.Header.Get("Docker-Content-Digest")
	if digest == "" {
		// The specification lets a registry leave the header out; then we count ourselves.
		r.method = http.MethodGet
		digest, _, err = c.fetch(ctx, r)
		return digest, err
	}
	if !ValidDigest(digest) {
		return "", r.wrong(Malformed, "its digest", nil)
	}
	return digest, nil
}

func (c *Client) manifestRequest(op string, image Image, ref string, keys Keychain) (*request, error) {
	r := &request{op: op, image: image, tag: ref, keys: keys, method: http.MethodGet, client: c.strict}
	if !ValidTag(ref) && !ValidDigest(ref) {
		r.tag = ""
		return nil, r.wrong(Blocked, fmt.Sprintf("%.140q is neither a tag nor a digest", ref), nil)
	}
	r.url = c.endpoint(image, "/manifests/"+ref)
	r.header = http.Header{"Accept": {strings.Join(accepted, ", ")}}
	return r, nil
}

// fetch gets a small thing whole. What was asked for by digest has that digest.
func (c *Client) fetch(ctx context.Context, r *request) (digest string, body []byte, err error) {
	resp, err := c.do(ctx, r)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return "", nil, r.unread(ctx, "its answer", err)
	}
	if len(body) > maxManifest {
		return "", nil, r.wrong(TooLarge, fmt.Sprintf("more than %d MiB", maxManifest>>20), nil)
	}
	hash, _, err := v1.SHA256(bytes.NewReader(body))
	if err != nil {
		return "", nil, r.wrong(Malformed, "its answer", err)
	}
	if strings.HasPrefix(r.tag, "sha256:") && r.tag != hash.String() {
		return "", nil, r.wrong(Malformed, "its answer has another digest", nil)
	}
	return hash.String(), body, nil
}

// The labels and annotations that name the commit an image was built from, and where that
// is.
const (
	revisionKey = "org.opencontainers.image.revision"
	sourceKey   = "org.opencontainers.image.source"
)

var commitGrammar = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// Origin is what an image says of where it comes from. Anybody who can push an image can
// say anything.
type Origin struct {
	Commit string // in lower case, maybe short; empty when it is not said
	Source string // URL of the repository; empty when it is not said, or not a URL
}

// or adds what other says of the same.
func (o Origin) or(other Origin) Origin {
	if o.Commit != "" && other.Commit != "" && o.Commit != other.Commit {
		return o
	}
	return Origin{cmp.Or(o.Commit, other.Commit), cmp.Or(o.Source, other.Source)}
}

// Origin reads where an image comes from.
func (c *Client) Origin(ctx context.Context, image Image, tagOrDigest string, keys Keychain) (Origin, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	look, said := manifest{}, Origin{}
	for depth := 0; ; depth++ {
		r, err := c.manifestRequest("reading the labels of", image, tagOrDigest, keys)
		if err != nil {
			return Origin{}, err
		}
		_, body, err := c.fetch(ctx, r)
		if err != nil {
			return Origin{}, err
		}
		look = manifest{}
		if err := json.Unmarshal(body, &look); err != nil {
			return Origin{}, r.wrong(Malformed, "its manifest", err)
		}
		if said = said.or(originOf(look.Annotations)); said.Commit != "" && said.Source != "" {
			return said, nil
		}
		child := look.child()
		if child == "" || depth > 0 { // an index of indexes has no image to ask
			break
		}
		tagOrDigest = child
	}
	labels, err := c.labels(ctx, image, look.Config.Digest, keys)
	return said.or(originOf(labels)), err
}

// labels reads the configuration of an image.
func (c *Client) labels(ctx context.Context, image Image, digest string, keys Keychain) (map[string]string, error) {
	if !ValidDigest(digest) {
		return nil, nil // not an image of a container
	}
	r := &request{
		op: "reading the labels of", image: image, tag: digest, keys: keys,
		method: http.MethodGet, client: c.blobs, url: c.endpoint(image, "/blobs/"+digest),
	}
	_, body, err := c.fetch(ctx, r)
	if err != nil {
		return nil, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(body))
	if err != nil {
		return nil, r.wrong(Malformed, "its configuration", err)
	}
	return config.Config.Labels, nil
}

// maxSource bounds a URL that ends up in a status.
const maxSource = 256

func originOf(labels map[string]string) Origin {
	o := Origin{Commit: strings.ToLower(strings.TrimSpace(labels[revisionKey])), Source: strings.TrimSpace(labels[sourceKey])}
	if !commitGrammar.MatchString(o.Commit) {
		o.Commit = ""
	}
	if u, err := url.Parse(o.Source); err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || len(o.Source) > maxSource {
		o.Source = ""
	}
	return o
}

// manifest is what index and image manifests have of interest to us.
type manifest struct {
	Annotations map[string]string `json:"annotations"`
	Config      struct {
		Digest string `json:"digest"`
	} `json:"config"`
	Manifests []struct {
		Digest   string `json:"digest"`
		Platform struct {
			OS           string `json:"os"`
			Architecture string `json:"architecture"`
		} `json:"platform"`
	} `json:"manifests"`
}

// child is the digest of the image of an index that stands for all of it: that for the
// most common platform, or the first. Attestations have no platform.
func (m manifest) child() string {
	first := ""
	for _, c := range m.Manifests {
		switch {
		case !ValidDigest(c.Digest) || c.Platform.OS == "unknown":
		case c.Platform.OS == "linux" && c.Platform.Architecture == "amd64":
			return c.Digest
		case first == "":
			first = c.Digest
		}
	}
	return first
}
