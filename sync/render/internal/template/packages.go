package template

import (
	"fmt"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
)

// Packages finds the source of a package that templates may import beside CUE's own.
type Packages func(path string) (source []byte, ok bool)

// check refuses imports that lead anywhere else.
func (p Packages) check(file *ast.File) error {
	for spec := range file.ImportSpecs() {
		path, err := strconv.Unquote(spec.Path.Value)
		if err == nil && p != nil {
			if _, ok := p(path); ok {
				continue
			}
		}
		first, _, _ := strings.Cut(path, "/")
		if first == "vela" && p == nil {
			return fmt.Errorf("import %s: its functions act on clusters and services, and rendering does neither: "+
				"only %s can be imported here; what has to be fetched belongs into a workflow step", spec.Path.Value, p)
		}
		if err != nil || first == "tool" || first == "vela" || strings.Contains(first, ".") {
			return fmt.Errorf("import %s: only %s can be imported", spec.Path.Value, p)
		}
	}
	return nil
}

// String says in words what can be imported.
func (p Packages) String() string {
	if p == nil {
		return "CUE's standard packages"
	}
	return "CUE's standard packages and those of step actions (vela/kube, vela/http, vela/builtin, vela/op and so on)"
}

// build compiles a file. Imports lead to CUE's own packages and to those of the template,
// never to a module, a registry or the disk.
func (e *Engine) build(t Template, file *ast.File) cue.Value {
	if t.Packages == nil {
		return e.ctx.BuildFile(file)
	}
	if e.packages == nil {
		e.packages = map[string]*build.Instance{}
	}
	context := build.NewContext()
	var load build.LoadFunc
	load = func(_ token.Pos, path string) *build.Instance {
		source, ok := t.Packages(path)
		if !ok {
			return nil // one of CUE's own
		}
		inst, ok := e.packages[path]
		if ok {
			return inst
		}
		inst = context.NewInstance("", load)
		inst.ImportPath = path
		e.packages[path] = inst
		if err := addSource(inst, path, source); err == nil {
			_ = inst.Complete() // what is wrong with it stays in inst.Err, which building reports
		}
		return inst
	}
	inst := context.NewInstance("", load)
	if err := inst.AddSyntax(file); err == nil {
		_ = inst.Complete()
	}
	return e.ctx.BuildInstance(inst)
}

func addSource(inst *build.Instance, path string, source []byte) error {
	file, err := parser.ParseFile(path+".cue", source, parser.ParseComments)
	if err != nil {
		return err
	}
	return inst.AddSyntax(file)
}
