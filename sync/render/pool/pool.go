// Package pool renders in child processes of this program. Templates, kustomizations and
// charts are code that other people wrote, and none of the libraries that run them can be
// interrupted; so they run where a limit can be enforced: in a process that has no
// network, no programs, no credentials and a bounded amount of memory and time. One that
// goes beyond is killed, and only the Application it worked for pays for it.
//
// A [Pool] is where a [render.Renderer] sends its work, which gives the same results as in
// its own process. What is read of a tree is read through the parent, so a tracing tree
// sees it all. Children are kept while there is work and ended when there is none.
package pool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/sync/render"
)

// ChildCommand is the hidden command of our program that calls [Serve].
const ChildCommand = "render-child"

// Config says how many children there are and what they may use. Zero values mean the
// defaults, which are those of the security requirements.
type Config struct {
	// Size is how many children work at once. Default 2.
	Size int
	// Timeout bounds one piece of work. Default 30 s.
	Timeout time.Duration
	// Memory bounds what one child may hold, in bytes. Default 512 MiB.
	Memory int64
	// Idle is how long a child without work is kept. Default 20 s.
	Idle time.Duration
	// Command starts a child; the default is this program with [ChildCommand].
	Command func() (*exec.Cmd, error)
	Logger  *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Size = cmp.Or(c.Size, 2)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.Memory = cmp.Or(c.Memory, 512<<20)
	c.Idle = cmp.Or(c.Idle, 20*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Command == nil {
		c.Command = ownProgram
	}
	return c
}

func ownProgram() (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(program, ChildCommand), nil //nolint:noctx // it outlives the call that starts it
}

// Pool renders in children. It is safe for concurrent use.
type Pool struct {
	cfg    Config
	source render.Config
	slots  chan struct{}

	// quarantine is the one slot of Applications that went beyond a limit the last time:
	// however many there are, the other slots stay free for everyone else.
	quarantine chan struct{}

	mu       sync.Mutex // guards what follows
	idle     []*child   // the one used last at the end
	thinning bool       // a look at the idle ones is due
	suspects map[string]bool
	closed   bool
}

var _ render.Elsewhere = (*Pool)(nil)

// New returns a pool whose children see the definitions and kinds of source.
func New(source render.Config, cfg Config) *Pool {
	cfg = cfg.withDefaults()
	if source.Definitions == nil {
		source.Definitions = render.Builtins()
	}
	return &Pool{
		cfg: cfg, source: source,
		slots: make(chan struct{}, cfg.Size), quarantine: make(chan struct{}, 1), suspects: map[string]bool{},
	}
}

// Close ends all children that have no work; those that have end after it.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.end()
	}
	p.idle = nil
}

// Do has a child perform the work. An error of a limit is a [render.Error].
func (p *Pool) Do(ctx context.Context, w render.Work, tree fs.FS, result any) error {
	value, err := encode(w)
	if err != nil {
		return err
	}
	m := message{Op: opWork, Value: value, Tree: tree != nil}
	return p.result(ctx, w.App(), m, tree, w.What(), result)
}

// Call has a child run the [Handler] of that name, at the expense of app.
func (p *Pool) Call(ctx context.Context, app, name string, in, result any) error {
	value, err := encode(in)
	if err != nil {
		return err
	}
	return p.result(ctx, app, message{Op: opCall, Name: name, Value: value}, nil, &render.Error{}, result)
}

// result has a piece of work done and decodes what came of it; about says what an error
// of a limit is about.
func (p *Pool) result(ctx context.Context, app string, m message, tree fs.FS, about *render.Error, into any) error {
	raw, err := p.call(ctx, app, m, answers{p.source, tree})
	if tooMuch, ok := errors.AsType[*limitError](err); ok {
		about.Err, about.Advice = tooMuch, "split it, or make its template do less"
		return about
	}
	if err != nil {
		return err
	}
	return decode(raw, into)
}

// call has one piece of work done by a child, at the expense of app.
func (p *Pool) call(ctx context.Context, app string, m message, a answers) (json.RawMessage, error) {
	leave, err := p.enter(ctx, app)
	if err != nil {
		return nil, err
	}
	defer leave()
	c, reused, err := p.take()
	if err != nil {
		return nil, err
	}
	raw, err := p.run(ctx, c, m, a)
	if _, died := errors.AsType[*diedError](err); died && reused {
		// It may have died of something that was not ours: once more, from the start.
		if c, err = p.start(); err != nil {
			return nil, err
		}
		raw, err = p.run(ctx, c, m, a)
	}
	p.judge(app, err)
	return raw, err
}

// enter waits for a slot; who is under suspicion waits for the one slot of suspects, too.
func (p *Pool) enter(ctx context.Context, app string) (leave func(), err error) {
	p.mu.Lock()
	suspect := p.suspects[app]
	p.mu.Unlock()
	doors := []chan struct{}{p.slots}
	if suspect {
		doors = []chan struct{}{p.quarantine, p.slots}
	}
	var entered []chan struct{}
	leave = func() {
		for _, door := range entered {
			<-door
		}
	}
	for _, door := range doors {
		select {
		case door <- struct{}{}:
			entered = append(entered, door)
		case <-ctx.Done():
			leave()
			return nil, context.Cause(ctx)
		}
	}
	return leave, nil
}

func (p *Pool) judge(app string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, limit := errors.AsType[*limitError](err); limit {
		p.suspects[app] = true
		return
	}
	delete(p.suspects, app)
}

// take is the child used last, or a new one.
func (p *Pool) take() (c *child, reused bool, err error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	c, err = p.start()
	return c, false, err
}

// put keeps a child for the next piece of work and lets those go that had none for long.
func (p *Pool) put(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.end()
		return
	}
	p.keep(c)
}

// keep needs mu.
func (p *Pool) keep(c *child) {
	c.since = time.Now()
	p.idle = append(p.idle, c)
	p.thinLater()
}

// Warm starts a child if there is none, without waiting for it: work is about to come.
func (p *Pool) Warm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) > 0 || len(p.slots) > 0 { // those at work hold a slot
		return
	}
	if c, err := p.start(); err == nil { // else the work tries again, and says why it cannot
		p.keep(c)
	}
}

// thinLater needs mu, and an idle child.
func (p *Pool) thinLater() {
	if !p.thinning {
		p.thinning = true
		time.AfterFunc(time.Until(p.idle[0].since.Add(p.cfg.Idle)), p.thin)
	}
}

// thin ends children that had no work for long.
func (p *Pool) thin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thinning = false
	for len(p.idle) > 0 && time.Since(p.idle[0].since) >= p.cfg.Idle {
		p.idle[0].end()
		p.idle = p.idle[1:]
	}
	if len(p.idle) > 0 {
		p.thinLater()
	}
}
