package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// stopTimeout is how long a part may take to end by itself.
const stopTimeout = 5 * time.Second

// child is a part that runs as a process of its own.
type child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer // closing it asks the part to end
	done  chan struct{}
	err   error // once done is closed
}

type children []*child

// start runs one part of this binary. Its output goes to a log named for it.
func (cs *children) start(name string, l layout) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(l.path(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, name, l.path("layout.json"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c := &child{name: name, cmd: cmd, stdin: stdin, done: make(chan struct{})}
	*cs = append(*cs, c)
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	return nil
}

// exited delivers the first child that ends.
func (cs children) exited() <-chan *child {
	out := make(chan *child, len(cs))
	for _, c := range cs {
		go func() {
			<-c.done
			out <- c
		}()
	}
	return out
}

func (cs children) pids() map[string]int {
	pids := map[string]int{}
	for _, c := range cs {
		pids[c.name] = c.cmd.Process.Pid
	}
	return pids
}

// stop ends the children in reverse order: whoever serves the others goes last. It
// returns when all are gone, so that whoever waits for us can reuse ports and folder.
func (cs *children) stop() {
	for i := len(*cs) - 1; i >= 0; i-- {
		(*cs)[i].stop()
	}
}

func (c *child) stop() {
	c.stdin.Close()
	wake(c.cmd.Process) // a test may have frozen it
	select {
	case <-c.done:
	case <-time.After(stopTimeout):
		c.cmd.Process.Kill()
		<-c.done
	}
}

// failure says that a child ended on its own, and what it said last.
func (c *child) failure(l layout) error {
	err := c.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended: %w\n%s", c.name, err, tail(l.path(c.name+".log")))
}

const tailLines = 20

func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("(no %s: %v)", filepath.Base(path), err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-tailLines):], []byte("\n")))
}
