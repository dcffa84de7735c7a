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
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// release is a component of type helm during one look. Its objects and the records of
// its versions are applied, watched and pruned like all others; a version is begun in one
// look and found well in a later one.
type release struct {
	component string
	spec      *helm.Spec
	state     *helm.Release
	input     string // names what is wanted; see helm.Spec.Input
	crds      int    // how many of the component's items are definitions
	// kept are the records and the objects of hooks: not applied again, not pruned.
	kept []apply.Item
	seen string // the records as they were read
}

// releaseMemo is a release that needed nothing, and the records it was read from.
type releaseMemo struct {
	seen  string
	state *helm.Release
}

// release fetches a component's chart and decides which version of its release is the
// one to have; nothing is written yet.
func (x *run) release(ctx context.Context, c oam.Component, rc render.Context, fresh bool) (component, error) {
	hints, err := x.renderer.CheckProperties(ctx, c)
	if err != nil {
		return component{}, x.renderProblem(err)
	}
	spec, err := helm.SpecOf(c, x.app.Namespace)
	if err != nil {
		return component{}, x.renderProblem(err)
	}
	chart, err := x.fetchChart(ctx, c, spec, fresh)
	if err != nil {
		return component{}, fetchProblem(fmt.Errorf("component %q: %w", c.Name, err))
	}
	values, err := x.chartValues(ctx, spec)
	if err != nil {
		return component{}, fetchProblem(fmt.Errorf("component %q: %w", c.Name, err))
	}
	rel := &release{component: c.Name, spec: spec}
	if rel.input, err = spec.Input(chart, values); err != nil {
		return component{}, x.renderProblem(err)
	}
	x.good(oam.ConditionFetched)
	if rel.state, rel.seen, err = x.openRelease(ctx, c.Name, spec); err != nil {
		return component{}, applyProblem(oam.ConditionReady, "FailedApply", err)
	}
	if err := x.decide(ctx, rel, chart, values, rc, fresh); err != nil {
		return component{}, x.renderProblem(fmt.Errorf("component %q: %w", c.Name, err))
	}
	if spec.Ranged() || len(spec.ValuesFrom) > 0 {
		x.wakeAt(x.now().Add(spec.PullInterval))
	}
	out := component{spec: c, release: rel}
	if err := x.releaseItems(&out, rc); err != nil {
		return component{}, x.renderProblem(fmt.Errorf("component %q: %w", c.Name, err))
	}
	for _, event := range rel.state.Unrun() {
		hints = append(hints, fmt.Sprintf("hooks for %s are not run: what leaves a release is deleted as any other object is", event))
	}
	out.rendered.Hints = append(hints, out.rendered.Hints...)
	return out, nil
}

// openRelease reads the records of a release from the watches; the inventory says which
// there are. seen tells them from other records.
func (x *run) openRelease(ctx context.Context, name string, spec *helm.Spec) (state *helm.Release, seen string, err error) {
	inv, err := x.cluster.LoadInventory(x.owner)
	if err != nil {
		return nil, "", err
	}
	seen = spec.ReleaseName + " " + spec.Namespace
	var records []*unstructured.Unstructured
	for _, e := range inv.Entries {
		ref := e.Ref()
		if _, ok := helm.IsRecord(ref.Name, spec.ReleaseName); !ok || e.Component != name || ref.Kind != "Secret" || ref.Group != "" {
			continue
		}
		live, err := x.cluster.Live(ctx, ref)
		if err != nil {
			return nil, "", err
		}
		if live != nil {
			records = append(records, live)
			seen += " " + string(live.GetUID()) + "@" + live.GetResourceVersion()
		}
	}
	if known, ok := x.memo.releases[name]; ok && known.seen == seen {
		return known.state, seen, nil
	}
	delete(x.memo.releases, name)
	state, err = helm.Open(spec.ReleaseName, spec.Namespace, x.app.Namespace, records)
	return state, seen, err
}

