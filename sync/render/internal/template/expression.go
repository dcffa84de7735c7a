package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	cueerrors "cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// maxExpression bounds an expression: deep nesting costs the parser its stack.
const maxExpression = 8 << 10

// Expression evaluates a CUE expression that may speak of the fields of scope, and of
// CUE's packages without importing them (strings.HasPrefix). Imports in front of it are
// understood, too.
func (e *Engine) Expression(text string, scope map[string]any) (any, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("the expression has %d bytes: at most %d are read", len(text), maxExpression)
	}
	expr, err := parseExpression(text)
	if err != nil {
		return nil, expressionError(err)
	}
	e.uses++
	v := e.ctx.BuildExpr(expr, cue.Scope(e.encode(scope)), cue.InferBuiltins(true))
	value, err := export(v)
	if err != nil {
		return nil, withNames(expressionError(err), scope)
	}
	return value, nil
}

// parseExpression reads an expression and refuses anything else: a text with fields
// could replace what it speaks of.
func parseExpression(text string) (ast.Expr, error) {
	file, err := parser.ParseFile("expression", text)
	if err != nil {
		return nil, err
	}
	var found ast.Expr
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.ImportDecl: // what it imports is inferred
		case *ast.EmbedDecl:
			if found != nil {
				return nil, errors.New("two expressions: want one")
			}
			found = d.Expr
		default:
			return parser.ParseExpr("expression", text)
		}
	}
	if found == nil {
		return nil, errors.New("no expression")
	}
	return found, nil
}

func expressionError(err error) error {
	message := err.Error()
	if e, ok := errors.AsType[cueerrors.Error](err); ok {
		format, args := e.Msg()
		message = fmt.Sprintf(format, args...)
	}
	return errors.New(problem.OneLine(message))
}

// withNames adds what there is to an error about something that is not.
func withNames(err error, scope map[string]any) error {
	if !strings.Contains(err.Error(), "not found") {
		return err
	}
	return fmt.Errorf("%w (there are: %s)", err, strings.Join(slices.Sorted(maps.Keys(scope)), ", "))
}
