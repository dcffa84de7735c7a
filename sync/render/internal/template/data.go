package template

import (
	"encoding/json"
	"math"

	"cuelang.org/go/cue"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// normalize copies data as JSON decoders leave it, with whole numbers as int64: 8088 in
// a YAML file is an integer to CUE, not the float that Go's decoder makes of it.
func normalize(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return map[string]any{}
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = normalize(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = normalize(e)
		}
		return out
	case float64:
		// 2^53 and above a float64 no longer tells whole numbers apart.
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
		return v
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	default:
		return v
	}
}

// export turns a complete CUE value into data as Kubernetes' unstructured objects hold
// it: string, bool, int64, float64, nil, lists and maps.
func export(v cue.Value) (any, error) {
	raw, err := v.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var out any
	if err := utiljson.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	return out, nil
}
