package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	memoryLook = 20 * time.Millisecond // between two looks at a working child's memory
	maxUses    = 5000                  // of a child, before a fresh one takes its place
	stderrKept = 8 << 10
)

// child is one render process.
type child struct {
	cmd    *exec.Cmd
	wire   *wire
	stdin  io.Closer
	stderr *lastWords
	exited chan struct{} // closed when the process is gone
	uses   int
	since  time.Time // without work
}

// diedError is a child that ended by itself.
type diedError struct{ words string }

func (e *diedError) Error() string {
	if e.words == "" {
		return "the render process ended"
	}
	return "the render process ended: " + e.words
}

// start runs a child. It inherits nothing but its pipes.
func (p *Pool) start() (*child, error) {
	cmd, err := p.cfg.Command()
	if err != nil {
		return nil, fmt.Errorf("starting a render process: %w", err)
	}
	c := &child{cmd: cmd, stderr: &lastWords{}, exited: make(chan struct{})}
	cmd.Dir, cmd.Stderr = "/", c.stderr
	cmd.Env = append(cmd.Env, "PATH=", "GOGC=off", fmt.Sprintf("GOMEMLIMIT=%d", p.cfg.Memory/4*3))
	isolate(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a render process: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a render process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a render process: %w", err)
	}
	c.stdin, c.wire = stdin, newWire(stdout, stdin)
	go func() {
		defer close(c.exited)
		_ = cmd.Wait() // how it ended is in its last words
	}()
	return c, nil
}

// end lets a child without work go.
func (c *child) end() { _ = c.stdin.Close() }

// kill ends a child with everything it started.
func (c *child) kill() {
	killGroup(c.cmd)
	<-c.exited
	_ = c.stdin.Close()
}

// run has c do one piece of work, within the limits. A child that went wrong in any way
// is not used again.
func (p *Pool) run(ctx context.Context, c *child, m message, a answers) (json.RawMessage, error) {
	guard := p.guard(ctx, c)
	raw, err, sound := c.talk(m, a)
	breach := guard.stop()
	if !sound || breach != nil {
		c.kill()
	}
	switch {
	case breach != nil:
		return nil, breach
	case !sound:
		if tooMuch, ok := errors.AsType[*limitError](err); ok {
			return nil, tooMuch
		}
		words := c.stderr.String()
		p.cfg.Logger.Warn("render process ended", "err", err, "words", words)
		if strings.Contains(words, "out of memory") || strings.Contains(words, "cannot allocate memory") {
			return nil, &limitError{p.memoryBreach()}
		}
		if strings.Contains(words, "stack overflow") || strings.Contains(words, "stack exceeds") {
			return nil, &limitError{"it calls itself without end"}
		}
		return nil, &diedError{words}
	}
	if c.uses++; c.uses < maxUses {
		p.put(c)
	} else {
		c.end()
	}
	return raw, err
}

// talk sends the work and answers what the child asks until it is done. Not sound means
// that the pipes are in an unknown state.
func (c *child) talk(m message, a answers) (raw json.RawMessage, err error, sound bool) {
	if err := c.wire.send(m); err != nil {
		return nil, err, false
	}
	for {
		got, err := c.wire.receive()
		if err != nil {
			return nil, err, false
		}
		if got.Op == opDone {
			return got.Value, got.Err.error(), true
		}
		if err := c.wire.send(a.to(got)); err != nil {
			return nil, err, false
		}
	}
}

// guard watches a working child.
type guard struct {
	quit   chan struct{}
	done   sync.WaitGroup
	breach error
}

func (p *Pool) guard(ctx context.Context, c *child) *guard {
	g := &guard{quit: make(chan struct{})}
	g.done.Go(func() {
		if g.breach = p.watch(ctx, c, g.quit); g.breach != nil {
			killGroup(c.cmd) // ends the talk, too
		}
	})
	return g
}

// stop ends the watch and returns what it found.
func (g *guard) stop() error {
	close(g.quit)
	g.done.Wait()
	return g.breach
}

func (p *Pool) watch(ctx context.Context, c *child, quit <-chan struct{}) error {
	late := time.NewTimer(p.cfg.Timeout)
	defer late.Stop()
	look := time.NewTicker(memoryLook)
	defer look.Stop()
	for {
		select {
		case <-quit:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return &limitError{fmt.Sprintf("rendering takes longer than %s", p.cfg.Timeout)}
		case <-look.C:
			if resident(c.cmd.Process.Pid) > p.cfg.Memory {
				return &limitError{p.memoryBreach()}
			}
		}
	}
}

func (p *Pool) memoryBreach() string {
	return fmt.Sprintf("rendering takes more than %d MiB of memory", p.cfg.Memory>>20)
}

// lastWords keeps the beginning of what a child says on stderr: a Go program that dies
// says why first, and where it was after that.
type lastWords struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if room := stderrKept - w.text.Len(); room > 0 {
		w.text.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// String is the first line.
func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(w.text.String()), "\n")
	return line
}
