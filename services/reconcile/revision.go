package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// freeze puts the recorded spec in the place of the written one while the Application's
// publishVersion is the one it was recorded for.
func (x *run) freeze(ctx context.Context) error {
	latest, version := x.status.LatestRevision, x.app.Annotations[oam.AnnotationPublishVersion]
	if version == "" || latest == nil || latest.PublishVersion != version || latest.Hash == oam.SpecHash(x.app.Spec) {
		return nil
	}
	if x.memo.frozen == nil || x.memo.frozen.revision != latest.Name {
		all, err := x.cluster.Revisions(ctx, x.app.Namespace, x.app.Name)
		if err != nil {
			return applyProblem(oam.ConditionRevision, "FailedRevision", err)
		}
		at := slices.IndexFunc(all, func(r apply.Revision) bool { return r.Name == latest.Name && r.Application != nil })
		if at < 0 {
			err := fmt.Errorf("publishVersion %q is unchanged, but its record %s is gone: set a new publishVersion to deliver the spec as it is now", version, latest.Name)
			return parseProblem(err, nil)
		}
		x.memo.frozen = &frozen{revision: latest.Name, spec: all[at].Application.Spec}
	}
	x.app.Spec = x.memo.frozen.spec
	return nil
}

// frozen is the spec of a recorded revision.
type frozen struct {
	revision string
	spec     oam.Spec
}

// nextRevision is the one the Application is at: the latest, or a new one when spec or
// publishVersion differ from it. A change of other metadata makes none.
func (x *run) nextRevision() oam.Revision {
	hash, version := oam.SpecHash(x.app.Spec), x.app.Annotations[oam.AnnotationPublishVersion]
	latest := x.status.LatestRevision
	if latest != nil && latest.Hash == hash && (version == "" || version == latest.PublishVersion) {
		return *latest
	}
	n := int64(1)
	if latest != nil {
		n = latest.N + 1
	}
	return oam.Revision{Name: fmt.Sprintf("%s-v%d", x.app.Name, n), N: n, Hash: hash, PublishVersion: version}
}

// record holds the Application in the cluster until what it owns is gone, and writes down
// the revision that is about to be delivered.
func (x *run) record(ctx context.Context) error {
	if err := x.cluster.SetFinalizer(ctx, x.app, true); err != nil {
		return applyProblem(oam.ConditionReady, "FailedApply", err)
	}
	if x.status.LatestRevision == nil || x.status.LatestRevision.Name != x.revision.Name {
		if err := x.cluster.SaveRevision(ctx, x.app, x.revision, x.set.Collect.RevisionLimit); err != nil {
			return applyProblem(oam.ConditionRevision, "FailedRevision", err)
		}
		revision := x.revision
		x.status.LatestRevision = &revision
	}
	x.good(oam.ConditionRevision)
	return nil
}
