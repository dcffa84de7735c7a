package cli

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// previewed is an Application rendered for a cluster, and what the cluster would make of
// it.
type previewed struct {
	app        *oam.Application
	components []previewedComponent
}

type previewedComponent struct {
	*render.Component
	source   *render.Source // nil when its objects do not come from Git
	previews []apply.Preview
}

// previewer renders Applications as a worker does and asks the cluster what would change.
type previewer struct {
	cluster cluster
	version render.Version
	render  *render.Renderer
	mirrors *git.Mirrors
	tree    fs.FS // instead of Git; nil to fetch
}

// newPreviewer opens the folder that takes the place of Git, if one is named. The caller
// closes.
func newPreviewer(ctx context.Context, c cluster, tree string, allowed []string) (p *previewer, done func(), err error) {
	catalog, err := catalogOf(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	p = &previewer{cluster: c, render: render.New(render.Config{Definitions: catalog, Namespaced: c.Namespaced})}
	v, err := c.Version()
	if err != nil {
		return nil, nil, refused(err)
	}
	p.version = render.Version(v)
	if tree != "" {
		root, err := os.OpenRoot(tree) // links that lead out of it end at its edge
		if err != nil {
			return nil, nil, usageErrorf("opening --tree: %w", err)
		}
		p.tree = root.FS()
		return p, func() { _ = root.Close() }, nil
	}
	for i, host := range allowed { // a clone URL is at hand more often than its host
		if _, after, ok := strings.Cut(host, "://"); ok {
			allowed[i], _, _ = strings.Cut(after, "/")
		}
	}
	// Whoever asks here chose the Application and their network; hosts inside it need to
	// be named all the same, because a clone URL may come from somebody else's file.
	p.mirrors = git.NewMirrors(git.Config{AllowedHosts: allowed, InsecureHosts: allowed})
	return p, p.mirrors.Close, nil
}

// application renders one and asks the cluster about each of its objects.
func (p *previewer) application(ctx context.Context, app *oam.Application) (*previewed, error) {
	if err := checkPlan(p.render, app); err != nil {
		return nil, fmt.Errorf("rendering %s/%s: %w", app.Namespace, app.Name, err)
	}
	revision := oam.Revision{Name: app.Name + "-v1", N: 1}
	if latest := app.Status.LatestRevision; latest != nil {
		revision = *latest
	}
	rc := render.Context{
		AppName: app.Name, Namespace: app.Namespace, AppRevision: revision.Name, AppRevisionNum: revision.N,
		AppLabels: app.Labels, AppAnnotations: app.Annotations, Components: app.Spec.Components, ClusterVersion: p.version,
	}
	out := &previewed{app: app}
	owner := apply.Owner{Namespace: app.Namespace, Name: app.Name, UID: app.UID}
	for _, c := range app.Spec.Components {
		src, err := render.SourceOf(c)
		if err != nil {
			return nil, renderError(app, err)
		}
		tree, err := p.treeOf(ctx, app, src)
		if err != nil {
			return nil, err
		}
		rendered, err := p.render.Component(ctx, c, rc, tree)
		if err != nil {
			return nil, renderError(app, err)
		}
		component := previewedComponent{Component: rendered, source: src}
		items := make([]apply.Item, 0, len(rendered.Objects))
		for _, o := range rendered.Objects {
			items = append(items, apply.Item{Object: o.Unstructured, Component: c.Name})
		}
		component.previews = p.cluster.DryRun(ctx, owner, items, src != nil)
		out.components = append(out.components, component)
	}
	return out, nil
}

func (p *previewer) treeOf(ctx context.Context, app *oam.Application, src *render.Source) (fs.FS, error) {
	if src == nil || p.tree != nil {
		return p.tree, nil
	}
	source := git.Source{URL: src.URL}
	if src.SecretName != "" {
		source.Secret = app.Namespace + "/" + src.SecretName
		data, err := p.cluster.SecretData(ctx, app.Namespace, src.SecretName)
		if err != nil {
			return nil, refused(err)
		}
		if source.Auth, err = git.AuthFromSecret(data); err != nil {
			return nil, fmt.Errorf("secret %s: %w", source.Secret, err)
		}
	}
	tree, err := p.mirrors.Fetch(ctx, source, git.Ref{Branch: src.Branch, Tag: src.Tag, Name: src.RefName, Commit: src.Commit, SemVer: src.SemVer})
	if err != nil {
		return nil, &exitError{code: exitFailure, err: err, hint: cmp.Or(hintOf(err), "name the root of a clone with --tree to do without the Git server")}
	}
	return tree.FS(), nil
}
