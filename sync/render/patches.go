package render

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/manifests"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// The traits that patch what a tree holds. Their definitions have only the schema: the
// patches are executed on the objects, before these get their namespace and labels.
const (
	traitPatch         = "kustomize-patch"
	traitJSONPatch     = "kustomize-json-patch"
	traitStrategyMerge = "kustomize-strategy-merge"
)

// patch executes the patch traits of a component in their order. Traits of other types
// would need a workload, and a tree has none.
func (r *Renderer) patch(ctx context.Context, c oam.Component, rc Context, loaded []manifests.Object, out *Component) ([]manifests.Object, error) {
	for _, t := range c.Traits {
		if t.Type != traitPatch && t.Type != traitJSONPatch && t.Type != traitStrategyMerge {
			out.Hints = append(out.Hints, fmt.Sprintf("trait %s has no effect here: of what comes from a source, only the kustomize-… traits change anything", t.Type))
			continue
		}
		if err := r.checkTrait(ctx, c, t, rc); err != nil {
			return nil, withTrait(err, t.Type)
		}
		patches, err := patchesOf(t)
		if err != nil {
			return nil, withTrait(err, t.Type)
		}
		var hints []string
		if loaded, hints, err = manifests.ApplyPatches(loaded, patches); err != nil {
			return nil, withTrait(err, t.Type)
		}
		for _, hint := range hints {
			out.Hints = append(out.Hints, fmt.Sprintf("trait %s: %s", t.Type, hint))
		}
	}
	return loaded, nil
}

// checkTrait holds the properties of a trait against its definition.
func (r *Renderer) checkTrait(ctx context.Context, c oam.Component, t oam.Trait, rc Context) error {
	def, _ := Builtins().Definition(KindTrait, "", t.Type) // such types are ours
	source := template.Template{Name: def.Name, Text: def.Template}
	return r.engines.Do(ctx, func(e *template.Engine) error {
		result, err := e.Evaluate(source, template.Input{Parameter: t.Properties, Context: rc.data(c)})
		if err != nil {
			return err
		}
		return result.Complete()
	})
}

// patchesOf reads the patches of a trait whose properties were checked.
func patchesOf(t oam.Trait) ([]manifests.Patch, error) {
	key := map[string]string{traitPatch: "patches", traitJSONPatch: "patchesJson", traitStrategyMerge: "patchesStrategicMerge"}[t.Type]
	list, _ := t.Properties[key].([]any)
	patches := make([]manifests.Patch, 0, len(list))
	for i, item := range list {
		p := manifests.Patch{Field: fmt.Sprintf("properties.%s[%d]", key, i)}
		entry, ok := item.(map[string]any)
		if !ok {
			return nil, &Error{Field: p.Field, Err: errors.New("object wanted")}
		}
		if t.Type == traitStrategyMerge {
			raw, err := json.Marshal(entry)
			if err != nil {
				return nil, &Error{Field: p.Field, Err: err}
			}
			p.Text = string(raw)
			patches = append(patches, p)
			continue
		}
		p.Target, _ = entry["target"].(map[string]any)
		if p.Text, ok = entry["patch"].(string); !ok {
			raw, err := json.Marshal(entry["patch"])
			if err != nil {
				return nil, &Error{Field: p.Field, Err: err}
			}
			p.Text = string(raw)
		}
		patches = append(patches, p)
	}
	return patches, nil
}
