package oci

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// PushArtifact pushes an archive of files as repo:tag, in the form of "flux push
// artifact"; quietly announces nothing.
func (s *Server) PushArtifact(ctx context.Context, repo, tag string, archive []byte, quietly bool) (digest string, err error) {
	ref, err := name.NewTag(s.Host+"/"+repo+":"+tag, name.Insecure)
	if err != nil {
		return "", err
	}
	layer := static.NewLayer(archive, types.MediaType("application/vnd.cncf.flux.content.v1.tar+gzip"))
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.flux.config.v1+json")
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer}); err != nil {
		return "", err
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx), remote.WithUserAgent(ours)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", ref, err)
	}
	sum, err := image.Digest()
	if err == nil && !quietly {
		s.announce(repo, tag, sum.String())
	}
	return sum.String(), err
}
