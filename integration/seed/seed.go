// Package seed is the example that Tradewind was made for, as files of a configuration
// repository: clusters/ holds what a person applies once, apps/ and infrastructure/ what
// Git delivers from then on. In: the clone URL. Out: the files with it filled in.
package seed

import (
	"bytes"
	"embed"
	"io/fs"
	"testing/fstest"
)

//go:embed clusters apps infrastructure
var files embed.FS

// placeholder stands in the files for the URL of the repository that holds them.
const placeholder = "https://git.example.com/acme/config.git"

// Files is the content of the repository that can be cloned from url.
func Files(url string) (fs.FS, error) {
	filled := fstest.MapFS{}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(path)
		filled[path] = &fstest.MapFile{Data: bytes.ReplaceAll(data, []byte(placeholder), []byte(url)), Mode: 0o644}
		return err
	})
	return filled, err
}

// Secret is what the example needs and nobody delivers: the database's password.
const Secret = `apiVersion: v1
kind: Secret
metadata: {name: mysql-secret}
stringData: {ROOT_PASSWORD: example}
`
