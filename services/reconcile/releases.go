package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// release is a part of type helm during one look. Its objects and the records of its
// versions are applied, watched and pruned like all others; a version is begun in one
// look and found well in a later one.
type release struct {
	spec   *helm.Spec
	state  *helm.Release
	input  string // names what is wanted; see helm.Spec.Input
	stored string // namespace of the records
	memo   string // key of what is remembered
	seen   string // the records as they were read
	crds   int    // how many of the part's objects are definitions; they come first
	// kept are the records and the objects of hooks: not applied again, not pruned.
	kept []apply.Item
}

// releaseMemo is a release that needed nothing, and the records it was read from.
type releaseMemo struct {
	seen  string
	state *helm.Release
}

// renderRelease fetches a part's chart and decides which version of its release is the
// one to have; nothing is written yet.
func (x *run) renderRelease(ctx context.Context, p *part) error {
	hints, err := x.renderer.CheckProperties(ctx, p.spec)
	if err != nil {
		return x.renderProblem(err)
	}
	rel := &release{memo: x.memoKey(p), stored: x.context(p).Namespace}
	if rel.spec, err = helm.SpecOf(p.spec, rel.stored); err != nil {
		return x.renderProblem(err)
	}
	chart, err := x.fetchChart(ctx, p, rel.spec)
	if err != nil {
		return fetchProblem(fmt.Errorf("component %q: %w", p.Name, err))
	}
	values, err := x.chartValues(ctx, rel.spec)
	if err != nil {
		return fetchProblem(fmt.Errorf("component %q: %w", p.Name, err))
	}
	x.good(oam.ConditionFetched)
	if rel.input, err = rel.spec.Input(chart, values); err != nil {
		return x.renderProblem(err)
	}
	if err := x.openRelease(ctx, p.Name, rel); err != nil {
		return applyProblem(oam.ConditionReady, "FailedApply", err)
	}
	if err := x.decide(ctx, rel, chart, values, x.context(p)); err != nil {
		return x.renderProblem(fmt.Errorf("component %q: %w", p.Name, err))
	}
	if rel.spec.Ranged() || len(rel.spec.ValuesFrom) > 0 {
		x.wakeAt(x.now().Add(rel.spec.PullInterval))
	}
	p.release = rel
	if err := x.releaseObjects(p); err != nil {
		return x.renderProblem(fmt.Errorf("component %q: %w", p.Name, err))
	}
	for _, event := range rel.state.Unrun() {
		hints = append(hints, fmt.Sprintf("hooks for %s are not run: what leaves a release is deleted as any other object is", event))
	}
	p.rendered.Hints = append(hints, p.rendered.Hints...)
	return nil
}

// openRelease reads the records of a release from the watches; the inventory says which
// there are.
func (x *run) openRelease(ctx context.Context, component string, rel *release) error {
	inv, err := x.cluster.LoadInventory(x.owner)
	if err != nil {
		return err
	}
	rel.seen = rel.spec.ReleaseName + " " + rel.spec.Namespace
	var records []*unstructured.Unstructured
	for _, e := range inv.Entries {
		ref := e.Ref()
		_, ok := helm.IsRecord(ref.Name, rel.spec.ReleaseName)
		if !ok || e.Component != component || ref.Namespace != rel.stored || ref.Kind != "Secret" || ref.Group != "" {
			continue
		}
		live, err := x.cluster.Live(ctx, ref)
		if err != nil {
			return err
		}
		if live != nil {
			records = append(records, live)
			rel.seen += " " + string(live.GetUID()) + "@" + live.GetResourceVersion()
		}
	}
	if known, ok := x.memo.releases[rel.memo]; ok && known.seen == rel.seen {
		rel.state = known.state
		return nil
	}
	delete(x.memo.releases, rel.memo)
	rel.state, err = helm.Open(rel.spec.ReleaseName, rel.spec.Namespace, rel.stored, records)
	return err
}

// decide begins a new version where one is needed. Only then is the chart rendered: a
// release is what its record says, so that what a template makes up stays the same.
func (x *run) decide(ctx context.Context, rel *release, chart *helm.Chart, values map[string]any, rc render.Context) error {
	next := rel.state.Wants(rel.input, rel.spec.Retries)
	if next == helm.GiveUp && x.fresh {
		next = helm.Begin // somebody asked for another try
	}
	if next == helm.Begin || next == helm.RollBack {
		delete(x.memo.releases, rel.memo) // it is about to change
	}
	switch next {
	case helm.RollBack:
		rel.state.Return(rel.input, x.now())
	case helm.Begin:
		out, err := x.renderChart(ctx, x.owner.String(), chart, helm.Input{
			Name: rel.spec.ReleaseName, Namespace: rel.spec.Namespace, Revision: rel.state.NextVersion(), Upgrade: rel.state.Upgrades(),
			Values: values, KubeVersion: rc.ClusterVersion.GitVersion,
		})
		if err != nil {
			return err
		}
		return rel.state.Install(chart, out, rel.input, values, x.now())
	}
	return nil
}

