// Package proc is child processes and what they print. In: a command. Out: a [Process]
// that can be stopped or killed, and a [Log] of its lines that can be waited on. It
// promises that a child does not outlive us and that its crash is reported with its last
// lines. It refuses to end anything that it did not start.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

const (
	stopGrace = 30 * time.Second // then SIGKILL
	pipeGrace = 2 * time.Second  // for output that a grandchild still holds open
	tailLines = 25
)

// Process is a child of ours: it dies with us, its end is noticed, and what it printed
// last can be told.
type Process struct {
	name  string
	cmd   *exec.Cmd
	log   *Log
	stdin io.Closer // whoever reads it ends when it closes
	done  chan struct{}
	err   error // valid once done is closed
}

// Start runs a command in a process group of its own, so that Ctrl-C at a
// terminal reaches only us and we end the children in order.
func Start(name string, log *Log, cmd *exec.Cmd) (*Process, error) {
	p := &Process{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttr()
	cmd.WaitDelay = pipeGrace
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Running is true until the process has ended and all of its output is in the log.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Crashed explains the end of a process that should be running.
func (p *Process) Crashed() error {
	return fmt.Errorf("%s ended (%v); its last lines:\n%s", p.name, p.cmd.ProcessState, p.log.Tail(tailLines))
}

// WhileRunning is ctx, ended also by the end of the process, which is then its cause.
func (p *Process) WhileRunning(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.done:
			cancel(p.Crashed())
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// Kill ends the process as a crash would: no signal that it could handle, and nothing
// done about its own children.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // already gone is as good
	<-p.done
}

// Stop asks by closing standard input and by SIGTERM, kills after the grace, and
// reports what went wrong with either. No process of its group is left.
func (p *Process) Stop(ctx context.Context) error {
	if !p.Running() {
		return p.Crashed()
	}
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		p.endGroup()
		return fmt.Errorf("%s did not stop within %s; its last lines:\n%s", p.name, stopGrace, p.log.Tail(tailLines))
	}
	p.endGroup()
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok && exit.Exited() {
		return fmt.Errorf("stopping %s: %w; its last lines:\n%s", p.name, exit, p.log.Tail(tailLines))
	}
	return nil
}

// endGroup kills what the process may have left in its group.
func (p *Process) endGroup() {
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
}

// PID is the id of the process, also of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Poll tries until it works or ctx ends. For things outside the process that announce
// nothing, such as a listener that is about to open.
func Poll(ctx context.Context, try func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last answer: %w)", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
