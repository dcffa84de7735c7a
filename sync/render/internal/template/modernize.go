package template

import (
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/ast/astutil"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/token"
)

// modernize rewrites what CUE took out in 0.11 and KubeVela's definitions still use: the
// sum of lists and a number times a list. It returns text as it was when there is none.
//
// Which operands are lists is told by how the template declares them. Of two that only
// the context knows nothing is known; such a sum stays, and CUE says what to write.
func modernize(file *ast.File, text string) (string, error) {
	name := "list_"
	for strings.Contains(text, name) {
		name += "_"
	}
	found := false
	rewritten := astutil.Apply(file, nil, func(c astutil.Cursor) bool {
		expr, ok := c.Node().(*ast.BinaryExpr)
		if !ok {
			return true
		}
		if call := listCall(expr, name); call != nil {
			found = true
			c.Replace(call)
		}
		return true
	})
	if !found {
		return text, nil
	}
	changed, _ := rewritten.(*ast.File)
	spec := ast.NewImport(ast.NewIdent(name), "list")
	decls := append([]ast.Decl{&ast.ImportDecl{Specs: []*ast.ImportSpec{spec}}}, changed.Decls...)
	// A package clause, which templates do not have, would come first.
	if i := slices.IndexFunc(decls, func(d ast.Decl) bool { _, ok := d.(*ast.Package); return ok }); i > 0 {
		decls = append([]ast.Decl{decls[i]}, slices.Delete(decls, i, i+1)...)
	}
	out, err := format.Node(&ast.File{Decls: decls})
	return string(out), err
}

// listCall is what has to be written for an operation on lists, or nil for any other.
func listCall(expr *ast.BinaryExpr, pkg string) ast.Expr {
	switch expr.Op {
	case token.ADD:
		terms := sum(expr, pkg)
		if slices.ContainsFunc(terms, isList) {
			return ast.NewCall(ast.NewSel(ast.NewIdent(pkg), "Concat"), ast.NewList(terms...))
		}
	case token.MUL:
		times, of := expr.X, expr.Y
		if isList(times) {
			times, of = of, times
		}
		if isList(of) {
			return ast.NewCall(ast.NewSel(ast.NewIdent(pkg), "Repeat"), of, times)
		}
	}
	return nil
}

// sum are the operands of a chain of sums. What was rewritten already, the sum to the
// left, is taken apart again.
func sum(expr ast.Expr, pkg string) []ast.Expr {
	switch x := expr.(type) {
	case *ast.BinaryExpr:
		if x.Op == token.ADD {
			return append(sum(x.X, pkg), sum(x.Y, pkg)...)
		}
	case *ast.ParenExpr:
		if terms := sum(x.X, pkg); len(terms) > 1 {
			return terms
		}
	case *ast.CallExpr:
		if packageOf(x.Fun) == pkg && len(x.Args) == 1 {
			if terms, ok := x.Args[0].(*ast.ListLit); ok {
				return slices.Clone(terms.Elts)
			}
		}
	}
	return []ast.Expr{expr}
}

// packageOf is the name before the dot of a call.
func packageOf(fun ast.Expr) string {
	if sel, ok := fun.(*ast.SelectorExpr); ok {
		if ident, ok := sel.X.(*ast.Ident); ok {
			return ident.Name
		}
	}
	return ""
}

func isList(expr ast.Expr) bool {
	return slices.ContainsFunc(shapes(expr, maxShapes), func(e ast.Expr) bool {
		_, ok := e.(*ast.ListLit)
		return ok
	})
}

// maxShapes bounds how many references are followed in a row: they may lead in a circle.
const maxShapes = 12

// shapes are the literals that an expression may stand for, as far as the template says.
func shapes(expr ast.Expr, depth int) []ast.Expr {
	if depth == 0 || expr == nil {
		return nil
	}
	switch x := expr.(type) {
	case *ast.ListLit, *ast.StructLit:
		return []ast.Expr{x}
	case *ast.ParenExpr:
		return shapes(x.X, depth-1)
	case *ast.UnaryExpr: // *[] is a default
		if x.Op == token.MUL {
			return shapes(x.X, depth-1)
		}
	case *ast.BinaryExpr:
		if x.Op == token.OR || x.Op == token.AND || x.Op == token.ADD || x.Op == token.MUL {
			return append(shapes(x.X, depth-1), shapes(x.Y, depth-1)...)
		}
	case *ast.CallExpr:
		return result(x, depth)
	case *ast.Ident:
		return referred(x, depth)
	case *ast.SelectorExpr:
		label, _, err := ast.LabelName(x.Sel)
		if err != nil {
			return nil
		}
		return each(shapes(x.X, depth-1), func(s ast.Expr) []ast.Expr { return member(s, label, depth-1) })
	case *ast.IndexExpr:
		return each(shapes(x.X, depth-1), func(s ast.Expr) []ast.Expr { return indexed(s, x.Index, depth-1) })
	case *ast.SliceExpr:
		return shapes(x.X, depth-1)
	}
	return nil
}

func each(from []ast.Expr, f func(ast.Expr) []ast.Expr) []ast.Expr {
	var out []ast.Expr
	for _, e := range from {
		out = append(out, f(e)...)
	}
	return out
}

