package proc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Root is the folder of this repository, found from where the program or the test runs.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.Contains(string(data), "module github.com/tradewind-dev/tradewind\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside the tradewind repository: run this from there")
		}
		dir = parent
	}
}
