package render

import (
	"cmp"
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
)

// Kind is what a definition defines.
type Kind string

// The kinds of definitions.
const (
	KindComponent Kind = "component"
	KindTrait     Kind = "trait"
)

// Definition is a component or trait type: a CUE template and how to read health from
// the live objects.
type Definition struct {
	Kind         Kind
	Name         string
	Description  string
	Template     string // CUE: parameter, output, outputs, patch …
	HealthPolicy string // CUE that yields isHealth: bool
	CustomStatus string // CUE that yields message: string
	Hint         string // what to write instead, for spellings that are kept for old users
}

// Definitions resolves a type.
type Definitions interface {
	Definition(kind Kind, name string) (*Definition, bool)
	// Names lists the known types of a kind, sorted.
	Names(kind Kind) []string
}

//go:embed definitions/components/*.cue definitions/traits/*.cue
var builtinFiles embed.FS

// Builtins are the definitions that come with Tradewind.
var Builtins = sync.OnceValue(func() Definitions {
	set := definitionSet{}
	for _, dir := range []string{"definitions/components", "definitions/traits"} {
		entries, err := builtinFiles.ReadDir(dir)
		if err != nil {
			panic(err) // the files are part of the binary
		}
		for _, entry := range entries {
			name := path.Join(dir, entry.Name())
			data, err := builtinFiles.ReadFile(name)
			if err != nil {
				panic(err)
			}
			def, err := ParseDefinition(name, data)
			if err != nil {
				panic(err) // a test loads them all
			}
			set[definitionID{def.Kind, def.Name}] = def
		}
	}
	return set
})

type definitionID struct {
	kind Kind
	name string
}

type definitionSet map[definitionID]*Definition

func (s definitionSet) Definition(kind Kind, name string) (*Definition, bool) {
	def, ok := s[definitionID{kind, name}]
	return def, ok
}

func (s definitionSet) Names(kind Kind) []string {
	var names []string
	for id := range s {
		if id.kind == kind {
			names = append(names, id.name)
		}
	}
	slices.Sort(names)
	return names
}

// header is the one field beside template in a definition file.
type header struct {
	Type        string `json:"type"`
	Description string `json:"description"`
	Hint        string `json:"hint"`
	Attributes  struct {
		Status struct {
			HealthPolicy string `json:"healthPolicy"`
			CustomStatus string `json:"customStatus"`
		} `json:"status"`
	} `json:"attributes"`
}

// ParseDefinition reads a .cue definition file: imports, one header field named after
// the type, and template.
func ParseDefinition(filename string, data []byte) (*Definition, error) {
	file, err := parser.ParseFile(filename, data, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing definition: %w", err)
	}
	def := &Definition{}
	var imports []ast.Decl
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.ImportDecl:
			imports = append(imports, d)
		case *ast.Field:
			name, _, err := ast.LabelName(d.Label)
			if err != nil {
				return nil, fmt.Errorf("definition %s: %w", filename, err)
			}
			if name == "template" {
				if def.Template, err = templateSource(imports, d.Value); err != nil {
					return nil, fmt.Errorf("definition %s: %w", filename, err)
				}
				continue
			}
			if def.Name != "" {
				return nil, fmt.Errorf("definition %s has two headers, %q and %q: want one", filename, def.Name, name)
			}
			def.Name = name
			if err := def.readHeader(d.Value); err != nil {
				return nil, fmt.Errorf("definition %s: %w", filename, err)
			}
		}
	}
	if def.Name == "" || def.Template == "" {
		return nil, fmt.Errorf("definition %s: want a header field and template", filename)
	}
	return def, nil
}

func (def *Definition) readHeader(expr ast.Expr) error {
	var h header
	if err := cuecontext.New().BuildExpr(expr).Decode(&h); err != nil {
		return fmt.Errorf("header %s: %w", def.Name, err)
	}
	def.Kind, def.Description, def.Hint = Kind(h.Type), h.Description, h.Hint
	def.HealthPolicy, def.CustomStatus = h.Attributes.Status.HealthPolicy, h.Attributes.Status.CustomStatus
	if def.Kind != KindComponent && def.Kind != KindTrait {
		return fmt.Errorf("header %s: type %q: want component or trait", def.Name, h.Type)
	}
	return nil
}

// templateSource prints the body of template, with the imports it uses in front.
func templateSource(imports []ast.Decl, expr ast.Expr) (string, error) {
	body, ok := expr.(*ast.StructLit)
	if !ok {
		return "", fmt.Errorf("template is not a struct")
	}
	src, err := format.Node(&ast.File{Decls: append(slices.Clone(imports), body.Elts...)})
	return string(src), err
}

func unknownType(defs Definitions, kind Kind, given, component string) *Error {
	e := &Error{Component: component, Err: fmt.Errorf("%s type %q is not known", kind, given)}
	names := defs.Names(kind)
	if near := nearest(given, names); near != "" {
		e.Advice = fmt.Sprintf("did you mean %q? ", near)
	}
	e.Advice += fmt.Sprintf("installed %s types: %s", kind, strings.Join(names, ", "))
	return e
}

// nearest returns the name at most a third of its letters away from given, or "".
func nearest(given string, names []string) string {
	best := slices.MinFunc(append([]string{""}, names...), func(a, b string) int {
		return cmp.Compare(distance(given, a), distance(given, b))
	})
	if best != "" && distance(given, best) <= max(1, len(best)/3) {
		return best
	}
	return ""
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
