package pool

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/tradewind-dev/tradewind/sync/render"
)

// Handler is work besides that of a [render.Renderer] which is as little to be trusted. It
// gets JSON, and what it returns is sent as JSON.
type Handler func(ctx context.Context, in json.RawMessage) (any, error)

// gcPercent spends memory on time: what a child holds of parsed templates and schemas is
// many times what a piece of work needs, and it would be looked at again and again. A
// child without work ends soon.
const gcPercent = 200

// Serve is what a child process does: it gives up everything that rendering does not
// need, then works for its parent until in ends. Rendering code that nobody wrote for us
// runs here and nowhere else.
func Serve(in io.Reader, out io.Writer, handlers map[string]Handler) error {
	if err := confine(); err != nil {
		// An old kernel has no filter; the limits of the parent hold all the same.
		_, _ = io.WriteString(os.Stderr, "render process not confined: "+err.Error()+"\n")
	}
	debug.SetGCPercent(gcPercent) // off up to here: all that start-up makes stays
	http.DefaultTransport = noNetwork{}
	http.DefaultClient = &http.Client{Transport: noNetwork{}}
	p := parent{newWire(in, out)}
	w := &worker{parent: p, handlers: handlers, renderer: render.New(render.Config{
		Definitions: remoteDefinitions{p, render.Builtins()}, Namespaced: p.namespaced,
	})}
	for {
		m, err := p.wire.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.answer(m); err != nil {
			return err
		}
	}
}

// noNetwork is every HTTP client that a library might use without being told to.
type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("there is no network while rendering")
}

// worker is the child's renderer.
type worker struct {
	parent   parent
	handlers map[string]Handler
	renderer *render.Renderer
}

func (w *worker) answer(m message) error {
	result, err := w.do(m)
	done := message{Op: opDone, Value: result, Err: failureOf(err)}
	err = w.parent.wire.send(done)
	if tooMuch, ok := errors.AsType[*limitError](err); ok {
		return w.parent.wire.send(message{Op: opDone, Err: failureOf(tooMuch)})
	}
	return err
}

func (w *worker) do(m message) (json.RawMessage, error) {
	if m.Op == opCall {
		return w.handle(m)
	}
	var work render.Work
	if err := decode(m.Value, &work); err != nil {
		return nil, err
	}
	var tree fs.FS
	if m.Tree {
		tree = remoteFS{w.parent}
	}
	out, err := w.renderer.Perform(context.Background(), work, tree)
	if err != nil {
		return nil, err
	}
	return encode(out)
}

func (w *worker) handle(m message) (json.RawMessage, error) {
	handler, ok := w.handlers[m.Name]
	if !ok {
		return nil, errors.New("nothing here handles " + m.Name)
	}
	out, err := handler(context.Background(), m.Value)
	if err != nil {
		return nil, err
	}
	return encode(out)
}
