package cli

import (
	"context"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/events/queue"
	"github.com/tradewind-dev/tradewind/services/poll"
	"github.com/tradewind-dev/tradewind/services/reconcile"
)

// poll runs the safety net behind the webhooks.
func (s *server) poll(ctx context.Context) error {
	if err := s.worker.cluster.WaitForSync(ctx); err != nil {
		return err
	}
	known := polled{Reconciler: s.worker.reconciler, queue: s.queue}
	return poll.New(poll.Config{
		Sources: known, Known: known, Lister: s.worker.mirrors, Publisher: publisher{s.queue},
		MaxInterval: s.cfg.Poll.MaxInterval, Logger: s.log, Registerer: s.registry,
	}).Run(ctx)
}

// polled is what the poller asks of the worker and the queue.
type polled struct {
	*reconcile.Reconciler
	queue *queue.Queue
}

var (
	_ poll.Sources = polled{}
	_ poll.Known   = polled{}
)

func (p polled) Watches(ctx context.Context) []poll.Watch {
	var out []poll.Watch
	for _, w := range p.Watched(ctx) {
		out = append(out, poll.Watch{Repo: w.Repo, Source: w.Source, Ref: w.Ref, Interval: w.Interval})
	}
	return out
}

// Heard is what was last announced of a ref, and whether a webhook did it. A queue that
// does not answer counts as nothing heard: that costs a look too many.
func (p polled) Heard(ctx context.Context, repo, ref string) (commit string, webhook bool) {
	sighting, err := p.queue.Sighting(ctx, events.SourceKey(repo, ref))
	if err != nil || sighting.Mark == 0 {
		return "", false
	}
	return sighting.Commit, !poll.Own(sighting.Event)
}
