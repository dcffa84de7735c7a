package main

import (
	"os"
	"syscall"
)

// dieWithParent has the kernel kill a child that its parent left behind, should it not
// notice that its standard input ended. A process group of its own keeps the terminal's
// Ctrl-C from it: the parent stops the parts in order.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

func wake(p *os.Process) { _ = p.Signal(syscall.SIGCONT) } // it may be gone, which is fine
