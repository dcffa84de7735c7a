package template

import (
	"errors"
	"fmt"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	cueerrors "cuelang.org/go/cue/errors"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// Value is the evaluated template as a whole, for those who read other fields of it than
// the methods of Result do.
func (r *Result) Value() cue.Value { return r.value }

// Extend adds data to the template, in the form of syntax (see [Syntax]), and evaluates
// it again.
func (r *Result) Extend(data ast.Expr) {
	r.engine.uses++
	r.value = r.value.Unify(r.engine.ctx.BuildExpr(data))
}

// Merge returns base as a patch inside the template changes it, with the strategies its
// comments name.
func (r *Result) Merge(base map[string]any, patch cue.Value) (map[string]any, error) {
	return r.engine.apply(base, patch, nil)
}

// Fault says why a field of the template has no complete value: most often because a
// property is missing, and then it is that.
func (r *Result) Fault(field string, err error) error {
	if missing := r.Complete(); missing != nil {
		return missing
	}
	if _, ok := errors.AsType[cueerrors.Error](err); !ok {
		return &problem.Error{Field: field, Err: fmt.Errorf("definition %q: %s", r.source.Name, problem.OneLine(err.Error()))}
	}
	return r.explainAt(field, err)
}

// Syntax is data, as JSON decoders leave it, in the form of CUE syntax.
func Syntax(data any) ast.Expr { return syntax(data) }

// Export turns a complete CUE value into data as Kubernetes' unstructured objects hold
// it: string, bool, int64, float64, nil, lists and maps.
func Export(v cue.Value) (any, error) { return export(v) }
