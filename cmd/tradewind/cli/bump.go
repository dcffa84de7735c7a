package cli

import (
	"context"

	"github.com/tradewind-dev/tradewind/events/queue"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/services/bump"
	"github.com/tradewind-dev/tradewind/services/reconcile"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/git"
)

// newBumper makes the part that writes images into Git.
func (s *server) newBumper(cluster *apply.Cluster, mirrors *git.Mirrors, images *registry.Client, forges *forge.Client) *bump.Bumper {
	b := bump.New(bump.Config{
		Cluster: cluster, Repositories: mirrors, Queue: bumpQueue{s.queue}, Publisher: publisher{s.queue},
		Registry: images, Forge: forges,
		Author: git.Person{Name: s.cfg.Images.AuthorName, Email: s.cfg.Images.AuthorEmail}, Window: s.cfg.Images.BatchWindow,
		Logger: s.log, Registerer: s.registry,
	})
	cluster.OnApplication(b.OnApplication)
	return b
}

// newForges makes the client of what stands around repositories.
func newForges(cfg Config) *forge.Client {
	kinds := map[string]forge.Kind{}
	for host, kind := range cfg.Forges {
		kinds[host] = forge.Kind(kind)
	}
	return forge.New(forge.Config{Kinds: kinds, AllowedHosts: cfg.Git.AllowedHosts, InsecureHosts: cfg.Git.InsecureHosts})
}

// bumpQueue is the queue as a Bumper sees it.
type bumpQueue struct{ *queue.Queue }

var _ bump.Queue = bumpQueue{}

// Announced drops what the sender said beyond the tag.
func (q bumpQueue) Announced(ctx context.Context, imageKey string, after uint64) ([]bump.Announcement, uint64, error) {
	all, mark, err := q.Queue.Announced(ctx, imageKey, after)
	out := make([]bump.Announcement, 0, len(all))
	for _, a := range all {
		out = append(out, bump.Announcement{Tag: a.Tag, Event: a.Event, Time: a.Time})
	}
	return out, mark, err
}

// watchers says who looks at what a sender posts about.
type watchers struct {
	*reconcile.Reconciler
	bumper *bump.Bumper
}

// WatchingImage counts the policies that look at an image and the Applications that deploy
// it as an artifact.
func (w watchers) WatchingImage(imageKeys []string) int {
	return w.bumper.WatchingImage(imageKeys) + w.WatchingArtifact(imageKeys)
}
