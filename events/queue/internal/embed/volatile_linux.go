package embed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// checkDurable refuses places whose content a restart of the machine or of the container
// forgets. The numbers are from statfs(2).
func checkDurable(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("resolving store directory %s: %w", dir, err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(real, &fs); err != nil {
		return fmt.Errorf("examining store directory %s: %w", dir, err)
	}
	names := map[int64]string{
		0x01021994: "tmpfs", 0x858458f6: "ramfs",
		0x794c7630: "overlayfs, the writable layer of a container,",
	}
	if name := names[int64(uint32(fs.Type))]; name != "" {
		return fmt.Errorf("store directory %s is on %s and would be forgotten by a restart; mount a volume there, or set queue.allowVolatile", dir, name)
	}
	for _, tmp := range []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm", "/run"} {
		if rel, err := filepath.Rel(tmp, real); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return fmt.Errorf("store directory %s is below %s, which is cleaned up; choose another, or set queue.allowVolatile", dir, tmp)
		}
	}
	return nil
}

// Free is the room on the disk of the store directory, in bytes.
func (s *Server) Free() (uint64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &fs); err != nil {
		return 0, fmt.Errorf("examining store directory %s: %w", s.dir, err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}
