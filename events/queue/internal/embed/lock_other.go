//go:build !unix

package embed

import (
	"errors"
	"os"
)

func lockDir(string) (*os.File, error) {
	return nil, errors.New("the embedded queue needs a Unix system; set queue.url instead")
}
