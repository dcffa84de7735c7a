package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

// AnnotationPrune with the value "approved" on an Application lifts the prune budget.
const AnnotationPrune = "tradewind.dev/prune"

// renderedMemo is a rendered component and what it was rendered from.
type renderedMemo struct {
	hash  string      // of the component and its context
	reads git.ReadSet // of its tree; nil when it has none
	out   *render.Component
}

// deliver brings the cluster to what the Application says. Everything is read and
// rendered before anything is written, so a mistake anywhere leaves all as it was.
func (x *run) deliver(ctx context.Context) error {
	plan, err := workflow.NewPlan(x.app)
	if err != nil {
		return &problem{stage: events.StageRender, condition: oam.ConditionParsed, reason: "FailedParse", result: events.Failure, err: err}
	}
	for _, c := range x.app.Spec.Components {
		if err := x.renderer.CheckTypes(x.app.Namespace, c); err != nil {
			return &problem{stage: events.StageRender, condition: oam.ConditionParsed, reason: "FailedParse", result: events.Failure, err: err}
		}
	}
	x.good(oam.ConditionParsed)
	revision := x.revision()
	components, err := x.render(ctx, revision)
	if err != nil {
		return err
	}
	x.good(oam.ConditionRender)
	if err := x.cluster.SetFinalizer(ctx, x.app, true); err != nil {
		return applyProblem(oam.ConditionReady, "FailedApply", err)
	}
	if x.status.LatestRevision == nil || x.status.LatestRevision.Name != revision.Name {
		if err := x.cluster.SaveRevision(ctx, x.app, revision); err != nil {
			return applyProblem(oam.ConditionRevision, "FailedRevision", err)
		}
		x.status.LatestRevision = &revision
	}
	x.good(oam.ConditionRevision)
	x.good(oam.ConditionPolicy)
	if w := x.status.Workflow; w == nil || w.AppRevision != revision.Name {
		x.status.Workflow = workflow.Start(plan, revision.Name, x.now())
		x.status.Services = nil
	}
	return x.execute(ctx, plan, revision, components)
}

// revision is the one the Application is at: the latest, or a new one when the spec
// differs from it. A change of metadata makes none.
func (x *run) revision() oam.Revision {
	hash := oam.SpecHash(x.app.Spec)
	latest := x.status.LatestRevision
	if latest != nil && latest.Hash == hash {
		return *latest
	}
	n := int64(1)
	if latest != nil {
		n = latest.N + 1
	}
	return oam.Revision{Name: fmt.Sprintf("%s-v%d", x.app.Name, n), N: n, Hash: hash}
}

// component is a rendered one with its definition in the Application.
type component struct {
	spec     oam.Component
	source   *render.Source
	rendered *render.Component
	items    []apply.Item
	release  *release // of type helm only
}

// wanted is everything of the component that is not to be pruned.
func (c component) wanted() []apply.Item {
	if c.release == nil {
		return c.items
	}
	return slices.Concat(c.items, c.release.kept)
}

func (x *run) context(revision oam.Revision) render.Context {
	rc := render.Context{
		AppName: x.app.Name, Namespace: x.app.Namespace, AppRevision: revision.Name, AppRevisionNum: revision.N,
		AppLabels: x.app.Labels, AppAnnotations: x.app.Annotations, Components: x.app.Spec.Components,
	}
	if v, err := x.cluster.Version(); err == nil {
		rc.ClusterVersion = render.Version(v)
	}
	return rc
}

// render fetches and renders every component; what it knows unchanged it does not render
// again.
func (x *run) render(ctx context.Context, revision oam.Revision) ([]component, error) {
	rc := x.context(revision)
	requested := x.app.Annotations[oam.AnnotationRequestedAt]
	fresh := requested != x.memo.requested || x.job.Cause == events.CauseReplay
	var out []component
	var sources []oam.Source
	for _, c := range x.app.Spec.Components {
		if c.Type == helm.ComponentType {
			made, err := x.release(ctx, c, rc, fresh)
			if err != nil {
				return nil, err
			}
			out = append(out, made)
			continue
		}
		src, err := render.SourceOf(c)
		if err != nil {
			return nil, x.renderProblem(err)
		}
		var tree *git.Tree
		if src != nil {
			if tree, err = x.tree(ctx, x.app.Namespace, src, fresh); err != nil {
				return nil, fetchProblem(err)
			}
			sources = append(sources, oam.Source{Component: c.Name, URL: src.URL, Ref: refOf(src).String(), Commit: string(tree.Commit())})
			if x.commit == "" {
				x.commit = string(tree.Commit())
			}
		}
		rendered, err := x.renderOne(ctx, c, rc, src, tree)
		if err != nil {
			return nil, x.renderProblem(err)
		}
		out = append(out, component{spec: c, source: src, rendered: rendered, items: items(c.Name, rendered)})
	}
	sources = append(sources, x.sources...)
	if len(sources) > 0 {
		x.good(oam.ConditionFetched)
	}
	x.status.Sources = sources
	x.memo.requested = requested
	return out, nil
}

