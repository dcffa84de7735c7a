package pool

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// isolate gives the child a process group of its own, to be killed as a whole, and lets
// it die with us.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// resident is the memory that a process holds, in bytes; 0 when it is gone.
func resident(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64) // the kernel's format
	return pages * int64(os.Getpagesize())
}
