package step

import (
	"errors"
	"reflect"
)

// call is what an action asks for, or an error while its parameters are not complete.
func (r *run) call(a action) (Call, error) {
	switch a.function {
	case function{"kube", "apply"}:
		if a.param("patch").Exists() {
			return r.applyPatched(a)
		}
	case function{"kube", "patch"}:
		return r.patch(a)
	}
	params, err := a.params()
	return Call{Path: a.path, Provider: a.provider, Function: a.name, Params: params}, err
}

// applyPatched patches the object before it is applied: how is in the comments of the
// template, which nobody sees outside.
func (r *run) applyPatched(a action) (Call, error) {
	params, err := a.params()
	if err != nil {
		return Call{}, err
	}
	value, _ := params["value"].(map[string]any)
	if params["value"], err = r.template.Merge(value, a.param("patch")); err != nil {
		return Call{}, err
	}
	delete(params, "patch")
	return Call{Path: a.path, Provider: a.provider, Function: a.name, Params: params}, nil
}

// baseOf is the path of the call that reads the object that the action at path patches.
func baseOf(path string) string { return path + "#base" }

// patch asks for the live object first, and then for what the patch makes another of it,
// as a JSON merge patch.
func (r *run) patch(a action) (Call, error) {
	params, err := a.params()
	if err != nil {
		return Call{}, err
	}
	read, ok := r.in.Returned[baseOf(a.path)]
	if !ok {
		delete(params, "patch")
		return Call{Path: baseOf(a.path), Provider: "kube", Function: "read", Params: params}, nil
	}
	if read.Err != "" {
		return Call{}, errors.New(read.Err)
	}
	base, _ := read.Value["value"].(map[string]any)
	patched, err := r.template.Merge(base, a.param("patch"))
	if err != nil {
		return Call{}, err
	}
	params["patch"] = changes(base, patched)
	return Call{Path: a.path, Provider: "kube", Function: "patch", Params: params}, nil
}

// changes is the JSON merge patch that leads from one object to another.
func changes(from, to map[string]any) map[string]any {
	out := map[string]any{}
	for k := range from {
		if _, kept := to[k]; !kept {
			out[k] = nil
		}
	}
	for k, v := range to {
		before, was := from[k]
		if was && reflect.DeepEqual(before, v) {
			continue
		}
		have, haveObject := before.(map[string]any)
		want, wantObject := v.(map[string]any)
		if haveObject && wantObject {
			v = changes(have, want)
		}
		out[k] = v
	}
	return out
}
