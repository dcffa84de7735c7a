package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// renderedMemo is a rendered component and what it was rendered from.
type renderedMemo struct {
	hash string // of the component and its context
	from inputs // its source; zero when it has none
	out  *render.Component
}

// context is what templates see around a part.
func (x *run) context(p *part) render.Context {
	rc := render.Context{
		AppName: x.app.Name, Namespace: x.app.Namespace, AppNamespace: x.app.Namespace,
		AppRevision: x.revision.Name, AppRevisionNum: x.revision.N,
		AppLabels: x.app.Labels, AppAnnotations: lasting(x.app.Annotations), Components: x.app.Spec.Components,
		PublishVersion: x.app.Annotations[oam.AnnotationPublishVersion], WorkflowName: x.app.Name,
	}
	if p != nil {
		rc.Namespace, rc.ReplicaKey = cmp.Or(p.Namespace, x.app.Namespace), p.ReplicaKey
	}
	if v, err := x.cluster.Version(); err == nil {
		rc.ClusterVersion = render.Version(v)
	}
	return rc
}

// lasting leaves out the annotations by which people ask for something once: they say
// nothing about what is wanted, and would make each request a change.
func lasting(annotations map[string]string) map[string]string {
	out := maps.Clone(annotations)
	for _, once := range []string{oam.AnnotationRequestedAt, oam.AnnotationWorkflow, "kubectl.kubernetes.io/last-applied-configuration"} {
		delete(out, once)
	}
	return out
}

// render fetches and renders every part whose inputs are there; what it knows unchanged it
// does not render again.
func (x *run) render(ctx context.Context) error {
	requested := x.app.Annotations[oam.AnnotationRequestedAt]
	if x.fresh = requested != x.memo.requested || x.job.Cause == events.CauseReplay; x.fresh {
		x.newerThan = x.requests.since(x.job.Key, x.begun)
	}
	before := x.status.Sources
	x.status.Sources = nil
	known := map[string]bool{}
	for _, p := range x.parts {
		known[x.memoKey(p)] = true
		if x.missing(p) != "" {
			continue
		}
		if err := x.renderPart(ctx, p); err != nil {
			x.status.Sources = before
			return err
		}
	}
	maps.DeleteFunc(x.memo.rendered, func(key string, _ renderedMemo) bool { return !known[key] })
	maps.DeleteFunc(x.memo.releases, func(key string, _ releaseMemo) bool { return !known[key] })
	if len(x.status.Sources) > 0 {
		x.good(oam.ConditionFetched)
	}
	x.moved = !slices.Equal(before, x.status.Sources)
	if x.moved {
		x.stands(forge.Pending, "being delivered")
	}
	x.memo.requested = requested
	if err := x.renderPolicies(ctx); err != nil {
		return err
	}
	x.good(oam.ConditionRender)
	return nil
}

// missing is the first input of a part that has no value yet, or "".
func (x *run) missing(p *part) string {
	for _, in := range p.inputs {
		if _, ok := x.plan.Values[in.From]; !ok {
			return in.From
		}
	}
	return ""
}

func (x *run) memoKey(p *part) string { return p.step + "/" + p.id(x.app.Namespace) }

func (x *run) renderPart(ctx context.Context, p *part) error {
	p.spec = p.Component
	for _, in := range p.inputs {
		var err error
		if p.spec, err = p.spec.WithInput(in, x.plan.Values[in.From]); err != nil {
			return x.renderProblem(fmt.Errorf("component %q: %w", p.Name, err))
		}
	}
	if p.spec.Type == helm.ComponentType {
		return x.renderRelease(ctx, p)
	}
	var err error
	if p.source, err = render.SourceOf(p.spec); err != nil {
		return x.renderProblem(err)
	}
	var files *sourceFiles
	if p.source != nil {
		if files, err = x.files(ctx, p.source); err != nil {
			return fetchProblem(err)
		}
		x.commit = cmp.Or(x.commit, files.revision)
		x.saw(p.Name, p.source, files.revision)
	}
	same := false
	if p.rendered, same, err = x.renderOne(ctx, p, files); err != nil {
		return x.renderProblem(err)
	}
	if files != nil {
		x.sourceAt(p.Name, p.source, files.revision, same)
	}
	return nil
}

// sourceAt notes which commit a component is rendered from: while nothing that it reads
// changes that is the first such commit, so that other commits change no status.
func (x *run) sourceAt(component string, src *render.Source, commit string, same bool) {
	x.commit = cmp.Or(x.commit, commit)
	source := oam.Source{Component: component, URL: src.URL, Ref: refText(src), Commit: commit}
	for _, old := range x.app.Status.Sources {
		if same && old.Component == component && old.URL == source.URL && old.Ref == source.Ref {
			source.Commit = old.Commit
		}
	}
	if !slices.Contains(x.status.Sources, source) {
		x.status.Sources = append(x.status.Sources, source)
	}
}

// renderOne says also whether what was rendered before is the same still.
func (x *run) renderOne(ctx context.Context, p *part, source *sourceFiles) (out *render.Component, same bool, err error) {
	rc := x.context(p)
	known, ok := x.memo.rendered[x.memoKey(p)]
	hash := oam.SpecHash(oam.Spec{Components: append([]oam.Component{p.spec}, rc.Components...)}) +
		x.renderer.Fingerprint(x.app.Namespace, p.spec) +
		fmt.Sprint(rc.AppRevision, rc.Namespace, rc.ReplicaKey, rc.PublishVersion, rc.AppLabels, rc.AppAnnotations, rc.ClusterVersion)
	if ok && known.hash == hash && (source == nil || known.from.unchanged(source)) {
		return known.out, true, nil
	}
	next := renderedMemo{hash: hash}
	if source == nil {
		next.out, err = x.renderer.Component(ctx, p.spec, rc, nil)
	} else {
		files, read := source.open(ctx)
		next.out, err = x.renderer.Component(ctx, p.spec, rc, files)
		next.from = read()
	}
	if err != nil {
		return nil, false, err
	}
	x.memo.rendered[x.memoKey(p)] = next
	return next.out, false, nil
}
