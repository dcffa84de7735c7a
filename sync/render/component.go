package render

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/manifests"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// auxiliary is the trait type KubeVela writes on a component's own outputs.
const auxiliary = "AuxiliaryWorkload"

// assembly is a component while its definition and then each trait add to it.
type assembly struct {
	engine  *template.Engine
	context map[string]any
	objects []Object
	hints   []string
}

// fromDefinition evaluates the component's definition and then its traits in order.
func (r *Renderer) fromDefinition(ctx context.Context, c oam.Component, rc Context) (*Component, error) {
	out := &Component{Name: c.Name, Type: c.Type}
	err := r.engines.Do(ctx, func(e *template.Engine) error {
		a := &assembly{engine: e, context: rc.data(c)}
		def, err := r.usable(KindComponent, rc.home(), c.Type)
		if err != nil {
			return err
		}
		if err := a.component(def, c, rc); err != nil {
			return err
		}
		for i, t := range c.Traits {
			tdef, err := r.usable(KindTrait, rc.home(), t.Type)
			if err != nil {
				return err
			}
			if err := a.trait(i, tdef, t, rc); err != nil {
				return withTrait(err, t.Type)
			}
		}
		if err := a.identify(r, c, rc); err != nil {
			return err
		}
		if err := a.combine(); err != nil {
			return err
		}
		out.Objects, out.Hints = a.objects, a.hints
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, o := range out.Objects {
		mark(o, c, rc)
	}
	return out, nil
}

func withTrait(err error, trait string) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Trait == "" {
		e.Trait = trait
	}
	return err
}

func (a *assembly) component(def *Definition, c oam.Component, rc Context) error {
	properties := c.Properties
	if properties == nil {
		properties = map[string]any{}
	}
	result, err := a.evaluate(def, properties, rc)
	if err != nil {
		return err
	}
	workload, err := result.Output()
	if err != nil {
		return err
	}
	if workload == nil {
		return &Error{Err: fmt.Errorf("definition %q has no output", def.Name)}
	}
	a.objects = []Object{{Unstructured: &unstructured.Unstructured{Object: workload}, Role: oam.ResourceWorkload, Stage: StageDefault, outputs: []output{{trait: -1}}}}
	return a.add(result, -1, auxiliary, StageDefault)
}

// trait adds what the trait makes, and patches what was made before.
func (a *assembly) trait(index int, def *Definition, t oam.Trait, rc Context) error {
	workload, made, at := a.made()
	a.context["output"], a.context["outputs"] = workload, made
	result, err := a.evaluate(def, t.Properties, rc)
	if err != nil {
		return err
	}
	if workload, err = result.Patch(workload); err != nil {
		return err
	}
	a.objects[0].Object = workload
	if err := result.PatchOutputs(made); err != nil {
		return err
	}
	for key, i := range at {
		a.objects[i].Object, _ = made[key].(map[string]any)
	}
	return a.add(result, index, t.Type, cmp.Or(def.Stage, StageDefault))
}

// made is the workload and what else there is so far: by key, and where it stands. Of
// several with one key the last counts.
func (a *assembly) made() (workload, others map[string]any, at map[string]int) {
	others, at = map[string]any{}, map[string]int{}
	for i, o := range a.objects[1:] {
		others[o.Key], at[o.Key] = o.Object, i+1
	}
	return a.objects[0].Object, others, at
}

func (a *assembly) evaluate(def *Definition, properties map[string]any, rc Context) (*template.Result, error) {
	if def.Hint != "" {
		a.hints = append(a.hints, def.Hint)
	}
	in := template.Input{Parameter: properties, Context: a.context}
	if strings.Contains(def.Template, "components") {
		in.Context = maps.Clone(a.context)
		in.Context["components"] = plain(rc.Components)
	}
	in.Context = withParameter(in.Context, def, properties)
	source := template.Template{Name: def.Name, Text: def.Template}
	result, err := a.engine.Evaluate(source, in)
	if err != nil {
		return nil, err
	}
	a.hints = append(a.hints, unread(def, properties, a.engine.Properties(source))...)
	return result, nil
}

// withParameter adds context.parameter, the properties as they were given, for the few
// templates that read it there.
func withParameter(context map[string]any, def *Definition, properties map[string]any) map[string]any {
	if !strings.Contains(def.Template, "context.parameter") {
		return context
	}
	context = maps.Clone(context)
	context["parameter"] = properties
	return context
}

// plain is a list as templates see it. context.components grows with the Application, so
// only templates that mention it are given it.
func plain[T any](list []T) []any {
	raw, err := json.Marshal(list)
	var out []any
	if err != nil || json.Unmarshal(raw, &out) != nil || out == nil {
		return []any{}
	}
	return out
}

// unread are hints at properties that a definition does not have: KubeVela ignores them,
// and so do we, but most are misspelt.
func unread(def *Definition, properties map[string]any, known []string) []string {
	var hints []string
	if known == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if slices.Contains(known, name) {
			continue
		}
		hint := fmt.Sprintf("%s %s does not read properties.%s", def.Kind, def.Name, name)
		if near := nearest(name, known); near != "" {
			hint += fmt.Sprintf(": did you mean %q?", near)
		}
		hints = append(hints, hint)
	}
	return hints
}

func (a *assembly) add(result *template.Result, index int, trait, stage string) error {
	outputs, err := result.Outputs()
	for _, o := range outputs {
		a.objects = append(a.objects, Object{
			Unstructured: &unstructured.Unstructured{Object: o.Object}, Role: oam.ResourceTrait, Trait: trait, Key: o.Key,
			Stage: stage, outputs: []output{{index, o.Key}},
		})
	}
	return err
}

// identify gives every object its name and namespace.
func (a *assembly) identify(r *Renderer, c oam.Component, rc Context) error {
	for _, o := range a.objects {
		if err := manifests.Identity(o.Unstructured); err != nil {
			return withTrait(&Error{Field: o.Key, Err: err}, traitOf(o))
		}
		if o.GetName() == "" {
			o.SetName(defaultName(c.Name, o))
		}
		r.place(o.Unstructured, rc.Namespace)
	}
	return nil
}

func traitOf(o Object) string {
	if o.Trait == auxiliary {
		return ""
	}
	return o.Trait
}

// defaultName is the component's for its workload; others get a suffix that stays the
// same while their definition names them the same.
func defaultName(component string, o Object) string {
	if o.Role == oam.ResourceWorkload || o.Key == "" { // or the main object of a policy
		return component
	}
	sum := sha256.Sum256([]byte(o.Key))
	return fmt.Sprintf("%s-%s-%s", component, strings.ToLower(labelValue(o.Trait)), hex.EncodeToString(sum[:5]))
}

// combine makes one of objects that are the same: a port that a webservice exposes and a
// trait of it that leads there both make the Service. Service ports are told apart by
// their number; anything the two do not agree on is a mistake.
func (a *assembly) combine() error {
	first := map[objectID]int{}
	kept := a.objects[:0]
	for _, o := range a.objects {
		id := idOf(o.Unstructured)
		at, ok := first[id]
		if !ok {
			first[id] = len(kept)
			kept = append(kept, o)
			continue
		}
		merged, err := a.engine.Combine(kept[at].Object, o.Object, "port")
		if err != nil {
			return withTrait(&Error{Err: fmt.Errorf("%s %s is made twice, and differently: %w", o.GetKind(), o.GetName(), err)}, traitOf(o))
		}
		kept[at].Object = merged
		kept[at].outputs = append(kept[at].outputs, o.outputs...)
	}
	a.objects = kept
	return nil
}
