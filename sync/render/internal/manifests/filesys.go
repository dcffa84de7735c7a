package manifests

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// treeFS is a read-only Kustomize file system over a tree, rooted at "/". Files are read
// when Kustomize asks, so that a tracing tree records what the build depends on, and each
// kustomization is checked before Kustomize sees it.
type treeFS struct {
	tree          fs.FS
	read          map[string][]byte // each file is read once
	refused       *problem.Error
	ownSchema     bool // an OpenAPI schema is allowed
	ownSchemaSeen bool
}

var _ filesys.FileSystem = (*treeFS)(nil)

var errReadOnly = errors.New("the source tree is read-only")

func newTreeFS(tree fs.FS) *treeFS { return &treeFS{tree: tree, read: map[string][]byte{}} }

// inTree is a path of Kustomize's as io/fs wants it.
func inTree(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p != "" {
		return p
	}
	return "."
}

func (t *treeFS) IsDir(p string) bool {
	info, err := fs.Stat(t.tree, inTree(p))
	return err == nil && info.IsDir()
}

func (t *treeFS) Exists(p string) bool {
	_, err := fs.Stat(t.tree, inTree(p))
	return err == nil
}

func (t *treeFS) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	at := path.Clean("/" + p)
	info, err := fs.Stat(t.tree, inTree(at))
	if err != nil {
		return "", "", fmt.Errorf("%s is not in the repository", inTree(at))
	}
	if info.IsDir() {
		return filesys.ConfirmedDir(at), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(at)), path.Base(at), nil
}

func (t *treeFS) ReadFile(p string) ([]byte, error) {
	name := inTree(p)
	data, err := t.content(name)
	if err != nil {
		return nil, err
	}
	if t.refused == nil && slices.Contains(kustomizationFiles, path.Base(name)) {
		t.refused = t.checkKustomization(name, data)
	}
	if t.refused != nil {
		return nil, t.refused
	}
	return data, nil
}

func (t *treeFS) content(name string) ([]byte, error) {
	if data, ok := t.read[name]; ok {
		return data, nil
	}
	data, err := fs.ReadFile(t.tree, name)
	if err == nil {
		t.read[name] = data
	}
	return data, err
}

func (t *treeFS) ReadDir(p string) ([]string, error) {
	entries, err := fs.ReadDir(t.tree, inTree(p))
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, err
}

func (t *treeFS) Walk(root string, fn filepath.WalkFunc) error {
	return fs.WalkDir(t.tree, inTree(root), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fn("/"+p, nil, err)
		}
		info, err := d.Info()
		return fn("/"+p, info, err)
	})
}

func (t *treeFS) Glob(pattern string) ([]string, error) { return fs.Glob(t.tree, inTree(pattern)) }

func (t *treeFS) Create(string) (filesys.File, error) { return nil, errReadOnly }
func (t *treeFS) Open(string) (filesys.File, error)   { return nil, errReadOnly }
func (t *treeFS) Mkdir(string) error                  { return errReadOnly }
func (t *treeFS) MkdirAll(string) error               { return errReadOnly }
func (t *treeFS) RemoveAll(string) error              { return errReadOnly }
func (t *treeFS) WriteFile(string, []byte) error      { return errReadOnly }
