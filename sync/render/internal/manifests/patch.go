package manifests

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/api/builtins"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// Patch changes objects in the way of a kustomization's patches: text of a strategic merge
// patch or of a JSON patch, for the objects that target selects. A strategic merge patch
// without target names its object itself.
type Patch struct {
	Field  string // where it stands, for messages
	Text   string
	Target map[string]any
}

// maxPatch bounds the text of one patch.
const maxPatch = 1 << 20

// ApplyPatches changes objects in the order of the patches. Hints tell of patches that had
// nothing to change, which Kustomize and Flux let pass.
func ApplyPatches(objects []Object, patches []Patch) (out []Object, hints []string, err error) {
	if len(patches) == 0 {
		return objects, nil, nil
	}
	parseSchema()
	schemas.RLock()
	defer schemas.RUnlock()
	s, err := newPatched(objects)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range patches {
		idle, err := s.apply(p)
		if err != nil {
			return nil, nil, &problem.Error{Field: p.Field, Err: err}
		}
		if idle {
			hints = append(hints, fmt.Sprintf("%s changes nothing: no object is %s", p.Field, describe(p.Target)))
		}
	}
	out, err = s.objects()
	return out, hints, err
}

// patched is objects in the hands of Kustomize.
type patched struct {
	resources resmap.ResMap
	from      map[*resource.Resource]Object
	helpers   *resmap.PluginHelpers
}

func newPatched(objects []Object) (*patched, error) {
	factory := resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory())
	s := &patched{
		resources: resmap.New(), from: map[*resource.Resource]Object{},
		helpers: resmap.NewPluginHelpers(nil, nil, factory, types.DisabledPluginConfig()),
	}
	for _, o := range objects {
		// A copy: what the patches change must not show in what was read.
		r, err := factory.RF().FromMap(o.DeepCopy().Object)
		if err == nil {
			err = s.resources.Append(r)
		}
		if err != nil {
			return nil, &problem.Error{File: o.File, Line: o.Line, Err: errors.New(problem.OneLine(err.Error()))}
		}
		s.from[r] = o
	}
	return s, nil
}

// apply runs Kustomize's own transformer. The patch is always text: a path would be read.
func (s *patched) apply(p Patch) (idle bool, err error) {
	switch {
	case strings.TrimSpace(p.Text) == "":
		return false, errors.New("the patch is empty")
	case len(p.Text) > maxPatch:
		return false, fmt.Errorf("the patch has more than %d KiB", maxPatch>>10)
	}
	if _, err := yaml.YAMLToJSONStrict([]byte(p.Text)); err != nil && !strings.Contains(p.Text, "\n---") {
		wrong := yamlError("", 1, err)
		return false, fmt.Errorf("the patch is not YAML: line %d: %w", wrong.Line, wrong.Err)
	}
	target, err := selector(p.Target)
	if err != nil {
		return false, err
	}
	if target != nil {
		selected, err := s.resources.Select(*target)
		if err != nil {
			return false, fmt.Errorf("target: %s", problem.OneLine(err.Error()))
		}
		if len(selected) == 0 {
			return true, nil
		}
	}
	config, err := json.Marshal(map[string]any{"patch": p.Text, "target": target})
	if err != nil {
		return false, err
	}
	transformer := builtins.PatchTransformerPlugin{}
	if err := transformer.Config(s.helpers, config); err != nil {
		return false, errors.New("the patch is neither an object with apiVersion, kind and metadata.name nor a list of JSON patch operations")
	}
	if err := transformer.Transform(s.resources); err != nil {
		return false, fmt.Errorf("patching %s: %s", describe(p.Target), withoutNoise(err.Error(), p.Text))
	}
	return false, nil
}

// withoutNoise is a message of Kustomize without the patch and the ids that it repeats.
func withoutNoise(message, patch string) string {
	message = strings.ReplaceAll(message, fmt.Sprintf("[patch: %q]", strings.TrimSpace(patch)), "")
	message, _, _ = strings.Cut(message, ": no matches for Id")
	return strings.TrimSuffix(problem.OneLine(message), ":")
}

func selector(target map[string]any) (*types.Selector, error) {
	if target == nil {
		return nil, nil
	}
	raw, err := json.Marshal(target)
	if err != nil {
		return nil, err
	}
	s := &types.Selector{}
	if err := yaml.UnmarshalStrict(raw, s); err != nil {
		return nil, fmt.Errorf("target: %s", problem.OneLine(err.Error()))
	}
	return s, nil
}

// describe is a target in words: "kind Deployment, name web".
func describe(target map[string]any) string {
	var parts []string
	for _, key := range []string{"group", "version", "kind", "namespace", "name", "labelSelector", "annotationSelector"} {
		if value, _ := target[key].(string); value != "" {
			parts = append(parts, key+" "+value)
		}
	}
	if len(parts) == 0 {
		return "the objects"
	}
	return strings.Join(parts, ", ")
}

// objects takes them back, each with the place it came from.
func (s *patched) objects() ([]Object, error) {
	s.resources.RemoveBuildAnnotations()
	var out []Object
	for _, r := range s.resources.Resources() {
		if r.IsNilOrEmpty() { // $patch: delete
			continue
		}
		from := s.from[r]
		raw, err := r.MarshalJSON()
		if err != nil {
			return nil, &problem.Error{File: from.File, Line: from.Line, Err: err}
		}
		found, err := objectsOf(raw)
		if err != nil {
			return nil, &problem.Error{File: from.File, Line: from.Line, Err: fmt.Errorf("once patched: %w", err)}
		}
		for _, u := range found {
			out = append(out, Object{Unstructured: u, File: from.File, Line: from.Line})
		}
	}
	if len(out) == 0 {
		return nil, &problem.Error{Err: fmt.Errorf("%w are left by the patches: to delete everything, remove the component", ErrEmpty)}
	}
	return out, nil
}
