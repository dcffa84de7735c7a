package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// sourceOf is the Git source of a component: its own, or that of its chart; nil when it
// has none.
func sourceOf(c oam.Component) (*render.Source, error) {
	if c.Type != helm.ComponentType {
		return render.SourceOf(c)
	}
	spec, err := helm.SpecOf(c, "")
	if err != nil || spec.RepoType != helm.RepoGit {
		return nil, err
	}
	return gitSource(spec), nil
}

func gitSource(s *helm.Spec) *render.Source {
	return &render.Source{
		Type: helm.RepoGit, URL: s.URL, Path: s.Chart, Branch: s.Git.Branch, Tag: s.Git.Tag, SemVer: s.Git.SemVer, RefName: s.Git.Name,
		Commit: s.Git.Commit, SecretName: s.SecretName, PullInterval: s.PullInterval, Timeout: s.Timeout,
	}
}

// fetchChart returns the chart that a component asks for as it is now.
func (x *run) fetchChart(ctx context.Context, p *part, spec *helm.Spec) (*helm.Chart, error) {
	if spec.RepoType == helm.RepoGit {
		return x.chartFromGit(ctx, p, spec)
	}
	src := helm.Source{URL: spec.URL, Chart: spec.Chart, Version: spec.Version, Timeout: spec.Timeout, MaxAge: spec.PullInterval}
	if x.fresh {
		src.MaxAge = 0
	}
	if spec.SecretName != "" {
		data, err := x.text(ctx, kindSecret, spec.SecretName)
		if err == nil {
			src.Login, err = helm.LoginFromSecret(data)
		}
		if err != nil {
			return nil, fmt.Errorf("secret %s/%s: %w", x.app.Namespace, spec.SecretName, err)
		}
	}
	chart, err := x.charts.Fetch(ctx, src)
	if err != nil {
		return nil, err
	}
	return chart.WithValuesFiles(spec.ValuesFiles, nil)
}

func (x *run) chartFromGit(ctx context.Context, p *part, spec *helm.Spec) (*helm.Chart, error) {
	src := gitSource(spec)
	tree, err := x.sourceTree(ctx, src)
	if err != nil {
		return nil, err
	}
	x.sourceAt(p.Name, src, string(tree.Commit()), false)
	files := git.Trace(tree).FS()
	chart, err := helm.FromTree(files, spec.Chart)
	if err != nil {
		return nil, err
	}
	return chart.WithValuesFiles(spec.ValuesFiles, func(name string) ([]byte, error) { return fs.ReadFile(files, name) })
}

// chartValues merges what the component says with what it refers to.
func (x *run) chartValues(ctx context.Context, spec *helm.Spec) (map[string]any, error) {
	from := make([][]byte, len(spec.ValuesFrom))
	for i, v := range spec.ValuesFrom {
		data, err := x.text(ctx, v.Kind, v.Name)
		if err != nil && (!v.Optional || !apply.IsNotFound(err)) {
			return nil, err
		}
		text, ok := data[v.Key]
		if !ok && !v.Optional {
			return nil, fmt.Errorf("%s %s/%s has no key %s", v.Kind, x.app.Namespace, v.Name, v.Key)
		}
		from[i] = text
	}
	return spec.ValuesOf(from)
}

// texts keeps Secrets and ConfigMaps that charts refer to for a short while, so that many
// looks cost one read.
type texts struct {
	mu    sync.Mutex
	known map[string]knownText
}

type knownText struct {
	data map[string][]byte
	at   time.Time
}

// maxTexts bounds what is kept; it is little more than the number of references.
const maxTexts = 1000

func newTexts() *texts { return &texts{known: map[string]knownText{}} }

// textReader is who reads: what one account may read is no business of another.
type textReader struct {
	cluster *apply.Cluster
	account string
}

func (t *texts) read(ctx context.Context, as textReader, kind, namespace, name string, now time.Time) (map[string][]byte, error) {
	key := as.account + " " + kind + " " + namespace + "/" + name
	t.mu.Lock()
	known, ok := t.known[key]
	t.mu.Unlock()
	if ok && now.Sub(known.at) < secretTrust {
		return known.data, nil
	}
	data, err := readText(ctx, as.cluster, kind, namespace, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		delete(t.known, key)
		return nil, err
	}
	if len(t.known) >= maxTexts {
		clear(t.known)
	}
	t.known[key] = knownText{data: data, at: now}
	return data, nil
}

func readText(ctx context.Context, cluster *apply.Cluster, kind, namespace, name string) (map[string][]byte, error) {
	if kind == kindSecret {
		return cluster.SecretData(ctx, namespace, name)
	}
	o, err := cluster.Read(ctx, apply.ObjectRef{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	plain, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return nil, errors.New("its data is not text")
	}
	out := map[string][]byte{}
	for k, v := range plain {
		out[k] = []byte(v)
	}
	return out, nil
}
