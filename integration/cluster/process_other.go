//go:build !linux

package main

import (
	"os"
	"syscall"
)

// dieWithParent leaves it to the child to notice that its standard input ended.
func dieWithParent() *syscall.SysProcAttr { return nil }

func wake(*os.Process) {}
