package reconcile

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// types answers which Applications use a type, by whatever version of it. It is fed by
// the watch of Applications.
type types struct {
	mu     sync.RWMutex
	users  map[typeName]map[events.Key]bool
	usedBy map[events.Key][]typeName
}

type typeName struct {
	kind render.Kind
	name string
}

func newTypes() *types {
	return &types{users: map[typeName]map[events.Key]bool{}, usedBy: map[events.Key][]typeName{}}
}

// set replaces what is known of one Application; the empty spec forgets it.
func (t *types) set(key events.Key, spec oam.Spec) {
	used := typesOf(spec)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, old := range t.usedBy[key] {
		delete(t.users[old], key)
		if len(t.users[old]) == 0 {
			delete(t.users, old)
		}
	}
	delete(t.usedBy, key)
	if len(used) == 0 {
		return
	}
	t.usedBy[key] = used
	for _, name := range used {
		if t.users[name] == nil {
			t.users[name] = map[events.Key]bool{}
		}
		t.users[name][key] = true
	}
}

// typesOf lists the types that a spec names, each once and without the version it asks
// for.
func typesOf(spec oam.Spec) []typeName {
	var out []typeName
	for _, given := range givenTypes(spec) {
		given.name, _, _ = strings.Cut(given.name, "@")
		if given.name != "" && !slices.Contains(out, given) {
			out = append(out, given)
		}
	}
	return out
}

// givenTypes lists the types that a spec names, as it spells them.
func givenTypes(spec oam.Spec) []typeName {
	var out []typeName
	for _, c := range spec.Components {
		out = append(out, typeName{render.KindComponent, c.Type})
		for _, t := range c.Traits {
			out = append(out, typeName{render.KindTrait, t.Type})
		}
	}
	for _, p := range spec.Policies {
		out = append(out, typeName{render.KindPolicy, p.Type})
	}
	if spec.Workflow == nil {
		return out
	}
	for _, step := range spec.Workflow.Steps {
		out = append(out, typeName{render.KindWorkflowStep, step.Type})
		for _, sub := range step.SubSteps {
			out = append(out, typeName{render.KindWorkflowStep, sub.Type})
		}
	}
	return out
}

// using returns the keys of the Applications that use a type and see the namespace it is
// defined in, sorted.
func (t *types) using(id render.DefinitionID) []events.Key {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var keys []events.Key
	for key := range t.users[typeName{id.Kind, id.Name}] {
		if namespace, _, _ := key.App(); id.Namespace == render.SystemNamespace || id.Namespace == namespace {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// onDefinition brings the catalog up to date and wakes the Applications whose types mean
// something else now. They look soon after; what is being rendered at this moment is
// rendered again, because the hash of what it is made from has changed.
func (r *Reconciler) onDefinition(before, after *unstructured.Unstructured) {
	var about render.DefinitionID
	var changed bool
	if after != nil {
		about, changed = r.catalog.Put(after)
	} else {
		about, changed = r.catalog.Remove(before)
	}
	if !changed {
		return
	}
	if after != nil && after.GetKind() != render.KindRevision {
		r.changedTypes.add(after)
	}
	users := r.types.using(about)
	for _, key := range users {
		r.wakes.add(key, events.CauseManual)
	}
	r.log.Info("definition changed", "kind", string(about.Kind), "namespace", about.Namespace, "name", about.Name, "gone", after == nil, "apps", len(users))
}
