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
	"strconv"
	"strings"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	cueerrors "cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// Template is the CUE text of a definition, or of one of its status rules.
type Template struct {
	Name string // for messages
	Text string
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
	return &Engine{ctx: cuecontext.New(), compiled: map[string]cue.Value{}}
}

// Engine is one CUE context with the templates compiled in it.
type Engine struct {
	ctx      *cue.Context
	compiled map[string]cue.Value // by text
	uses     int
}

// engineUses bounds what an engine keeps: it never forgets a template it compiled nor a
// field name it saw. BenchmarkEngineKeeps measures some tens of bytes per evaluation.
const engineUses = 20_000

// evaluate returns the template with parameter and context filled in. They go in
// together and as Go values: one evaluation, and nothing stays behind in the context, as
// compiled JSON would.
func (e *Engine) evaluate(t Template, in Input) (cue.Value, error) {
	e.uses++
	v, err := e.compile(t)
	if err != nil {
		return v, err
	}
	data := map[string]any{"context": normalize(in.Context)}
	if in.Parameter != nil {
		data["parameter"] = normalize(in.Parameter)
	}
	return v.Unify(e.encode(data)), nil
}

func (e *Engine) encode(data any) cue.Value { return e.ctx.Encode(data, cue.NilIsAny(false)) }

func (e *Engine) compile(t Template) (cue.Value, error) {
	if v, ok := e.compiled[t.Text]; ok {
		return v, nil
	}
	// Templates mention context and parameter without declaring them.
	file, err := parser.ParseFile(t.Name, t.Text+"\ncontext: _\nparameter: _\n", parser.ParseComments)
	if err != nil {
		return cue.Value{}, compileError(t, err)
	}
	for spec := range file.ImportSpecs() {
		path, err := strconv.Unquote(spec.Path.Value)
		if first, _, _ := strings.Cut(path, "/"); err != nil || first == "tool" || strings.Contains(first, ".") {
			return cue.Value{}, compileError(t, fmt.Errorf("import %s: only CUE's standard packages can be imported", spec.Path.Value))
		}
	}
	v := e.ctx.BuildFile(file)
	if err := v.Err(); err != nil {
		return v, compileError(t, err)
	}
	e.compiled[t.Text] = v
	return v, nil
}

func compileError(t Template, err error) *problem.Error {
	return &problem.Error{Err: fmt.Errorf("compiling definition %q: %s", t.Name, problem.OneLine(cueerrors.Details(err, nil)))}
}
