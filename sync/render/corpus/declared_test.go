package corpus_test

import (
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"

	"github.com/tradewind-dev/tradewind/sync/render"
)

// compile evaluates a template without its data.
func compile(t *testing.T, def *render.Definition) cue.Value {
	t.Helper()
	v := cuecontext.New().CompileString(def.Template + "\ncontext: _\n")
	if !v.LookupPath(cue.ParsePath("parameter")).Exists() {
		t.Fatalf("%s %s: %v", def.Kind, def.Name, v.Err())
	}
	return v
}

// Elements of a path that stand for any element of a list, any key of a map.
const (
	anyElement = "[]"
	anyKey     = "*"
)

// declared lists the paths of the properties that a schema declares, at any depth and in
// every branch of a choice.
func declared(schema cue.Value, path []string) [][]string {
	schema = cue.Dereference(schema)
	if op, branches := schema.Expr(); op == cue.OrOp {
		var all [][]string
		for _, branch := range branches {
			all = append(all, declared(branch, path)...)
		}
		return all
	}
	below := func(part string) []string { return append(slices.Clone(path), part) }
	switch schema.IncompleteKind() {
	case cue.ListKind:
		return declared(schema.LookupPath(cue.MakePath(cue.AnyIndex)), below(anyElement))
	case cue.StructKind:
		var all [][]string
		if value := schema.LookupPath(cue.MakePath(cue.AnyString)); value.Exists() {
			all = append(all, below(anyKey))
			all = append(all, declared(value, below(anyKey))...)
		}
		fields, err := schema.Fields(cue.Optional(true))
		if err != nil {
			return all
		}
		for fields.Next() {
			at := below(fields.Selector().Unquoted())
			all = append(all, at)
			all = append(all, declared(fields.Value(), at)...)
		}
		return all
	}
	return nil
}

// isSet says whether there is a value at a path of what was given.
func isSet(given any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch given := given.(type) {
	case map[string]any:
		for key, value := range given {
			if (path[0] == anyKey || path[0] == key) && isSet(value, path[1:]) {
				return true
			}
		}
	case []any:
		return path[0] == anyElement && slices.ContainsFunc(given, func(v any) bool { return isSet(v, path[1:]) })
	}
	return false
}

// unset lists the declared properties that no occurrence sets.
func unset(schema cue.Value, occurrences []map[string]any) []string {
	var missing []string
	for _, path := range declared(schema, nil) {
		if !slices.ContainsFunc(occurrences, func(given map[string]any) bool { return isSet(given, path) }) {
			missing = append(missing, strings.Join(path, "."))
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// makesNothing is true of a template that is only a schema: what it describes is made
// from the component's source.
func makesNothing(template cue.Value) bool {
	for _, name := range []string{"patch", "outputs", "patchOutputs"} {
		if template.LookupPath(cue.ParsePath(name)).Exists() {
			return false
		}
	}
	output := template.LookupPath(cue.ParsePath("output"))
	if _, elsewhere := output.ReferencePath(); len(elsewhere.Selectors()) > 0 {
		return false // output: parameter
	}
	fields, err := output.Fields(cue.All())
	return !output.Exists() || err == nil && !fields.Next()
}

// TestDeclared: what the check of the corpus relies on.
func TestDeclared(t *testing.T) {
	t.Parallel()
	v := cuecontext.New().CompileString(`
		a!: int, b?: [...#B], c: *"x" | "y", d?: [string]: {e?: int}
		f: *null | {g: string} | [...{h: int}]
		#B: {i: string, j?: k?: int}`)
	got := unset(v, []map[string]any{
		{"a": 1, "b": []any{map[string]any{"i": "x"}}, "d": map[string]any{"any": map[string]any{}}},
		{"f": []any{map[string]any{"h": 1}}, "other": 1},
	})
	if want := "b.[].j, b.[].j.k, c, d.*.e, f.g"; strings.Join(got, ", ") != want {
		t.Errorf("unset %q, want %s", got, want)
	}
}
