package reconcile

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/tradewind-dev/tradewind/events"
)

// Resync looks after everything once in a while until ctx ends, as a net under the watches:
// what is not in the cluster as the last look left it gets another. Of what is, nothing is
// asked and nothing told.
func (r *Reconciler) Resync(ctx context.Context, every time.Duration) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every - every/10 + rand.N(every/5)): //nolint:gosec // so that workers do not do it all at once
		}
		began, looks := r.now(), r.resync(ctx)
		r.log.Info("resync", "apps", len(r.cluster.Applications()), "looks", looks, "took", r.now().Sub(began).String())
	}
}

// resync returns how many looks it asked for.
func (r *Reconciler) resync(ctx context.Context) (looks int) {
	for _, app := range r.cluster.Applications() {
		key := events.AppKey(app.Namespace, app.Name)
		if known := r.settled.of(key); known == nil || !known.cluster.Holds(ctx, known.owner, known.items) {
			r.wakes.add(key, events.CauseSchedule)
			looks++
		}
	}
	return looks
}
