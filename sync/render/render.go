// Package render turns the components of an Application into Kubernetes objects, and
// says from the live objects how healthy they are. It is a pure function of its inputs:
// no network, no files but the tree it is given, no environment and no clock. Component
// and trait types are CUE definitions (definitions/*), the same contract a user's own
// definitions follow; Git paths are read as plain YAML or built with Kustomize.
//
// It and the packages below it are the only users of CUE and Kustomize.
package render

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/manifests"
	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// Errors of a source that is there but has nothing to apply. Neither is ever taken for
// "nothing is wanted": that would delete everything.
var (
	ErrPathNotFound = manifests.ErrPathNotFound
	ErrEmpty        = manifests.ErrEmpty
)

// Error is a mistake in what was to be rendered: it names the component and, where
// known, trait, field, file and line, and says in Hint what to do next.
type Error = problem.Error

// Config is what a Renderer needs to know of the world.
type Config struct {
	// Definitions resolves types; nil means the built-in ones.
	Definitions Definitions
	// Namespaced says whether a kind lives in a namespace; nil, or known=false, means
	// yes except for the built-in cluster-scoped kinds.
	Namespaced func(schema.GroupKind) (namespaced, known bool)
	// Elsewhere, when set, is where templates and kustomizations are evaluated in place
	// of this process.
	Elsewhere Elsewhere
}

// Renderer renders. It is safe for concurrent use and keeps compiled definitions.
type Renderer struct {
	definitions Definitions
	namespaced  func(schema.GroupKind) (bool, bool)
	engines     *template.Pool
	elsewhere   Elsewhere
}

// maxEngines bounds how many CUE contexts exist; each costs a few MiB.
const maxEngines = 4

// New returns a Renderer.
func New(cfg Config) *Renderer {
	r := &Renderer{definitions: cfg.Definitions, namespaced: cfg.Namespaced, engines: template.NewPool(maxEngines), elsewhere: cfg.Elsewhere}
	if r.definitions == nil {
		r.definitions = Builtins()
	}
	return r
}

// Version is the version of the target cluster.
type Version struct {
	Major      int    `json:"major"`
	Minor      int    `json:"minor"`
	GitVersion string `json:"gitVersion"`
	Platform   string `json:"platform"`
}

// Context is what templates see of the Application around a component.
type Context struct {
	AppName        string
	Namespace      string
	AppRevision    string // "<app>-v<N>"
	AppRevisionNum int64
	AppLabels      map[string]string
	AppAnnotations map[string]string
	Components     []oam.Component
	ClusterVersion Version
	PublishVersion string
	WorkflowName   string
	Cluster        string // "" means the cluster we run in
	ReplicaKey     string

	// AppNamespace is where the Application is, when Namespace is another: its
	// definitions are looked for there.
	AppNamespace string
	// Artifacts are the components as they were rendered, for policies.
	Artifacts []*Component
	// Config is what "config" holds, name and value each; nil means that there is none.
	Config []any
	// Custom is what Application-scoped policies left for templates; nil means nothing.
	Custom map[string]any
}

// home is the namespace whose definitions count.
func (rc Context) home() string { return cmp.Or(rc.AppNamespace, rc.Namespace) }

// Object is one rendered object and where it comes from.
type Object struct {
	*unstructured.Unstructured
	Role   string // oam.ResourceWorkload, oam.ResourceTrait, or "" for an object from Git
	Trait  string // the trait's type, or "AuxiliaryWorkload" for a component's own outputs
	Key    string // the key inside outputs
	Origin string // the file in the tree, or the folder of a kustomization, for messages
	Line   int    // in that file; 0 for a kustomization
	Stage  string // when it is to be applied: StagePre, StageDefault or StagePost

	outputs []output // whose output it is; several when it was combined
}

// output is a key inside the outputs of a component (trait -1) or of its n-th trait.
type output struct {
	trait int
	key   string
}

// Component is a rendered component; the workload, where there is one, comes first.
type Component struct {
	Name    string
	Type    string
	Objects []Object
	Hints   []string // advice about old spellings and properties that nothing reads
}

// Component renders one component. tree is the source's tree for components that have
// one ([SourceOf]), nil for all others.
func (r *Renderer) Component(ctx context.Context, c oam.Component, rc Context, tree fs.FS) (out *Component, err error) {
	defer func() {
		// CUE and Kustomize panic on some hostile input; one Application pays for it.
		if p := recover(); p != nil {
			out, err = nil, &Error{Component: c.Name, Err: fmt.Errorf("the renderer panicked: %s", problem.OneLine(fmt.Sprint(p)))}
		}
		err = withComponent(err, c.Name)
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.CheckTypes(rc.home(), c); err != nil {
		return nil, err
	}
	if c.Type == typeHelm {
		return nil, r.unfetched(ctx, c)
	}
	src, err := SourceOf(c)
	if err != nil {
		return nil, err
	}
	if r.elsewhere != nil {
		return sendOut[Component](ctx, r.elsewhere, Work{Component: &ComponentWork{c, rc}}, tree)
	}
	if src != nil {
		return r.fromTree(ctx, c, rc, src, tree)
	}
	return r.fromDefinition(ctx, c, rc)
}

func withComponent(err error, name string) error {
	if e, ok := err.(*Error); ok && e.Component == "" { //nolint:errorlint // only the outermost, fresh from this package
		e.Component = name
	}
	return err
}

// CheckTypes reports a component or trait type that nobody defined for the namespace,
// with the nearest known name, or whose definition cannot be used.
func (r *Renderer) CheckTypes(namespace string, c oam.Component) error {
	if _, err := r.usable(KindComponent, namespace, c.Type); err != nil {
		return withComponent(err, c.Name)
	}
	for _, t := range c.Traits {
		if _, err := r.usable(KindTrait, namespace, t.Type); err != nil {
			return withComponent(err, c.Name)
		}
	}
	return nil
}

// Fingerprint tells whether the types of a component mean the same as before: it changes
// when any of their definitions does.
func (r *Renderer) Fingerprint(namespace string, c oam.Component) string {
	h := sha256.New()
	add := func(kind Kind, name string) {
		if def, ok := r.definition(kind, namespace, name); ok {
			h.Write([]byte(def.hash()))
		}
		h.Write([]byte{0})
	}
	add(KindComponent, c.Type)
	for _, t := range c.Traits {
		add(KindTrait, t.Type)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// data is the context as templates see it.
func (rc Context) data(c oam.Component) map[string]any {
	cluster := rc.Cluster
	if cluster == "" {
		cluster = localCluster
	}
	v := rc.ClusterVersion
	data := map[string]any{
		"name": c.Name, "appName": rc.AppName, "namespace": rc.Namespace,
		"appRevision": rc.AppRevision, "appRevisionNum": rc.AppRevisionNum, "revision": "",
		"componentType": c.Type, "cluster": cluster, "replicaKey": rc.ReplicaKey,
		"publishVersion": rc.PublishVersion, "workflowName": rc.WorkflowName,
		"appLabels": orEmpty(rc.AppLabels), "appAnnotations": orEmpty(rc.AppAnnotations),
		"clusterVersion": map[string]any{
			"major": int64(v.Major), "minor": int64(v.Minor), "gitVersion": v.GitVersion, "platform": v.Platform,
		},
	}
	if rc.Config != nil {
		data["config"] = rc.Config
	}
	if rc.Custom != nil {
		data["custom"] = rc.Custom
	}
	return data
}

// localCluster is KubeVela's name of the cluster it runs in.
const localCluster = "local"

func orEmpty(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
