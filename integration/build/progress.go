package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	redrawEvery = time.Second      // on a terminal, so that the clock moves
	logEvery    = 10 * time.Second // elsewhere, where each line stays
	lineWidth   = 79
)

// progress is one line that is redrawn on a terminal, and a line now and then elsewhere.
type progress struct {
	name     string
	out      io.Writer
	terminal bool
	begun    time.Time
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu       sync.Mutex // guards what follows, and out
	what     string     // being done, or the package being compiled
	compiled int
	total    int // zero: not known yet
	shown    time.Time
}

func newProgress(name string, out io.Writer) *progress {
	p := &progress{name: name, out: out, begun: time.Now(), stop: make(chan struct{})}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	p.stopped.Go(p.tick)
	return p
}

func (p *progress) tick() {
	ticker := time.NewTicker(redrawEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.change(func() {})
		case <-p.stop:
			return
		}
	}
}

// change shows what is new: at once on a terminal, elsewhere if it is time.
func (p *progress) change(update func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	update()
	if p.terminal {
		fmt.Fprintf(p.out, "\r\033[K%.*s", lineWidth, p.line())
		return
	}
	if time.Since(p.shown) >= logEvery {
		p.shown = time.Now()
		fmt.Fprintln(p.out, p.line())
	}
}

func (p *progress) line() string {
	took, what := time.Since(p.begun).Round(time.Second), p.what
	if p.total > 0 && p.compiled >= p.total-1 { // the program itself is not said to be linked
		what = "linking"
	}
	switch {
	case p.compiled == 0:
		return fmt.Sprintf("building %s  %s  %s", p.name, took, what)
	case p.total == 0:
		return fmt.Sprintf("building %s  %d packages  %s  %s", p.name, p.compiled, took, what)
	default:
		return fmt.Sprintf("building %s  %d/%d packages  %s  %s", p.name, p.compiled, max(p.compiled, p.total), took, what)
	}
}

func (p *progress) say(what string)  { p.change(func() { p.what = what }) }
func (p *progress) step(pkg string)  { p.change(func() { p.what, p.compiled = pkg, p.compiled+1 }) }
func (p *progress) expect(total int) { p.change(func() { p.total = total }) }

func (p *progress) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.compiled
}

// print writes above the line what is to stay.
func (p *progress) print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprint(p.out, text)
}

func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K")
	}
}

// done says so; end is for whoever does not get there too.
func (p *progress) done() {
	p.print(fmt.Sprintf("built bin/%s in %s\n", p.name, time.Since(p.begun).Round(100*time.Millisecond)))
}

func (p *progress) end() {
	close(p.stop)
	p.stopped.Wait()
	p.print("")
}
