package render

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
)

// Kind is what a definition defines.
type Kind string

// The kinds of definitions.
const (
	KindComponent    Kind = "component"
	KindTrait        Kind = "trait"
	KindPolicy       Kind = "policy"
	KindWorkflowStep Kind = "workflow-step"
)

// Definition is a component, trait or step type: a CUE template and how to read health from
// the live objects.
type Definition struct {
	Kind         Kind
	Name         string
	Description  string
	Workload     Workload // of a component type
	Template     string   // CUE: parameter, output, outputs, patch …
	HealthPolicy string   // CUE that yields isHealth: bool
	CustomStatus string   // CUE that yields message: string
	Details      string   // CUE whose fields are shown beside the message
	Stage        string   // of a trait: PreDispatch, DefaultDispatch, PostDispatch
	Hint         string   // what to write instead, for spellings that are kept for old users
}

// Workload is the kind of a component's main object. The type Autodetects means: what
// the template makes.
type Workload struct{ APIVersion, Kind, Type string }

// Autodetects is a workload type of KubeVela's.
const Autodetects = "autodetects.core.oam.dev"

// Definitions resolves a type.
type Definitions interface {
	Definition(kind Kind, name string) (*Definition, bool)
	// Names lists the known types of a kind, sorted.
	Names(kind Kind) []string
}

//go:embed definitions/components/*.cue definitions/traits/*.cue definitions/steps/*.cue
var builtinFiles embed.FS

// Builtins are the definitions that come with Tradewind.
var Builtins = sync.OnceValue(func() Definitions {
	set := definitionSet{}
	for _, dir := range []string{"definitions/components", "definitions/traits", "definitions/steps"} {
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

// header is the field beside template in a definition file.
type header struct {
	Type        string            `json:"type"`
	Alias       string            `json:"alias"`
	Description string            `json:"description"`
	Hint        string            `json:"hint"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Attributes  struct {
		Workload struct {
			Type       string `json:"type"`
			Definition struct {
				APIVersion string `json:"apiVersion"`
				Kind       string `json:"kind"`
			} `json:"definition"`
		} `json:"workload"`
		Status struct {
			HealthPolicy string `json:"healthPolicy"`
			CustomStatus string `json:"customStatus"`
			Details      string `json:"details"`
		} `json:"status"`
		Stage string `json:"stage"`
	} `json:"attributes"`
}

// attributes are the known ones; those that header does not read only inform people.
var attributes = []string{
	"workload", "status", "stage", "appliesToWorkloads", "conflictsWith", "podDisruptive", "workloadRefPath",
	"controlPlaneOnly", "manageWorkload", "revisionEnabled", "childResourceKinds", "podSpecPath", "revisionLabel",
	"manageHealthCheck", "scope", "global", "priority", "version", "extension",
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
	v := cuecontext.New().BuildExpr(expr)
	if err := v.Decode(&h); err != nil {
		return fmt.Errorf("header %s: %w", def.Name, err)
	}
	a := h.Attributes
	def.Kind, def.Description, def.Hint, def.Stage = Kind(h.Type), h.Description, h.Hint, a.Stage
	def.Workload = Workload{a.Workload.Definition.APIVersion, a.Workload.Definition.Kind, a.Workload.Type}
	def.HealthPolicy, def.CustomStatus, def.Details = a.Status.HealthPolicy, a.Status.CustomStatus, a.Status.Details
	switch def.Kind {
	case KindComponent, KindTrait, KindPolicy, KindWorkflowStep:
	default:
		return fmt.Errorf("header %s: type %q: want component, trait, policy or workflow-step", def.Name, h.Type)
	}
	return knownAttributes(def.Name, v)
}

func knownAttributes(name string, header cue.Value) error {
	given := header.LookupPath(cue.ParsePath("attributes"))
	if !given.Exists() {
		return nil
	}
	fields, err := given.Fields()
	if err != nil {
		return fmt.Errorf("header %s: attributes: %w", name, err)
	}
	for fields.Next() {
		if key := fields.Selector().Unquoted(); !slices.Contains(attributes, key) {
			return fmt.Errorf("header %s: attributes.%s is not known", name, key)
		}
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
