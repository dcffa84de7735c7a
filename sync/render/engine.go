package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	cueerrors "cuelang.org/go/cue/errors"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// engine is one CUE context with the definitions compiled in it. A context is not safe
// for concurrent use, and it never frees what was evaluated in it, so engines are handed
// out one at a time and replaced after a number of uses.
type engine struct {
	ctx      *cue.Context
	compiled map[string]cue.Value
	uses     int
}

// engineUses bounds the memory of a context: about 20 KiB stay behind per evaluation.
const engineUses = 500

func (e *engine) usable() *engine {
	if e == nil || e.uses >= engineUses {
		e = &engine{ctx: cuecontext.New(), compiled: map[string]cue.Value{}}
	}
	e.uses++
	return e
}

// produced is what the definition of a component, and then each trait, made.
type produced struct {
	objects []producedObject
}

type producedObject struct {
	value map[string]any
	role  string
	trait string
	key   string
}

func (p *produced) workload() *producedObject {
	if len(p.objects) > 0 && p.objects[0].role == oam.ResourceWorkload {
		return &p.objects[0]
	}
	return nil
}

// auxiliary is the trait type KubeVela writes on a component's own outputs.
const auxiliary = "AuxiliaryWorkload"

func (e *engine) component(def *Definition, properties map[string]any, data map[string]any) (*produced, *Error) {
	if properties == nil {
		properties = map[string]any{}
	}
	v, err := e.evaluate(def, properties, data)
	if err != nil {
		return nil, err
	}
	output, err := object(v.LookupPath(cue.ParsePath("output")), "output")
	if err != nil {
		return nil, err
	}
	if output == nil {
		return nil, &Error{Err: fmt.Errorf("definition %q has no output", def.Name)}
	}
	p := &produced{objects: []producedObject{{value: output, role: oam.ResourceWorkload}}}
	return p, p.addOutputs(v, auxiliary)
}

// trait adds what the trait makes to p, and patches p's workload.
func (e *engine) trait(def *Definition, properties map[string]any, data map[string]any, p *produced) *Error {
	withOutput := make(map[string]any, len(data)+2)
	for k, v := range data {
		withOutput[k] = v
	}
	outputs := map[string]any{}
	for _, o := range p.objects {
		if o.role == oam.ResourceWorkload {
			withOutput["output"] = o.value
		} else {
			outputs[o.key] = o.value
		}
	}
	withOutput["outputs"] = outputs
	v, err := e.evaluate(def, properties, withOutput)
	if err != nil {
		return err
	}
	if patch := v.LookupPath(cue.ParsePath("patch")); patch.Exists() {
		workload := p.workload()
		if workload == nil {
			return &Error{Err: errors.New("there is no workload to patch")}
		}
		patched, patchErr := applyPatch(workload.value, patch)
		if patchErr != nil {
			return &Error{Err: fmt.Errorf("patching %v: %w", workload.value["kind"], patchErr)}
		}
		workload.value = patched
	}
	return p.addOutputs(v, def.Name)
}

func (p *produced) addOutputs(v cue.Value, trait string) *Error {
	outputs := v.LookupPath(cue.ParsePath("outputs"))
	if !outputs.Exists() {
		return nil
	}
	fields, err := outputs.Fields()
	if err != nil {
		return evaluationError(err)
	}
	var made []producedObject
	for fields.Next() {
		key := fields.Selector().Unquoted()
		obj, err := object(fields.Value(), "outputs."+key)
		if err != nil {
			return err
		}
		made = append(made, producedObject{value: obj, role: oam.ResourceTrait, trait: trait, key: key})
	}
	// The order of a comprehension is the template's; ours must not depend on it.
	slices.SortFunc(made, func(a, b producedObject) int { return strings.Compare(a.key, b.key) })
	p.objects = append(p.objects, made...)
	return nil
}

// evaluate fills parameter and context into the template and checks them.
func (e *engine) evaluate(def *Definition, properties, data map[string]any) (cue.Value, *Error) {
	v, err := e.compile(def)
	if err != nil {
		return v, err
	}
	if v, err = e.fill(v, "context", data); err != nil {
		return v, err
	}
	if properties != nil {
		if v, err = e.fill(v, "parameter", properties); err != nil {
			return v, err
		}
	}
	if parameter := v.LookupPath(cue.ParsePath("parameter")); parameter.Exists() {
		if err := parameter.Validate(cue.Concrete(true)); err != nil {
			return v, evaluationError(err)
		}
	}
	if errs := v.LookupPath(cue.ParsePath("errs")); errs.Exists() {
		var messages []string
		if errs.Decode(&messages) == nil && len(messages) > 0 {
			return v, &Error{Err: errors.New(strings.Join(messages, "; "))}
		}
	}
	return v, nil
}

func (e *engine) compile(def *Definition) (cue.Value, *Error) {
	key := string(def.Kind) + "/" + def.Template
	if v, ok := e.compiled[key]; ok {
		return v, nil
	}
	v := e.ctx.CompileString(def.Template+"\ncontext: _\nparameter: _\n", cue.Filename(def.Name+".cue"))
	if err := v.Err(); err != nil {
		return v, &Error{Err: fmt.Errorf("compiling definition %q: %s", def.Name, cueerrors.Details(err, nil))}
	}
	e.compiled[key] = v
	return v, nil
}

// fill goes through JSON, which is CUE, so that whole numbers stay integers.
func (e *engine) fill(v cue.Value, path string, data any) (cue.Value, *Error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return v, &Error{Field: path, Err: err}
	}
	return v.FillPath(cue.ParsePath(path), e.ctx.CompileBytes(raw)), nil
}

// object exports a value that must be a complete object; absent is nil.
func object(v cue.Value, field string) (map[string]any, *Error) {
	if !v.Exists() {
		return nil, nil
	}
	raw, err := v.MarshalJSON()
	if err != nil {
		return nil, evaluationError(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, &Error{Field: field, Err: fmt.Errorf("not an object: %w", err)}
	}
	return normalizeNumbers(out).(map[string]any), nil
}

// normalizeNumbers turns whole float64 into int64, which is what Kubernetes' own
// unstructured objects hold.
func normalizeNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = normalizeNumbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = normalizeNumbers(e)
		}
	case float64:
		if whole := int64(v); float64(whole) == v {
			return whole
		}
	}
	return v
}

// evaluationError puts the path and the reason of CUE's first error in one sentence.
// CUE lists every alternative of a disjunction; the first says what was wrong.
func evaluationError(err error) *Error {
	list := cueerrors.Errors(err)
	if len(list) == 0 {
		return &Error{Err: err}
	}
	first := list[0]
	for _, candidate := range list {
		// A clash of two values tells more than "N errors in empty disjunction".
		if format, _ := candidate.Msg(); strings.Contains(format, "conflicting values") {
			first = candidate
			break
		}
	}
	format, args := first.Msg()
	message := fmt.Sprintf(format, args...)
	if strings.HasPrefix(message, "incomplete value ") {
		message = "is required: want " + strings.TrimPrefix(message, "incomplete value ")
	}
	return &Error{Field: strings.Join(first.Path(), "."), Err: errors.New(message)}
}
