package render

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	cueerrors "cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// customPrefix is put before label and annotation keys of a file that are not OAM's.
const customPrefix = "custom.definition.oam.dev/"

// attributes are the known ones: they become the spec of the object.
var attributes = []string{
	"workload", "status", "stage", "appliesToWorkloads", "conflictsWith", "podDisruptive", "workloadRefPath",
	"controlPlaneOnly", "manageWorkload", "revisionEnabled", "childResourceKinds", "podSpecPath", "revisionLabel",
	"definitionRef", "manageHealthCheck", "scope", "global", "priority", "version", "extension",
}

// ParseDefinition reads a .cue definition file: imports, one header field named after
// the type, and template.
func ParseDefinition(filename string, data []byte) (*Definition, error) {
	object, err := DefinitionObject(filename, data)
	if err != nil {
		return nil, err
	}
	def, err := DefinitionFromObject(object)
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", filename, err)
	}
	return def, nil
}

// DefinitionObject turns a .cue definition file into the object that a cluster holds,
// without a namespace.
func DefinitionObject(filename string, data []byte) (map[string]any, error) {
	file, err := parser.ParseFile(filename, data, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing definition: %s", problem.OneLine(cueerrors.Details(err, nil)))
	}
	var imports []*ast.ImportDecl
	var name, template string
	var header ast.Expr
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.ImportDecl:
			imports = append(imports, d)
		case *ast.Field:
			label, _, err := ast.LabelName(d.Label)
			switch {
			case err != nil:
				return nil, fmt.Errorf("definition %s: %w", filename, err)
			case label == "template":
				if template, err = bodySource(imports, d.Value); err != nil {
					return nil, fmt.Errorf("definition %s: template %w", filename, err)
				}
			case name != "":
				return nil, fmt.Errorf("definition %s has two headers, %q and %q: want one", filename, name, label)
			default:
				name, header = label, d.Value
			}
		}
	}
	if name == "" || template == "" {
		return nil, fmt.Errorf("definition %s: want a header field and template", filename)
	}
	object, err := objectOf(name, header, imports)
	if err != nil {
		return nil, fmt.Errorf("definition %s: header %s: %w", filename, name, err)
	}
	spec, _ := object["spec"].(map[string]any)
	spec["schematic"] = map[string]any{"cue": map[string]any{"template": template}}
	return object, nil
}

// header is the field beside template in a definition file.
type header struct {
	Type        Kind              `json:"type"`
	Alias       string            `json:"alias"`
	Description string            `json:"description"`
	Hint        string            `json:"hint"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Attributes  map[string]any    `json:"attributes"`
}

func objectOf(name string, expr ast.Expr, imports []*ast.ImportDecl) (map[string]any, error) {
	if err := quoteStatus(expr, imports); err != nil {
		return nil, err
	}
	var h header
	value := cuecontext.New().BuildExpr(expr)
	raw, err := value.MarshalJSON()
	if err == nil {
		err = utiljson.Unmarshal(raw, &h)
	}
	if err != nil {
		return nil, err
	}
	if h.Type.ObjectKind() == "" {
		return nil, fmt.Errorf("type %q: want component, trait, policy or workflow-step", string(h.Type))
	}
	for _, key := range slices.Sorted(maps.Keys(h.Attributes)) {
		if !slices.Contains(attributes, key) {
			return nil, fmt.Errorf("attributes.%s is not known", key)
		}
	}
	metadata := map[string]any{"name": name}
	annotations := custom(h.Annotations)
	for key, text := range map[string]string{annotationDescription: h.Description, annotationAlias: h.Alias, annotationHint: h.Hint} {
		if text != "" {
			annotations[key] = text
		}
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	if labels := custom(h.Labels); len(labels) > 0 {
		metadata["labels"] = labels
	}
	spec := h.Attributes
	if spec == nil {
		spec = map[string]any{}
	}
	return map[string]any{"apiVersion": oam.APIVersion, "kind": h.Type.ObjectKind(), "metadata": metadata, "spec": spec}, nil
}

// custom gives keys that are not OAM's the prefix that marks them as the user's.
func custom(from map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range from {
		if !strings.Contains(key, "oam.dev") {
			key = customPrefix + key
		}
		out[key] = value
	}
	return out
}

// quoteStatus makes strings of status rules that are written as CUE itself: they speak
// of a context that is not there yet.
func quoteStatus(header ast.Expr, imports []*ast.ImportDecl) error {
	for _, rule := range []string{"healthPolicy", "customStatus", "details"} {
		for _, field := range fieldsAt(header, "attributes", "status", rule) {
			if _, native := field.Value.(*ast.StructLit); !native {
				continue
			}
			text, err := bodySource(imports, field.Value)
			if err != nil {
				return err
			}
			field.Value = ast.NewString(text)
		}
	}
	return nil
}

// fieldsAt are the declarations of a field below nested objects.
func fieldsAt(expr ast.Expr, path ...string) []*ast.Field {
	object, ok := expr.(*ast.StructLit)
	if !ok {
		return nil
	}
	var out []*ast.Field
	for _, decl := range object.Elts {
		field, ok := decl.(*ast.Field)
		if !ok {
			continue
		}
		if label, _, err := ast.LabelName(field.Label); err != nil || label != path[0] {
			continue
		}
		if len(path) == 1 {
			out = append(out, field)
		} else {
			out = append(out, fieldsAt(field.Value, path[1:]...)...)
		}
	}
	return out
}

// bodySource prints the body of a struct with the imports it uses in front.
func bodySource(imports []*ast.ImportDecl, expr ast.Expr) (string, error) {
	body, ok := expr.(*ast.StructLit)
	if !ok {
		return "", fmt.Errorf("is not a struct")
	}
	used := map[string]bool{}
	ast.Walk(body, func(n ast.Node) bool {
		if ident, ok := n.(*ast.Ident); ok {
			used[ident.Name] = true
		}
		return true
	}, nil)
	file := &ast.File{}
	for _, decl := range imports {
		kept := &ast.ImportDecl{}
		for _, spec := range decl.Specs {
			if name, ok := importName(spec); !ok || used[name] {
				kept.Specs = append(kept.Specs, spec)
			}
		}
		if len(kept.Specs) > 0 {
			file.Decls = append(file.Decls, kept)
		}
	}
	file.Decls = append(file.Decls, body.Elts...)
	// Spaces, because a YAML file shows text with tabs in one long quoted line.
	src, err := format.Node(file, format.UseSpaces(4), format.TabIndent(false))
	return string(src), err
}

// importName is what an import is called in its file.
func importName(spec *ast.ImportSpec) (string, bool) {
	if spec.Name != nil {
		return spec.Name.Name, true
	}
	path, err := strconv.Unquote(spec.Path.Value)
	_, after, qualified := strings.Cut(path, ":")
	if qualified {
		return after, err == nil
	}
	return path[strings.LastIndex(path, "/")+1:], err == nil
}
