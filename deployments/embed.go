// Package deployments is how Tradewind gets into a cluster: the definitions of its kinds
// and the manifests that install it, as files and inside the program.
//
// In: nothing. Out: bytes. It promises that they build, parse and pass the API server's
// strict validation (the tests do that). It refuses to grant more than its own kinds need,
// except in the overlay called single-tenant.
package deployments

import (
	"bytes"
	"embed"
	"io/fs"
	"path"
)

//go:embed crds kustomize
var files embed.FS

// Files are crds/ and kustomize/ as they are in the repository.
func Files() fs.FS { return files }

// CRDs are the definitions of our kinds, as one YAML stream that "kubectl apply -f -"
// takes.
func CRDs() []byte {
	names, err := fs.Glob(files, "crds/*.yaml")
	if err != nil {
		panic("deployments: " + err.Error()) // the pattern is a constant
	}
	var out bytes.Buffer
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			panic("deployments: " + path.Base(name) + ": " + err.Error()) // it was listed a moment ago
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.Bytes()
}
