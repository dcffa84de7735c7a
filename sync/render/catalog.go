package render

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// SystemNamespace is where definitions are that every namespace sees.
const SystemNamespace = "vela-system"

// DefinitionID names a definition.
type DefinitionID struct {
	Kind            Kind
	Namespace, Name string
}

// Catalog is what a cluster defines, over what comes with Tradewind: a type is looked for
// in the Application's namespace, in [SystemNamespace] and among the built-in ones. It
// is safe for concurrent use.
type Catalog struct {
	builtins Definitions

	mu        sync.RWMutex
	current   map[DefinitionID]*Definition
	revisions map[DefinitionID]*Definition // by the name of the DefinitionRevision, such as web-v3
}

var _ Definitions = (*Catalog)(nil)

// NewCatalog returns a Catalog of the built-in definitions alone.
func NewCatalog() *Catalog {
	return &Catalog{builtins: Builtins(), current: map[DefinitionID]*Definition{}, revisions: map[DefinitionID]*Definition{}}
}

// Put takes a definition, or a DefinitionRevision, as the cluster has it. It returns the
// type it is about, and whether that means something else now. One that cannot be used
// is kept with the reason: it must not make way for another of that name.
func (c *Catalog) Put(object *unstructured.Unstructured) (about DefinitionID, changed bool) {
	set, id, def := c.place(object)
	if def == nil {
		return DefinitionID{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, known := set[id]
	set[id] = def
	about = DefinitionID{def.Kind, id.Namespace, def.Name}
	return about, !known || old.hash() != def.hash() || old.Version != def.Version
}

// Remove forgets what Put took.
func (c *Catalog) Remove(object *unstructured.Unstructured) (about DefinitionID, changed bool) {
	set, id, def := c.place(object)
	if def == nil {
		return DefinitionID{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, changed = set[id]
	delete(set, id)
	return DefinitionID{def.Kind, id.Namespace, def.Name}, changed
}

// place says what an object defines and where that is kept; def is nil for an object
// that defines nothing.
func (c *Catalog) place(object *unstructured.Unstructured) (set map[DefinitionID]*Definition, id DefinitionID, def *Definition) {
	if object.GetKind() == KindRevision {
		if def = fromRevision(object); def == nil {
			return nil, id, nil
		}
		return c.revisions, DefinitionID{def.Kind, object.GetNamespace(), object.GetName()}, def
	}
	if def, _ = DefinitionFromObject(object.Object); def == nil { // why it cannot be used is in def
		return nil, id, nil
	}
	return c.current, DefinitionID{def.Kind, def.Namespace, def.Name}, def
}

// fromRevision reads the definition that a DefinitionRevision holds. It belongs where the
// revision is, whatever the copy says.
func fromRevision(revision *unstructured.Unstructured) *Definition {
	for kind, objectKind := range objectKinds {
		held, ok, _ := unstructured.NestedMap(revision.Object, "spec", strings.ToLower(objectKind[:1])+objectKind[1:])
		if !ok || len(held) == 0 {
			continue
		}
		copied := &unstructured.Unstructured{Object: held}
		if copied.GetName() == "" { // the fields that are always written, empty
			continue
		}
		copied.SetAPIVersion(revision.GetAPIVersion()) // left out by some versions of KubeVela
		copied.SetKind(kind.ObjectKind())
		copied.SetNamespace(revision.GetNamespace())
		def, _ := DefinitionFromObject(held)
		return def
	}
	return nil
}

// Definition finds a type. "name@v3" is DefinitionRevision name-v3; "name@1.2" is the
// newest that says it is of version 1.2.
func (c *Catalog) Definition(kind Kind, namespace, name string) (*Definition, bool) {
	name, pin, pinned := strings.Cut(name, "@")
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, at := range namespaces(namespace) {
		id := DefinitionID{kind, at, name}
		def, ok := c.current[id]
		if pinned {
			def, ok = c.pinned(id, pin)
		}
		if ok {
			return def, true
		}
	}
	if pinned {
		return nil, false
	}
	return c.builtins.Definition(kind, namespace, name)
}

// pinned needs mu.
func (c *Catalog) pinned(id DefinitionID, pin string) (*Definition, bool) {
	name := id.Name
	id.Name += "-" + pin
	if def, ok := c.revisions[id]; ok && def.Name == name {
		return def, true
	}
	if _, err := semver.NewVersion(pin); err != nil || isRevision(pin) {
		return nil, false
	}
	wanted := strings.TrimPrefix(pin, "v")
	var best *Definition
	var newest *semver.Version
	consider := func(found DefinitionID, def *Definition) {
		v, err := semver.StrictNewVersion(strings.TrimPrefix(def.Version, "v"))
		if err != nil || found.Kind != id.Kind || found.Namespace != id.Namespace || def.Name != name {
			return
		}
		if within(v, wanted) && (newest == nil || v.GreaterThan(newest)) {
			best, newest = def, v
		}
	}
	for found, def := range c.revisions {
		consider(found, def)
	}
	for found, def := range c.current { // wins over a revision of the same version only when there is none
		consider(found, def)
	}
	return best, best != nil
}

// isRevision tells "v3", a number of a revision, from a version.
func isRevision(pin string) bool {
	rest, ok := strings.CutPrefix(pin, "v")
	return ok && !strings.Contains(rest, ".")
}

// within says that v is wanted or, where wanted leaves parts out, one of its releases.
func within(v *semver.Version, wanted string) bool {
	text := v.String()
	return text == wanted || strings.HasPrefix(text, wanted+".") && strings.Count(wanted, ".") < 2 && v.Prerelease() == ""
}

// Names lists the types of a kind that a namespace sees.
func (c *Catalog) Names(kind Kind, namespace string) []string {
	names := map[string]bool{}
	for _, name := range c.builtins.Names(kind, namespace) {
		names[name] = true
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	seen := namespaces(namespace)
	for id := range c.current {
		if id.Kind == kind && slices.Contains(seen, id.Namespace) {
			names[id.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// namespaces are those that an Application's types are looked for in.
func namespaces(own string) []string {
	if own == SystemNamespace {
		return []string{own}
	}
	return []string{own, SystemNamespace}
}
