// Package seed is the example that Tradewind was made for, as files of a configuration
// repository: clusters/ holds what a person applies once, apps/ and infrastructure/ what
// Git delivers from then on. In: the clone URL, and that of the chart repository. Out: the
// files with them filled in.
package seed

import (
	"bytes"
	"embed"
	"io/fs"
	"testing/fstest"
)

//go:embed clusters apps infrastructure
var files embed.FS

// What stands in the files for the URL of the repository that holds them, and for that of
// the chart repository.
const (
	repoPlaceholder   = "https://git.example.com/acme/config.git"
	chartsPlaceholder = "https://charts.example.com"
)

// Files is the content of the repository that can be cloned from url, with its charts at
// charts.
func Files(url, charts string) (fs.FS, error) {
	filled := fstest.MapFS{}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(path)
		data = bytes.ReplaceAll(data, []byte(repoPlaceholder), []byte(url))
		data = bytes.ReplaceAll(data, []byte(chartsPlaceholder), []byte(charts))
		filled[path] = &fstest.MapFile{Data: data, Mode: 0o644}
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
