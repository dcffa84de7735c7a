// Package render turns the components of an Application into Kubernetes objects, and
// says from the live objects how healthy they are. It is a pure function of its inputs:
// no network, no files but the tree it is given, no environment and no clock. Component
// and trait types are CUE definitions (definitions/*), the same contract a user's own
// definitions follow; Git paths are read as plain YAML or built with Kustomize.
//
// It is the only package that uses CUE or Kustomize.
package render

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Config is what a Renderer needs to know of the world.
type Config struct {
	// Definitions resolves types; nil means the built-in ones.
	Definitions Definitions
	// Namespaced says whether a kind lives in a namespace; nil, or known=false, means
	// yes except for the built-in cluster-scoped kinds.
	Namespaced func(schema.GroupKind) (namespaced, known bool)
}

// Renderer renders. It is safe for concurrent use and keeps compiled definitions.
type Renderer struct {
	definitions Definitions
	namespaced  func(schema.GroupKind) (bool, bool)
	engines     chan *engine
}

// maxEngines bounds how many CUE contexts exist; each costs a few MiB.
const maxEngines = 4

// New returns a Renderer.
func New(cfg Config) *Renderer {
	r := &Renderer{definitions: cfg.Definitions, namespaced: cfg.Namespaced, engines: make(chan *engine, maxEngines)}
	if r.definitions == nil {
		r.definitions = Builtins()
	}
	for range maxEngines {
		r.engines <- nil // made when first needed
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
}

// Object is one rendered object and where it comes from.
type Object struct {
	*unstructured.Unstructured
	Role   string // oam.ResourceWorkload, oam.ResourceTrait, or "" for an object from Git
	Trait  string // the trait's type, or "AuxiliaryWorkload" for a component's own outputs
	Key    string // the key inside outputs
	Origin string // "<file>" in the tree, for messages
}

// Component is a rendered component; the workload, where there is one, comes first.
type Component struct {
	Name    string
	Type    string
	Objects []Object
	Hints   []string // advice about old spellings
}

// Error is a mistake in what was to be rendered: it names the component and, where
// known, trait, field, file and line.
type Error struct {
	Component string
	Trait     string
	Field     string
	File      string
	Line      int
	Advice    string // what to do next, or empty
	Err       error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Component != "" {
		fmt.Fprintf(&b, "component %q: ", e.Component)
	}
	if e.Trait != "" {
		fmt.Fprintf(&b, "trait %q: ", e.Trait)
	}
	switch {
	case e.File != "" && e.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	case e.File != "":
		fmt.Fprintf(&b, "%s: ", e.File)
	}
	if e.Field != "" {
		fmt.Fprintf(&b, "%s: ", e.Field)
	}
	return b.String() + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next, or is empty.
func (e *Error) Hint() string { return e.Advice }

// Component renders one component. tree is the source's tree for components that have
// one ([SourceOf]), nil for all others.
func (r *Renderer) Component(ctx context.Context, c oam.Component, rc Context, tree fs.FS) (out *Component, err error) {
	defer func() {
		// CUE and Kustomize panic on some hostile input; one Application pays for it.
		if p := recover(); p != nil {
			out, err = nil, &Error{Component: c.Name, Err: fmt.Errorf("the renderer panicked: %v", p)}
		}
		err = withComponent(err, c.Name)
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.CheckTypes(c); err != nil {
		return nil, err
	}
	src, err := SourceOf(c)
	if err != nil {
		return nil, err
	}
	if src != nil {
		return r.fromTree(c, rc, src, tree)
	}
	return r.fromDefinition(c, rc)
}

func withComponent(err error, name string) error {
	if e, ok := err.(*Error); ok && e.Component == "" { //nolint:errorlint // only the outermost, fresh from this package
		e.Component = name
	}
	return err
}

// CheckTypes reports a component or trait type that nobody defined, with the nearest
// known name.
func (r *Renderer) CheckTypes(c oam.Component) error {
	if _, ok := r.definitions.Definition(KindComponent, c.Type); !ok {
		return unknownType(r.definitions, KindComponent, c.Type, c.Name)
	}
	for _, t := range c.Traits {
		if _, ok := r.definitions.Definition(KindTrait, t.Type); !ok {
			return unknownType(r.definitions, KindTrait, t.Type, c.Name)
		}
	}
	return nil
}

// fromDefinition evaluates the component's definition and then its traits in order.
func (r *Renderer) fromDefinition(c oam.Component, rc Context) (*Component, error) {
	def, _ := r.definitions.Definition(KindComponent, c.Type)
	e := <-r.engines
	defer func() { r.engines <- e }()
	e = e.usable()

	out := &Component{Name: c.Name, Type: c.Type}
	data := rc.data(c)
	result, err := e.component(def, c.Properties, data)
	if err != nil {
		return nil, err
	}
	out.hint(def)
	for _, t := range c.Traits {
		tdef, _ := r.definitions.Definition(KindTrait, t.Type)
		if err := e.trait(tdef, t.Properties, data, result); err != nil {
			err.Trait = t.Type
			return nil, err
		}
		out.hint(tdef)
	}
	for _, o := range result.objects {
		obj := Object{Unstructured: &unstructured.Unstructured{Object: o.value}, Role: o.role, Trait: o.trait, Key: o.key}
		if err := r.finish(&obj, c, rc); err != nil {
			return nil, err
		}
		out.Objects = append(out.Objects, obj)
	}
	return out, nil
}

func (c *Component) hint(def *Definition) {
	if def.Hint != "" {
		c.Hints = append(c.Hints, def.Hint)
	}
}

// finish gives an object what the engine adds to every one: name, namespace, labels.
func (r *Renderer) finish(o *Object, c oam.Component, rc Context) error {
	if err := checkIdentity(o.Object); err != nil {
		return &Error{Field: o.Key, Err: err}
	}
	if o.GetName() == "" {
		o.SetName(c.Name)
	}
	r.place(o.Unstructured, rc.Namespace)

	labels := copyMeta(rc.AppLabels, rc.AppAnnotations["filter.oam.dev/label-keys"])
	maps.Copy(labels, o.GetLabels())
	maps.Copy(labels, map[string]string{
		oam.LabelName: rc.AppName, oam.LabelNamespace: rc.Namespace, oam.LabelComponent: c.Name,
		oam.LabelRevision: rc.AppRevision, oam.LabelResourceType: o.Role,
	})
	if o.Role == oam.ResourceWorkload {
		labels[oam.LabelWorkloadType] = c.Type
	} else {
		labels[oam.LabelTraitType], labels[oam.LabelTraitKey] = o.Trait, o.Key
	}
	setManagedBy(labels)
	o.SetLabels(labels)
	annotations := copyMeta(rc.AppAnnotations, rc.AppAnnotations["filter.oam.dev/annotation-keys"])
	maps.Copy(annotations, o.GetAnnotations())
	if len(annotations) > 0 {
		o.SetAnnotations(annotations)
	}
	return nil
}

// copyMeta copies the Application's own labels or annotations, as KubeVela does, but not
// what a syncer or a tool wrote on the Application for its own use.
func copyMeta(from map[string]string, only string) map[string]string {
	keys := map[string]bool{}
	for _, k := range strings.Split(only, ",") {
		keys[strings.TrimSpace(k)] = k != ""
	}
	out := map[string]string{}
	for k, v := range from {
		group, _, _ := strings.Cut(k, "/")
		own := group == "kubectl.kubernetes.io" || strings.HasSuffix(group, "tradewind.dev") || strings.HasSuffix(group, "fluxcd.io") ||
			group == "filter.oam.dev" || strings.HasSuffix(group, "oam.dev") || k == managedBy
		if !own && (only == "" || keys[k]) {
			out[k] = v
		}
	}
	return out
}

const managedBy = "app.kubernetes.io/managed-by"

func setManagedBy(labels map[string]string) {
	if labels[managedBy] == "" {
		labels[managedBy] = "tradewind"
	}
}

// place clears the namespace of cluster-scoped kinds and fills in an absent one.
func (r *Renderer) place(o *unstructured.Unstructured, namespace string) {
	if !r.isNamespaced(o.GroupVersionKind().GroupKind()) {
		o.SetNamespace("")
	} else if o.GetNamespace() == "" {
		o.SetNamespace(namespace)
	}
}

func (r *Renderer) isNamespaced(gk schema.GroupKind) bool {
	if r.namespaced != nil {
		if namespaced, known := r.namespaced(gk); known {
			return namespaced
		}
	}
	return !clusterScoped[gk]
}

// clusterScoped lists Kubernetes' own cluster-scoped kinds that people put in Git, for
// when no cluster can be asked.
var clusterScoped = map[schema.GroupKind]bool{
	{Kind: "Namespace"}: true, {Kind: "Node"}: true, {Kind: "PersistentVolume"}: true,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:                       true,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}:                true,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:               true,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:   true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}: true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}:      true,
	{Group: "apiregistration.k8s.io", Kind: "APIService"}:                           true,
	{Group: "storage.k8s.io", Kind: "StorageClass"}:                                 true,
	{Group: "storage.k8s.io", Kind: "CSIDriver"}:                                    true,
	{Group: "networking.k8s.io", Kind: "IngressClass"}:                              true,
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:                             true,
	{Group: "node.k8s.io", Kind: "RuntimeClass"}:                                    true,
	{Group: "gateway.networking.k8s.io", Kind: "GatewayClass"}:                      true,
}

// checkIdentity refuses objects the API server could not place.
func checkIdentity(o map[string]any) error {
	u := unstructured.Unstructured{Object: o}
	switch {
	case u.GetAPIVersion() == "":
		return fmt.Errorf("object has no apiVersion")
	case u.GetKind() == "":
		return fmt.Errorf("object has no kind")
	case u.GetGenerateName() != "":
		return fmt.Errorf("%s uses metadata.generateName: give it a name, or every delivery would create another", u.GetKind())
	}
	return nil
}

// data is the context as templates see it.
func (rc Context) data(c oam.Component) map[string]any {
	return map[string]any{
		"name": c.Name, "appName": rc.AppName, "namespace": rc.Namespace,
		"appRevision": rc.AppRevision, "appRevisionNum": rc.AppRevisionNum, "revision": "",
		"componentType": c.Type, "cluster": "local", "components": rc.Components,
		"appLabels": orEmpty(rc.AppLabels), "appAnnotations": orEmpty(rc.AppAnnotations),
		"clusterVersion": rc.ClusterVersion,
	}
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
