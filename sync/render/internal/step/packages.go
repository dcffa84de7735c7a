package step

import (
	"bytes"
	"embed"
	"strings"
)

//go:embed packages/*.cue
var sources embed.FS

// Packages finds the packages of step actions that templates import: "vela/kube" and so
// on. They are part of the binary; nothing is fetched.
func Packages(path string) ([]byte, bool) {
	name, ours := strings.CutPrefix(path, "vela/")
	if !ours {
		return nil, false
	}
	if name == "ql" { // another name of query
		source, err := sources.ReadFile("packages/query.cue")
		return bytes.Replace(source, []byte("\npackage query"), []byte("\npackage ql"), 1), err == nil
	}
	source, err := sources.ReadFile("packages/" + name + ".cue")
	return source, err == nil
}
