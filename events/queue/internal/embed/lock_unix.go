//go:build unix

package embed

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir takes the lock that the kernel releases when the process dies, however it dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of store directory %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("store directory %s is in use by another process; end it, or give this one a directory of its own: %w", dir, err)
	}
	return f, nil
}