// decide begins a new version where one is needed. Only then is the chart rendered: a
// release is what its record says, so that what a template makes up stays the same.
func (x *run) decide(ctx context.Context, rel *release, chart *helm.Chart, values map[string]any, rc render.Context, fresh bool) error {
	next := rel.state.Wants(rel.input, rel.spec.Retries)
	if next == helm.GiveUp && fresh {
		next = helm.Begin // somebody asked for another try
	}
	if next == helm.Begin || next == helm.RollBack {
		delete(x.memo.releases, rel.component) // it is about to change
	}
	switch next {
	case helm.RollBack:
		rel.state.Return(rel.input, x.now())
	case helm.Begin:
		out, err := helm.Render(ctx, chart, helm.Input{
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

// releaseItems makes the objects of the release's latest version the component's.
func (x *run) releaseItems(c *component, rc render.Context) error {
	crds, objects, err := c.release.state.Objects()
	if err != nil {
		return err
	}
	if !c.release.spec.UpgradeCRD {
		for _, o := range crds {
			annotations := o.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[apply.AnnotationApply] = apply.IfAbsent
			o.SetAnnotations(annotations)
		}
	}
	c.release.crds = len(crds)
	if c.rendered, err = x.renderer.Charted(c.spec, rc, c.release.spec.Namespace, append(crds, objects...)); err != nil {
		return err
	}
	c.items = items(c.spec.Name, c.rendered)
	return nil
}

// applyRelease brings the release nearer to its latest version, as far as that goes
// without waiting.
func (x *run) applyRelease(ctx context.Context, inv *apply.Inventory, c component, rc render.Context) (workflow.Observation, error) {
	running := workflow.Observation{Phase: oam.StepRunning, Reason: workflow.ReasonWait, Message: "wait healthy"}
	rel := c.release
	if err := x.storeRelease(ctx, inv, c, rc); err != nil { // before anything of it is there
		return running, err
	}
	since, pending := rel.state.Pending()
	var p progress
	var err error
	if pending {
		p, err = x.advance(ctx, inv, c, rc)
	} else {
		err = x.applyItems(ctx, inv, c, c.items)
	}
	if err != nil {
		running.Message = err.Error()
		return running, errors.Join(err, x.storeRelease(ctx, inv, c, rc))
	}
	service := x.health(ctx, c, rc)
	if pending {
		x.conclude(rel, p, service, since.Add(rel.spec.InstallTimeout))
	} else {
		x.memo.releases[c.spec.Name] = releaseMemo{seen: rel.seen, state: rel.state}
	}
	service = summarizeRelease(rel, service, p.waiting)
	x.setService(service)
	if err := x.storeRelease(ctx, inv, c, rc); err != nil {
		return running, err
	}
	if !service.Healthy {
		return running, nil
	}
	return workflow.Observation{Phase: oam.StepSucceeded}, nil
}

// conclude closes a version that got well or will not, and asks for a look when it is
// too late for the others.
func (x *run) conclude(rel *release, p progress, service oam.Service, deadline time.Time) {
	switch {
	case p.failed != "":
		rel.state.Fail(p.failed)
	case p.waiting == "" && service.Healthy:
		rel.state.Done()
		if _, failed := rel.state.Failed(rel.input); !failed {
			return
		}
	case x.now().Before(deadline):
		x.wakeAt(deadline)
		return
	default:
		rel.state.Fail(fmt.Sprintf("not healthy after %s: %s%s", rel.spec.InstallTimeout, p.waiting, service.Message))
	}
	x.wakeAt(x.now()) // a failure may be followed by a way back, and that by another try
}

// progress is what a version on its way waits for, or why it will not get there.
type progress struct{ waiting, failed string }

// advance applies definitions, runs the hooks before, applies the objects, runs the hooks
// after; as far as that goes now.
func (x *run) advance(ctx context.Context, inv *apply.Inventory, c component, rc render.Context) (progress, error) {
	definitions, objects := c.items[:c.release.crds], c.items[c.release.crds:]
	if err := x.applyItems(ctx, inv, c, definitions); err != nil {
		return progress{}, err
	}
	if p, err := x.runHooks(ctx, inv, c, rc, true); err != nil || p != (progress{}) {
		return p, err
	}
	if err := x.applyItems(ctx, inv, c, objects); err != nil {
		var refused *problem
		if errors.As(err, &refused) && refused.result == events.Failure && c.release.state.Upgrades() {
			return progress{failed: err.Error()}, nil // there is something to go back to
		}
		return progress{}, err
	}
	return x.runHooks(ctx, inv, c, rc, false)
}

// storeRelease writes the records that changed; one that is as it was costs no request.
func (x *run) storeRelease(ctx context.Context, inv *apply.Inventory, c component, rc render.Context) error {
	all, changed, err := c.release.state.Records()
	if err != nil {
		return x.renderProblem(err)
	}
	kept, err := x.renderer.Charted(c.spec, rc, x.app.Namespace, append(all, c.release.state.Ran()...))
	if err != nil {
		return x.renderProblem(err)
	}
	c.release.kept = items(c.spec.Name, kept)
	var write []apply.Item
	for _, o := range changed {
		write = append(write, apply.Item{Object: o, Component: c.spec.Name})
	}
	return x.applyItems(ctx, inv, c, write)
}

// applyItems applies and keeps the receipt.
func (x *run) applyItems(ctx context.Context, inv *apply.Inventory, c component, list []apply.Item) error {
	changes, err := x.cluster.Apply(ctx, inv, list, apply.ApplyOptions{Check: x.job.Check})
	x.changes = append(x.changes, changes...)
	if err == nil {
		err = changes.Err()
	}
	if err != nil {
		return applyProblem(oam.ConditionWorkflow, "FailedApply", fmt.Errorf("component %q: %w", c.spec.Name, err))
	}
	return nil
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
