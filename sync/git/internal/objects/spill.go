package objects

import (
	"fmt"
	"os"
)

// spill is a file without a name that large blobs are appended to. The system takes it
// back when nothing refers to it any more, also after a crash.
type spill struct {
	file *os.File
	size int64
}

func newSpill(dir string) (*spill, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the cache of large files: %w", err)
	}
	f, err := os.CreateTemp(dir, "tradewind-git-*")
	if err != nil {
		return nil, fmt.Errorf("creating the cache of large files: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("creating the cache of large files: %w", err)
	}
	return &spill{file: f}, nil
}

// write appends; the store's lock is held.
func (s *spill) write(data []byte) (at int64, err error) {
	at = s.size
	if _, err := s.file.WriteAt(data, at); err != nil {
		return 0, fmt.Errorf("writing to the cache of large files: %w", err)
	}
	s.size += int64(len(data))
	return at, nil
}

func (s *spill) read(at, size int64) ([]byte, error) {
	data := make([]byte, size)
	_, err := s.file.ReadAt(data, at)
	return data, err
}
