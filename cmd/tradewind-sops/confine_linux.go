package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The limits of one decryption, set before anything is read.
const (
	cpuSeconds = 10
	dataBytes  = 1 << 30
	openFiles  = 16
)

// confine gives up what a decryption does not need: files of any size, core dumps, more
// than a little memory and time.
func confine() error {
	for _, l := range []struct {
		name     string
		resource int
		most     uint64
	}{
		{"core", unix.RLIMIT_CORE, 0}, {"file size", unix.RLIMIT_FSIZE, 0}, {"open files", unix.RLIMIT_NOFILE, openFiles},
		{"CPU", unix.RLIMIT_CPU, cpuSeconds}, {"data", unix.RLIMIT_DATA, dataBytes},
	} {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // nobody reads the plaintext out of our memory
}
