// Package template evaluates the CUE templates of definitions: properties and context go
// in, objects, patches and answers about health come out, as plain data. It knows the
// contract that KubeVela's definitions follow (parameter, context, output, outputs,
// patch, patchOutputs, errs, and the "+patchKey" comments) and nothing of Kubernetes.
//
// A template sees only what it is given and CUE's standard packages: no modules, no
// files, no commands.
package template

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	cueerrors "cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// Template is the CUE text of a definition, or of one of its status rules.
type Template struct {
	Name     string // for messages
	Text     string
	Packages Packages // that it may import; nil means CUE's own only
}

// key tells templates apart that were compiled: what may be imported is part of it.
func (t Template) key() string {
	if t.Packages != nil {
		return "packages\n" + t.Text
	}
	return t.Text
}

// Input is what a template is evaluated with.
type Input struct {
	Parameter map[string]any // nil: none was given
	Context   map[string]any
}

// Pool hands out engines. A CUE context is not safe for concurrent use, and compiling
// takes a hundred times as long as evaluating, so a few engines are kept.
type Pool struct {
	slots chan struct{}
	mu    sync.Mutex // guards idle
	idle  []*Engine
}

// NewPool returns a pool of at most size engines, made when they are needed.
func NewPool(size int) *Pool { return &Pool{slots: make(chan struct{}, size)} }

// Do calls f with an engine that is its own until f returns.
func (p *Pool) Do(ctx context.Context, f func(*Engine) error) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	e := p.take()
	// After a panic the engine's context is in an unknown state: it is not put back.
	sound := false
	defer func() {
		if sound {
			p.mu.Lock()
			p.idle = append(p.idle, e)
			p.mu.Unlock()
		}
		<-p.slots
	}()
	err := f(e)
	sound = true
	return err
}

// take prefers the engine used last: while one is enough, only one is compiled into.
func (p *Pool) take() *Engine {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		e := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if e.uses < engineUses {
			return e
		}
	}
	return &Engine{ctx: cuecontext.New(), compiled: map[string]*compiled{}}
}

// Engine is one CUE context with the templates compiled in it.
type Engine struct {
	ctx      *cue.Context
	compiled map[string]*compiled // by [Template.key]
	packages map[string]*build.Instance
	uses     int
}

// compiled is a template and what is known of it.
type compiled struct {
	value      cue.Value
	properties []string // see [Engine.Properties]
	context    []string // the fields of the context that it reads; nil means all
}

// engineUses bounds what an engine keeps: it never forgets a template it compiled nor a
// field name it saw. BenchmarkEngineKeeps measures some tens of bytes per evaluation.
const engineUses = 20_000

// evaluate returns the template with parameter and context filled in: both at once, since
// each filling evaluates the whole template.
func (e *Engine) evaluate(t Template, in Input) (cue.Value, error) {
	e.uses++
	c, err := e.compile(t)
	if err != nil {
		return cue.Value{}, err
	}
	data := map[string]any{"context": pick(in.Context, c.context)}
	if in.Parameter != nil {
		data["parameter"] = in.Parameter
	}
	return c.value.Unify(e.encode(data)), nil
}

// pick leaves out what is not asked for: most traits need the name of the component and
// not the whole workload.
func pick(from map[string]any, names []string) map[string]any {
	if names == nil {
		return from
	}
	out := make(map[string]any, len(names))
	for _, name := range names {
		if value, ok := from[name]; ok {
			out[name] = value
		}
	}
	return out
}

func (e *Engine) compile(t Template) (*compiled, error) {
	if c, ok := e.compiled[t.key()]; ok {
		return c, nil
	}
	file, text, err := parse(t)
	if err != nil {
		return nil, compileError(t, err)
	}
	v := e.build(t, file)
	// A template without its data may well be incomplete; one that does not compile has
	// no fields at all.
	if !v.LookupPath(pathParameter).Exists() {
		return nil, compileError(t, v.Err())
	}
	c := &compiled{value: v, properties: declared(v.LookupPath(pathParameter)), context: fieldsOfContext(text)}
	e.compiled[t.key()] = c
	return c, nil
}

// parse returns the template as it is compiled.
func parse(t Template) (*ast.File, string, error) {
	file, err := parser.ParseFile(t.Name, t.Text, parser.ParseComments)
	if err != nil {
		return nil, "", err
	}
	if err := t.Packages.check(file); err != nil {
		return nil, "", err
	}
	text, err := modernize(file, t.Text)
	if err != nil {
		return nil, "", err
	}
	// What a template mentions and leaves to us to give must be declared when it is
	// parsed: the parser resolves references.
	file, err = parser.ParseFile(t.Name, text+undeclared(file, "context", "parameter"), parser.ParseComments)
	return file, text, err
}

var (
	anyContext     = regexp.MustCompile(`\bcontext\b`)
	fieldOfContext = regexp.MustCompile(`\bcontext\.([A-Za-z_]\w*)`)
)

// fieldsOfContext lists the fields that a template can read: those it names, when it
// never speaks of the context as a whole.
func fieldsOfContext(text string) []string {
	names := []string{}
	found := fieldOfContext.FindAllStringSubmatch(text, -1)
	if len(found) != len(anyContext.FindAllString(text, -1)) {
		return nil
	}
	for _, m := range found {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// undeclared are declarations of those names that are not fields of the template.
func undeclared(file *ast.File, names ...string) string {
	var missing strings.Builder
	for _, name := range names {
		if !slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
			field, ok := d.(*ast.Field)
			if !ok {
				return false
			}
			label, _, _ := ast.LabelName(field.Label)
			return label == name
		}) {
			missing.WriteString("\n" + name + ": _\n")
		}
	}
	return missing.String()
}

func compileError(t Template, err error) *problem.Error {
	return &problem.Error{Err: fmt.Errorf("compiling definition %q: %s", t.Name, problem.OneLine(cueerrors.Details(err, nil)))}
}

// Check reports what is wrong with a template whatever it is given.
func (e *Engine) Check(t Template) error {
	c, err := e.compile(t)
	if err != nil {
		return err
	}
	if err := c.value.Validate(); err != nil {
		return compileError(t, err)
	}
	return nil
}
