package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/sync/files"
)

// The limits of an artifact; those of its files are [files.Limits].
const (
	artifactTimeout = time.Minute
	maxLayer        = 64 << 20  // as it is sent
	maxArtifacts    = 128 << 20 // bytes of files kept in memory
)

// archives are the media types of layers that are tar archives, packed with gzip or not.
var archives = map[string]bool{
	"application/vnd.cncf.flux.content.v1.tar+gzip":     true,
	"application/vnd.oci.image.layer.v1.tar":            true,
	"application/vnd.oci.image.layer.v1.tar+gzip":       true,
	"application/vnd.docker.image.rootfs.diff.tar.gzip": true,
	"application/tar":      true,
	"application/tar+gzip": true,
	"application/x-tar":    true,
	"application/gzip":     true,
}

// Artifact returns the files of an OCI artifact by tag or digest, and the digest of what
// the tag stands for. The files are those of its first layer, an archive, as Flux pushes
// them. What is known by its digest is not read again.
func (c *Client) Artifact(ctx context.Context, image Image, reference string, keys Keychain) (digest string, tree fs.FS, err error) {
	ctx, cancel := context.WithTimeout(ctx, artifactTimeout)
	defer cancel()
	digest = reference
	if !ValidDigest(reference) {
		if digest, err = c.Head(ctx, image, reference, keys); err != nil {
			return "", nil, ofSource(err)
		}
	}
	key := artifactKey{identity{image: image.Key(), cred: keys.of(image).fingerprint()}, digest}
	if known := c.artifacts.get(key); known != nil {
		return digest, known, nil
	}
	layer, err := c.layer(ctx, image, digest, keys)
	if err != nil {
		return "", nil, ofSource(err)
	}
	read, err := c.unpack(ctx, image, layer, keys)
	if err != nil {
		return "", nil, ofSource(err)
	}
	c.artifacts.put(key, read)
	return digest, read, nil
}

// ofSource makes hints name the properties of a source instead of those of a policy.
func ofSource(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.hint = strings.NewReplacer("imageRepository.image", "url", "imageRepository.interval", "pullInterval", "imageRepository.", "").Replace(e.Hint())
	}
	return err
}

// layer is a part of an artifact.
type layer struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// layer finds the one with the files: that of Flux where there is one, or the first.
func (c *Client) layer(ctx context.Context, image Image, digest string, keys Keychain) (layer, error) {
	for depth := 0; ; depth++ {
		r, err := c.manifestRequest("reading", image, digest, keys)
		if err != nil {
			return layer{}, err
		}
		_, body, err := c.fetch(ctx, r)
		if err != nil {
			return layer{}, err
		}
		var m struct {
			manifest

			Layers []layer `json:"layers"`
		}
		if err := json.Unmarshal(body, &m); err != nil {
			return layer{}, r.wrong(Malformed, "its manifest", err)
		}
		if child := m.child(); len(m.Layers) == 0 && child != "" && depth == 0 {
			digest = child
			continue
		}
		if len(m.Layers) == 0 || !ValidDigest(m.Layers[0].Digest) {
			return layer{}, r.wrong(Malformed, "it has no layer with files", nil)
		}
		first := m.Layers[0]
		switch {
		case !archives[first.MediaType]:
			err := r.wrong(Malformed, fmt.Sprintf("its layer is a %.100q, no archive", first.MediaType), nil)
			err.hint = "push the files with: flux push artifact oci://" + image.String() + ":<tag> --path=<folder>"
			return layer{}, err
		case first.Size > maxLayer:
			return layer{}, r.wrong(TooLarge, fmt.Sprintf("a layer of more than %d MiB", maxLayer>>20), nil)
		}
		return first, nil
	}
}

// unpack reads a layer into memory and gives it out only when it has its digest.
func (c *Client) unpack(ctx context.Context, image Image, l layer, keys Keychain) (*files.Tree, error) {
	r := &request{
		op: "reading the files of", image: image, tag: l.Digest, keys: keys,
		method: http.MethodGet, client: c.blobs, url: c.endpoint(image, "/blobs/"+l.Digest),
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	sum := &digester{sha256.New(), io.LimitReader(resp.Body, l.Size+1), 0}
	tree, err := files.ReadTar(sum, l.Size, files.Limits{})
	if wrong, ok := errors.AsType[*files.Error](err); ok {
		out := r.wrong(TooLarge, wrong.Error(), err)
		if wrong.Entry != "" {
			out.Kind = Blocked
		}
		out.hint = "put only files into the artifact: no links, names below its root, and not more than it needs"
		return nil, out
	}
	if err != nil {
		return nil, r.unread(ctx, "its archive", err)
	}
	if sum.read != l.Size || "sha256:"+hex.EncodeToString(sum.Sum(nil)) != l.Digest {
		return nil, r.wrong(Malformed, "its content has another digest", nil)
	}
	return tree, nil
}

// digester counts and sums up what is read.
type digester struct {
	hash.Hash

	from io.Reader
	read int64
}

func (d *digester) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	d.read += int64(n)
	_, _ = d.Write(p[:n]) // a hash takes everything
	return n, err
}

// artifacts keeps the files of the artifacts used last, apart for each credential: what
// one may read is not shown to another.
type artifacts struct {
	mu   sync.Mutex // guards what follows
	kept map[artifactKey]*keptArtifact
	size int64
}

type artifactKey struct {
	identity

	digest string
}

type keptArtifact struct {
	tree *files.Tree
	used time.Time
}

func (a *artifacts) get(key artifactKey) fs.FS {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.kept[key]
	if k == nil {
		return nil
	}
	k.used = time.Now()
	return k.tree
}

// put makes room for a tree among the others; the one not used for the longest time goes.
func (a *artifacts) put(key artifactKey, tree *files.Tree) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept == nil {
		a.kept = map[artifactKey]*keptArtifact{}
	}
	if old := a.kept[key]; old != nil {
		a.size -= old.tree.Size()
	}
	a.kept[key] = &keptArtifact{tree, time.Now()}
	a.size += tree.Size()
	for a.size > maxArtifacts && len(a.kept) > 1 {
		oldest := key
		for k, v := range a.kept {
			if k != key && (oldest == key || v.used.Before(a.kept[oldest].used)) {
				oldest = k
			}
		}
		a.size -= a.kept[oldest].tree.Size()
		delete(a.kept, oldest)
	}
}
