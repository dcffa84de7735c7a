package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tradewind-dev/tradewind/integration/world/oci"
)

// cutImage reads <repo>:<tag>.
func cutImage(s string) (repo, tag string, err error) {
	repo, tag, ok := strings.Cut(s, ":")
	if !ok {
		return "", "", fmt.Errorf("%q: want <repo>:<tag>", s)
	}
	return repo, tag, nil
}

// pushImage: image [-quietly] <repo>:<tag>... Images with random content, pushed one
// after the other and announced, unless quietly.
func pushImage(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 1000, "image [-quietly] <repo>:<tag>..."); err != nil {
		return err
	}
	args, quietly := c.args, c.args[0] == "-quietly"
	if quietly {
		args = args[1:]
	}
	for _, arg := range args {
		repo, tag, err := cutImage(arg)
		if err != nil {
			return err
		}
		if err := s.world.Images.Push(ctx, repo, tag, quietly); err != nil {
			return err
		}
	}
	return nil
}

// buildImage: built-image <repo>:<tag> <owner/name> <commit>. An image that says which
// commit it was built from, announced.
func buildImage(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(3, 3, "built-image <repo>:<tag> <owner/name> <commit>"); err != nil {
		return err
	}
	repo, tag, err := cutImage(c.args[0])
	if err != nil {
		return err
	}
	return s.world.Images.PushBuilt(ctx, repo, tag, map[string]string{
		"org.opencontainers.image.source": s.world.Git.URL + "/" + c.args[1], "org.opencontainers.image.revision": c.args[2],
	}, false)
}

// pushImages: images <repo>:<tag with %d> <first> <last>. Many tags of one image, without
// an announcement.
func pushImages(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(3, 3, "images <repo>:<tag with %d> <first> <last>"); err != nil {
		return err
	}
	repo, format, err := cutImage(c.args[0])
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(c.args[1])
	if err != nil {
		return err
	}
	last, err := strconv.Atoi(c.args[2])
	if err != nil {
		return err
	}
	var tags []string
	for n := first; n <= last; n++ {
		tags = append(tags, fmt.Sprintf(format, n))
	}
	return s.world.Images.PushMany(ctx, repo, tags)
}

// forgeImage: forged-image <repo>:<tag>. Announces what was never pushed, with the right
// secret.
func forgeImage(_ context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 1, "forged-image <repo>:<tag>"); err != nil {
		return err
	}
	repo, tag, err := cutImage(c.args[0])
	if err == nil {
		s.world.Images.Forge(repo, tag)
	}
	return err
}

// awaitAnnounced: announced <status> [<body-regexp>]. How the announcement of the next
// pushed image was answered.
func awaitAnnounced(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 2, "announced <status> [<body-regexp>]"); err != nil {
		return err
	}
	n, i, err := s.world.Images.Notifications.Await(ctx, s.announced, func(oci.Notification) bool { return true })
	if err != nil {
		return s.alive(fmt.Errorf("waiting for announcement %d: %w", s.announced+1, err))
	}
	s.announced = i + 1
	return answeredWith(n.Status, n.Answer, c.args)
}

// countRegistry: registry head|list <cmp> <n>. Requests to the registry since mark,
// waited for.
func countRegistry(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(3, 3, "registry head|list <cmp> <n>"); err != nil {
		return err
	}
	return poll(ctx, func() error {
		n := s.world.Images.Requests(c.args[0]) - s.registryFrom[c.args[0]]
		return compare(float64(n), c.args[1], c.args[2])
	})
}
