//go:build !linux

package pool

import "os/exec"

func isolate(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

// resident is not known here; GOMEMLIMIT and the timeout hold.
func resident(int) int64 { return 0 }
