package integration

import (
	"context"
	"errors"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tradewind-dev/tradewind/integration/world"
)

// pushArtifact: artifact <repo:tag> <dir> [quietly]. The files in dir as an OCI artifact,
// announced unless quietly; its digest is in $DIGEST from then on.
func pushArtifact(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	const form = "artifact <repo:tag> <dir> [quietly]"
	if err := c.once(2, 3, form); err != nil {
		return err
	}
	repo, tag, ok := strings.Cut(c.args[0], ":")
	quietly := len(c.args) == 3
	if !ok || quietly && c.args[2] != "quietly" {
		return errors.New("want: " + form)
	}
	archive, err := world.ArchiveOf(ts.MkAbs(c.args[1]))
	if err != nil {
		return err
	}
	digest, err := s.world.Images.PushArtifact(ctx, repo, tag, archive, quietly)
	if err != nil {
		return err
	}
	ts.Setenv("DIGEST", digest)
	return nil
}