// releaseObjects makes the objects of the release's latest version the part's.
func (x *run) releaseObjects(p *part) error {
	crds, objects, err := p.release.state.Objects()
	if err != nil {
		return err
	}
	if !p.release.spec.UpgradeCRD {
		for _, o := range crds {
			annotations := o.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[apply.AnnotationApply] = apply.IfAbsent
			o.SetAnnotations(annotations)
		}
	}
	p.release.crds = len(crds)
	p.rendered, err = x.renderer.Charted(p.spec, x.context(p), p.release.spec.Namespace, append(crds, objects...))
	return err
}

// applyRelease brings the release nearer to its latest version, as far as that goes
// without waiting.
func (x *run) applyRelease(ctx context.Context, p *part, stage policy.Stage) error {
	rel := p.release
	if err := x.storeRelease(ctx, p); err != nil { // before anything of it is there
		return err
	}
	p.applied = true
	since, pending := rel.state.Pending()
	var seen progress
	var err error
	if pending {
		seen, err = x.advance(ctx, p, stage)
	} else {
		err = x.applyObjects(ctx, p, stage, p.rendered.Objects)
	}
	if err != nil {
		return errors.Join(err, x.storeRelease(ctx, p))
	}
	service := x.health(ctx, p)
	if pending {
		x.conclude(rel, seen, service, since.Add(rel.spec.InstallTimeout))
	} else {
		x.memo.releases[rel.memo] = releaseMemo{seen: rel.seen, state: rel.state}
	}
	service = summarizeRelease(rel, service, seen.waiting)
	p.service = &service
	return x.storeRelease(ctx, p)
}

// conclude closes a version that got well or will not, and asks for a look when it is
// too late for the others.
func (x *run) conclude(rel *release, seen progress, service oam.Service, deadline time.Time) {
	switch {
	case seen.failed != "":
		rel.state.Fail(seen.failed)
	case seen.waiting == "" && service.Healthy:
		rel.state.Done()
		if _, failed := rel.state.Failed(rel.input); !failed {
			return
		}
	case x.now().Before(deadline):
		x.wakeAt(deadline)
		return
	default:
		rel.state.Fail(fmt.Sprintf("not healthy after %s: %s%s", rel.spec.InstallTimeout, seen.waiting, service.Message))
	}
	x.wakeAt(x.now()) // a failure may be followed by a way back, and that by another try
}

// progress is what a version on its way waits for, or why it will not get there.
type progress struct{ waiting, failed string }

// advance applies definitions, runs the hooks before, applies the objects, runs the hooks
// after; as far as that goes now.
func (x *run) advance(ctx context.Context, p *part, stage policy.Stage) (progress, error) {
	definitions, objects := p.rendered.Objects[:p.release.crds], p.rendered.Objects[p.release.crds:]
	if err := x.applyObjects(ctx, p, stage, definitions); err != nil {
		return progress{}, err
	}
	if seen, err := x.runHooks(ctx, p, true); err != nil || seen != (progress{}) {
		return seen, err
	}
	if err := x.applyObjects(ctx, p, stage, objects); err != nil {
		refused, ok := errors.AsType[*problem](err)
		if ok && refused.result == events.Failure && !refused.fatal && p.release.state.Upgrades() {
			return progress{failed: err.Error()}, nil // there is something to go back to
		}
		return progress{}, err
	}
	return x.runHooks(ctx, p, false)
}

// storeRelease writes the records that changed; one that is as it was costs no request.
func (x *run) storeRelease(ctx context.Context, p *part) error {
	all, changed, err := p.release.state.Records()
	if err != nil {
		return x.renderProblem(err)
	}
	if p.release.kept, err = x.chartItems(p, p.release.stored, append(all, p.release.state.Ran()...)); err != nil {
		return err // marked, which is why it comes before the write
	}
	var write []apply.Item
	for _, o := range changed {
		write = append(write, apply.Item{Object: o, Component: p.Name})
	}
	if err := x.apply(ctx, write, false); err != nil {
		return x.stepProblem(fmt.Errorf("component %q: %w", p.Name, err))
	}
	return nil
}

// chartItems are objects of a release that are not what it delivers: no policy is about
// them.
func (x *run) chartItems(p *part, namespace string, objects []*unstructured.Unstructured) ([]apply.Item, error) {
	made, err := x.renderer.Charted(p.spec, x.context(p), namespace, objects)
	if err != nil {
		return nil, x.renderProblem(err)
	}
	out := make([]apply.Item, 0, len(made.Objects))
	for _, o := range made.Objects {
		out = append(out, apply.Item{Object: o.Unstructured, Component: p.Name})
	}
	return out, nil
}

// summarizeRelease says how the release is in the words that KubeVela's users know.
func summarizeRelease(rel *release, s oam.Service, waiting string) oam.Service {
	s.Workload = &oam.WorkloadDefinition{APIVersion: "helm.toolkit.fluxcd.io/v2beta1", Kind: "HelmRelease"}
	_, pending := rel.state.Pending()
	why, failed := rel.state.Failed(rel.input)
	switch {
	case failed:
		s.Healthy, s.WorkloadHealthy = false, false
	case pending && waiting != "":
		why, s.Healthy, s.WorkloadHealthy = waiting, false, false
	case !s.Healthy:
		why = s.Message
	}
	s.Message = "Fetch repository successfully, Create helm release successfully"
	if why != "" {
		s.Message = "Fetch repository successfully, Delivery helm release in progress, message: " + why
	}
	return s
}