func (x *run) renderOne(ctx context.Context, c oam.Component, rc render.Context, src *render.Source, tree *git.Tree) (*render.Component, error) {
	known, ok := x.memo.rendered[c.Name]
	hash := oam.SpecHash(oam.Spec{Components: append([]oam.Component{c}, rc.Components...)}) + fmt.Sprint(rc.AppRevision, rc.AppLabels, rc.AppAnnotations, rc.ClusterVersion, x.renderer.Fingerprint(x.app.Namespace, c))
	if ok && known.hash == hash && (tree == nil || known.reads.Unchanged(tree)) {
		return known.out, nil
	}
	next := renderedMemo{hash: hash}
	var err error
	if src == nil {
		next.out, err = x.renderer.Component(ctx, c, rc, nil)
	} else {
		reads := git.Trace(tree)
		next.out, err = x.renderer.Component(ctx, c, rc, reads.FS())
		next.reads = reads.Set()
	}
	if err != nil {
		return nil, err
	}
	x.memo.rendered[c.Name] = next
	return next.out, nil
}

func items(name string, rendered *render.Component) []apply.Item {
	out := make([]apply.Item, 0, len(rendered.Objects))
	for _, o := range rendered.Objects {
		out = append(out, apply.Item{Object: o.Unstructured, Component: name})
	}
	return out
}

// execute runs the steps that may run, then keeps what earlier steps delivered as it
// should be, and prunes when all went well.
func (x *run) execute(ctx context.Context, plan workflow.Plan, revision oam.Revision, components []component) error {
	inv, err := x.cluster.LoadInventory(x.owner)
	if err != nil {
		return applyProblem(oam.ConditionReady, "FailedApply", err)
	}
	rc := x.context(revision)
	state := x.status.Workflow
	done := map[string]bool{}
	for {
		ready := slices.DeleteFunc(workflow.Next(plan, state, x.now()), func(s oam.Step) bool { return done[workflow.Component(s)] })
		if len(ready) == 0 {
			break
		}
		for _, step := range ready {
			c := find(components, workflow.Component(step))
			done[c.spec.Name] = true
			seen, err := x.applyStep(ctx, inv, c, rc)
			workflow.Observe(plan, state, step, seen, x.now())
			if err != nil {
				return err
			}
		}
	}
	var wanted []apply.Item
	for _, name := range workflow.Dispatched(plan, state) {
		c := find(components, name)
		if !done[name] {
			if _, err := x.applyStep(ctx, inv, c, rc); err != nil {
				return err
			}
		}
		wanted = append(wanted, c.wanted()...)
	}
	x.status.AppliedResources = applied(wanted)
	x.good(oam.ConditionWorkflow)
	if state.Finished && state.Phase == oam.WorkflowSucceeded {
		return x.prune(ctx, inv, components, wanted)
	}
	return nil
}

// applyStep applies one component and looks at its health.
func (x *run) applyStep(ctx context.Context, inv *apply.Inventory, c component, rc render.Context) (workflow.Observation, error) {
	running := func(message string) workflow.Observation {
		return workflow.Observation{Phase: oam.StepRunning, Reason: workflow.ReasonWait, Message: message}
	}
	if err := inv.Widen(ctx, c.items); err != nil {
		return running(err.Error()), applyProblem(oam.ConditionWorkflow, "FailedApply", err)
	}
	if c.release != nil {
		return x.applyRelease(ctx, inv, c, rc)
	}
	fromGit := c.source != nil
	changes, err := x.cluster.Apply(ctx, inv, c.items, apply.ApplyOptions{Check: x.job.Check, Adopt: fromGit})
	x.changes = append(x.changes, changes...)
	if err == nil {
		err = changes.Err()
	}
	if err != nil {
		err = fmt.Errorf("component %q: %w", c.spec.Name, err)
		return running(err.Error()), applyProblem(oam.ConditionWorkflow, "FailedApply", err)
	}
	service := x.health(ctx, c, rc)
	x.setService(service)
	// A Git path counts as delivered once it is applied: it must not hold back the first
	// sync because of something in it that waits for another path.
	if !service.Healthy && !fromGit {
		return running("wait healthy"), nil
	}
	return workflow.Observation{Phase: oam.StepSucceeded}, nil
}

func (x *run) prune(ctx context.Context, inv *apply.Inventory, components []component, wanted []apply.Item) error {
	changes, err := x.cluster.Prune(ctx, inv, wanted, apply.PruneOptions{
		Check: x.job.Check, Approved: x.app.Annotations[AnnotationPrune] == "approved",
		Keep: func(e apply.Entry) bool {
			i := slices.IndexFunc(components, func(c component) bool { return c.spec.Name == e.Component })
			return i >= 0 && components[i].source != nil && !components[i].source.Prune
		},
	})
	x.changes = append(x.changes, changes...)
	if err = errors.Join(err, changes.Err()); err != nil {
		return applyProblem(oam.ConditionReady, "FailedPrune", err)
	}
	return nil
}

func find(components []component, name string) component {
	i := slices.IndexFunc(components, func(c component) bool { return c.spec.Name == name })
	return components[i] // steps that name an unknown component do not pass validation
}

func applied(items []apply.Item) []oam.AppliedResource {
	var out []oam.AppliedResource
	for _, item := range items {
		o := item.Object
		out = append(out, oam.AppliedResource{
			Cluster: "local", Creator: "workflow", APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(),
		})
	}
	slices.SortFunc(out, func(a, b oam.AppliedResource) int {
		return strings.Compare(a.Kind+"/"+a.Namespace+"/"+a.Name, b.Kind+"/"+b.Namespace+"/"+b.Name)
	})
	return out
}
