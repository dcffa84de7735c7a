package template

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// encode makes a CUE value of data as JSON decoders leave it. It goes through syntax:
// what [cue.Context.Encode] makes of Go values loses its fields when a template embeds it
// ({e} in a comprehension), and compiled JSON stays in the context for ever.
func (e *Engine) encode(data any) cue.Value { return e.ctx.BuildExpr(syntax(data)) }

func syntax(v any) ast.Expr {
	switch v := v.(type) {
	case map[string]any:
		object := &ast.StructLit{Elts: make([]ast.Decl, 0, len(v))}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			object.Elts = append(object.Elts, &ast.Field{Label: ast.NewString(k), Value: syntax(v[k])})
		}
		return object
	case []any:
		list := &ast.ListLit{Elts: make([]ast.Expr, 0, len(v))}
		for _, e := range v {
			list.Elts = append(list.Elts, syntax(e))
		}
		return list
	case string:
		return ast.NewString(v)
	case bool:
		return ast.NewBool(v)
	case int:
		return number(strconv.Itoa(v), token.INT)
	case int64:
		return number(strconv.FormatInt(v, 10), token.INT)
	case json.Number:
		return literal(v.String())
	case float64:
		// 8088 in a YAML file is an integer to CUE, not the float that Go's decoder makes
		// of it. From 2^53 on a float64 no longer tells whole numbers apart.
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return number(strconv.FormatInt(int64(v), 10), token.INT)
		}
		return literal(strconv.FormatFloat(v, 'g', -1, 64))
	default:
		return ast.NewNull()
	}
}

// literal is an integer or a float, as it is written.
func literal(text string) ast.Expr {
	if strings.ContainsAny(text, ".eE") {
		return number(text, token.FLOAT)
	}
	return number(text, token.INT)
}

func number(text string, kind token.Token) ast.Expr {
	if unsigned, negative := strings.CutPrefix(text, "-"); negative {
		return &ast.UnaryExpr{Op: token.SUB, X: ast.NewLit(kind, unsigned)}
	}
	return ast.NewLit(kind, text)
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