// referred follows a name to what declares it.
func referred(ident *ast.Ident, depth int) []ast.Expr {
	switch node := ident.Node.(type) {
	case *ast.LetClause:
		return shapes(node.Expr, depth-1)
	case *ast.Field:
		return shapes(node.Value, depth-1)
	case *ast.Alias:
		return shapes(node.Expr, depth-1)
	case *ast.ForClause:
		if node.Value == nil || node.Value.Name != ident.Name {
			return nil
		}
		return each(shapes(node.Source, depth-1), func(s ast.Expr) []ast.Expr { return elements(s, depth-1) })
	case *ast.StructLit, *ast.ListLit, *ast.BinaryExpr, *ast.UnaryExpr, *ast.Ident, *ast.SelectorExpr, *ast.IndexExpr, *ast.CallExpr, *ast.ParenExpr:
		found := shapes(node.(ast.Expr), depth-1) // every case is one
		return append(found, siblings(ident, depth)...)
	}
	return nil
}

// siblings are the other declarations of a name in the scope that a reference found it in.
func siblings(ident *ast.Ident, depth int) []ast.Expr {
	switch scope := ident.Scope.(type) {
	case *ast.File:
		return members(scope.Decls, ident.Name, depth-1)
	case *ast.StructLit:
		return members(scope.Elts, ident.Name, depth-1)
	}
	return nil
}

// member are the shapes of a field of an object.
func member(object ast.Expr, label string, depth int) []ast.Expr {
	s, ok := object.(*ast.StructLit)
	if !ok || depth <= 0 {
		return nil
	}
	return members(s.Elts, label, depth)
}

// members looks into conditions, too.
func members(decls []ast.Decl, label string, depth int) []ast.Expr {
	var out []ast.Expr
	for _, decl := range decls {
		switch d := decl.(type) {
		case *ast.Field:
			name, _, err := ast.LabelName(d.Label)
			_, pattern := d.Label.(*ast.ListLit)
			if err == nil && name == label || pattern {
				out = append(out, shapes(d.Value, depth-1)...)
			}
		case *ast.EmbedDecl:
			out = append(out, each(shapes(d.Expr, depth-1), func(s ast.Expr) []ast.Expr { return member(s, label, depth-1) })...)
		case *ast.Comprehension:
			out = append(out, member(d.Value, label, depth-1)...)
		}
	}
	return out
}

// elements are what a loop over a list or an object sees.
func elements(of ast.Expr, depth int) []ast.Expr {
	var out []ast.Expr
	switch x := of.(type) {
	case *ast.ListLit:
		for _, e := range x.Elts {
			switch e := e.(type) {
			case *ast.Ellipsis:
				out = append(out, shapes(e.Type, depth-1)...)
			case *ast.Comprehension:
				out = append(out, embedded(e.Value, depth-1)...)
			default:
				out = append(out, shapes(e, depth-1)...)
			}
		}
	case *ast.StructLit:
		for _, decl := range x.Elts {
			if field, ok := decl.(*ast.Field); ok {
				out = append(out, shapes(field.Value, depth-1)...)
			}
		}
	}
	return out
}

// embedded is what {x} makes of x: the element of a comprehension.
func embedded(body ast.Expr, depth int) []ast.Expr {
	s, ok := body.(*ast.StructLit)
	if !ok {
		return nil
	}
	if len(s.Elts) == 1 {
		if embed, ok := s.Elts[0].(*ast.EmbedDecl); ok {
			return shapes(embed.Expr, depth-1)
		}
	}
	return []ast.Expr{s}
}

func indexed(of, index ast.Expr, depth int) []ast.Expr {
	if lit, ok := index.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		if label, err := strconv.Unquote(lit.Value); err == nil {
			return member(of, label, depth)
		}
	}
	return elements(of, depth)
}

// listFunctions are the functions of CUE's packages that return lists.
var listFunctions = map[string]bool{
	"list.Concat": true, "list.Repeat": true, "list.FlattenN": true, "list.Sort": true, "list.SortStable": true, "list.SortStrings": true,
	"list.Slice": true, "list.Take": true, "list.Drop": true, "list.Range": true, "list.Reverse": true,
	"strings.Split": true, "strings.SplitN": true, "strings.SplitAfter": true, "strings.SplitAfterN": true, "strings.Fields": true,
	"strings.Runes": true, "regexp.FindAll": true, "regexp.FindSubmatch": true, "regexp.FindAllSubmatch": true,
}

// result are the shapes of what a function returns.
func result(call *ast.CallExpr, depth int) []ast.Expr {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	name, _, err := ast.LabelName(sel.Sel)
	pkg, ok := sel.X.(*ast.Ident)
	if err != nil || !ok {
		return nil
	}
	imported := strings.TrimRight(pkg.Name, "_") // ours are named so
	if spec, ok := pkg.Node.(*ast.ImportSpec); ok {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			imported = path
		}
	}
	if !listFunctions[imported+"."+name] {
		return nil
	}
	if imported == "list" && len(call.Args) > 0 { // of the elements that went in
		if found := shapes(call.Args[0], depth-1); len(found) > 0 {
			return found
		}
	}
	return []ast.Expr{ast.NewList()}
}
