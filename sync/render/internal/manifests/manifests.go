// Package manifests reads the Kubernetes objects below a folder of a tree: every YAML
// file in order, or what Kustomize builds where a folder asks for it. Nothing but the
// tree is read, nothing is fetched and nothing is run; what would need more is refused
// with file and field named.
package manifests

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// Errors of a folder that has nothing to apply. Neither is ever taken for "nothing is
// wanted": that would delete everything.
var (
	ErrPathNotFound = errors.New("path not found")
	ErrEmpty        = errors.New("no Kubernetes objects")
)

// Limits on one folder (security.md section 6).
const (
	maxObjects = 5000
	maxBytes   = 32 << 20
)

// Object is one object and the place it was read from: a file and its line, or the
// folder of a kustomization and no line.
type Object struct {
	*unstructured.Unstructured
	File string
	Line int
}

// Load returns the objects below dir, a path from the root of the tree.
func Load(ctx context.Context, tree fs.FS, dir string) ([]Object, error) {
	at, err := clean(dir)
	if err != nil {
		return nil, &problem.Error{Err: err}
	}
	info, err := fs.Stat(tree, at)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.IsDir():
		return nil, &problem.Error{Err: fmt.Errorf("%w: %q is not a folder at this commit", ErrPathNotFound, dir)}
	case err != nil:
		return nil, &problem.Error{Err: fmt.Errorf("reading %s: %w", dir, err)}
	}
	w := &walker{ctx: ctx, tree: tree}
	if err := w.walk(at); err != nil {
		return nil, err
	}
	if len(w.objects) == 0 {
		return nil, &problem.Error{Err: fmt.Errorf("%w below %q: to delete everything, remove the component", ErrEmpty, dir)}
	}
	return w.objects, nil
}

// clean turns what people write ("./apps", "/apps/") into a path of io/fs.
func clean(dir string) (string, error) {
	at := path.Clean(strings.TrimLeft(dir, "/"))
	if at == ".." || strings.HasPrefix(at, "../") || !fs.ValidPath(at) {
		return "", fmt.Errorf("path %q leads out of the repository", dir)
	}
	return at, nil
}

// walker gathers the objects of a folder: a kustomization is built as a whole, other
// folders give every YAML file below them.
type walker struct {
	ctx     context.Context
	tree    fs.FS
	objects []Object
	bytes   int // of the objects as JSON
}

func (w *walker) walk(dir string) error {
	// Asked for by its usual name: whoever lists a folder has read all names in it, and has
	// to look again when one is added that the kustomization does not mention.
	if info, err := fs.Stat(w.tree, path.Join(dir, kustomizationFiles[0])); err == nil && !info.IsDir() {
		return w.kustomize(dir)
	}
	entries, err := fs.ReadDir(w.tree, dir)
	if err != nil {
		return &problem.Error{File: dir, Err: err}
	}
	for _, entry := range entries {
		if slices.Contains(kustomizationFiles, entry.Name()) {
			return w.kustomize(dir)
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		if err := w.entry(path.Join(dir, entry.Name()), entry); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(name string, entry fs.DirEntry) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	isYAML := strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
	switch {
	case ignored(entry.Name()):
		return nil
	case entry.IsDir():
		return w.walk(name)
	case !isYAML:
		return nil
	}
	data, err := fs.ReadFile(w.tree, name)
	if err != nil {
		return &problem.Error{File: name, Err: err}
	}
	return w.add(name, data)
}

// ignored are the files and folders that belong to other tools, as Flux's sources leave
// them out. A tree of package git leaves out more, among it what .sourceignore says.
func ignored(name string) bool {
	switch name {
	case ".git", ".github", ".circleci", ".gitmodules", ".travis.yml", ".gitlab-ci.yml", ".drone.yml", ".goreleaser.yml",
		".sops.yaml", ".flux.yaml", "appveyor.yml", "cloudbuild.yaml":
		return true
	}
	return strings.HasPrefix(name, "codeship")
}

func (w *walker) add(name string, data []byte) error {
	objects, size, err := decode(name, data)
	if err != nil {
		return err
	}
	return w.keep(name, objects, size)
}

// keep adds objects to the others, within the limits.
func (w *walker) keep(name string, objects []Object, size int) error {
	w.objects = append(w.objects, objects...)
	w.bytes += size
	if len(w.objects) > maxObjects {
		return &problem.Error{File: name, Err: fmt.Errorf("more than %d objects below one path: split it over several components", maxObjects)}
	}
	if w.bytes > maxBytes {
		return &problem.Error{File: name, Err: fmt.Errorf("more than %d MiB of objects below one path: split it over several components", maxBytes>>20)}
	}
	return nil
}
