package render

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/render/internal/step"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// Vet reports what is wrong with a definition whatever properties it is given: text that
// does not compile, values that contradict one another, imports that are not there.
func Vet(ctx context.Context, def *Definition) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("compiling definition %q: CUE panicked: %v", def.Name, p)
		}
	}()
	if def.Err != nil {
		return def.Err
	}
	var packages template.Packages
	if def.Kind == KindWorkflowStep {
		packages = step.Packages
	}
	return template.NewPool(1).Do(ctx, func(e *template.Engine) error {
		for _, text := range []string{def.Template, def.HealthPolicy, def.CustomStatus, def.Details} {
			if text == "" {
				continue
			}
			if err := e.Check(template.Template{Name: def.Name, Text: text, Packages: packages}); err != nil {
				return err
			}
		}
		return nil
	})
}

// FormatDefinition writes a definition of the cluster as the .cue file it could have come
// from.
func FormatDefinition(object map[string]any) ([]byte, error) {
	def, err := DefinitionFromObject(object)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(def.Name, def.Template, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing definition %q: %w", def.Name, err)
	}
	header, err := headerSyntax(def, object)
	if err != nil {
		return nil, err
	}
	var imports, body []ast.Decl
	for _, decl := range file.Decls {
		if _, ok := decl.(*ast.ImportDecl); ok {
			imports = append(imports, decl)
		} else {
			body = append(body, decl)
		}
	}
	fields := []ast.Decl{
		&ast.Field{Label: ast.NewStringLabel(def.Name), Value: header},
		&ast.Field{Label: ast.NewIdent("template"), Value: &ast.StructLit{Elts: body}},
	}
	return format.Node(&ast.File{Decls: slices.Concat(imports, fields)})
}

func headerSyntax(def *Definition, object map[string]any) (ast.Expr, error) {
	u := &unstructured.Unstructured{Object: object}
	fields := []any{ast.NewIdent("type"), ast.NewString(string(def.Kind))}
	text := func(name, value string) {
		if value != "" {
			fields = append(fields, ast.NewIdent(name), ast.NewString(value))
		}
	}
	text("alias", def.Alias)
	text("description", def.Description)
	text("hint", def.Hint)
	annotations := u.GetAnnotations()
	for _, key := range []string{annotationDescription, annotationAlias, annotationHint} {
		delete(annotations, key)
	}
	attributes, _, _ := unstructured.NestedMap(object, "spec")
	delete(attributes, "schematic")
	ctx := cuecontext.New()
	add := func(name string, value any, n int) error {
		if n == 0 {
			return nil
		}
		expr, ok := ctx.Encode(value).Syntax(cue.Final()).(ast.Expr)
		if !ok {
			return fmt.Errorf("definition %q: %s cannot be written as CUE", def.Name, name)
		}
		fields = append(fields, ast.NewIdent(name), expr)
		return nil
	}
	err := errors.Join(add("labels", u.GetLabels(), len(u.GetLabels())), add("annotations", annotations, len(annotations)),
		add("attributes", attributes, len(attributes)))
	return ast.NewStruct(fields...), err
}
