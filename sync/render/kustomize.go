package render

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kustomizeBuild serialises builds: Kustomize keeps its OpenAPI schema in a global.
var kustomizeBuild sync.Mutex

// kustomize builds the kustomization in dir, reading only from the tree.
func (w *walker) kustomize(dir string) error {
	files := &treeFS{tree: w.tree}
	options := krusty.MakeDefaultOptions()
	// Everything reachable is in the tree already; a base beside the folder is normal.
	options.LoadRestrictions = types.LoadRestrictionsNone
	options.PluginConfig = types.DisabledPluginConfig()

	kustomizeBuild.Lock()
	built, err := krusty.MakeKustomizer(options).Run(files, "/"+dir)
	kustomizeBuild.Unlock()
	if files.refused != nil { // Kustomize hides why a file could not be loaded
		return files.refused
	}
	if err != nil {
		return &Error{File: dir, Err: fmt.Errorf("building the kustomization: %w", err)}
	}
	data, err := built.AsYaml()
	if err != nil {
		return &Error{File: dir, Err: fmt.Errorf("building the kustomization: %w", err)}
	}
	decoded, err := DecodeObjects(dir, data)
	if err != nil {
		return err
	}
	return w.add(dir, decoded)
}

// treeFS is a read-only Kustomize file system over a source's tree, rooted at "/". Each
// kustomization file is checked before Kustomize sees it.
type treeFS struct {
	tree    fs.FS
	refused *Error
}

var errReadOnly = errors.New("the source tree is read-only")

func (t *treeFS) name(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if p == "" {
		return "."
	}
	return p
}

func (t *treeFS) IsDir(p string) bool {
	info, err := fs.Stat(t.tree, t.name(p))
	return err == nil && info.IsDir()
}

func (t *treeFS) Exists(p string) bool {
	_, err := fs.Stat(t.tree, t.name(p))
	return err == nil
}

func (t *treeFS) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	clean := path.Clean("/" + p)
	info, err := fs.Stat(t.tree, t.name(clean))
	if err != nil {
		return "", "", fmt.Errorf("%s is not in the repository", strings.TrimPrefix(clean, "/"))
	}
	if info.IsDir() {
		return filesys.ConfirmedDir(clean), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(clean)), path.Base(clean), nil
}

func (t *treeFS) ReadFile(p string) ([]byte, error) {
	data, err := fs.ReadFile(t.tree, t.name(p))
	if err != nil {
		return nil, err
	}
	if slices.Contains(kustomizationFiles, path.Base(p)) {
		if refused := t.check(t.name(p), data); refused != nil {
			t.refused = refused
			return nil, refused
		}
	}
	return data, nil
}

func (t *treeFS) ReadDir(p string) ([]string, error) {
	entries, err := fs.ReadDir(t.tree, t.name(p))
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, err
}

func (t *treeFS) Glob(pattern string) ([]string, error) { return fs.Glob(t.tree, t.name(pattern)) }

func (t *treeFS) Create(string) (filesys.File, error) { return nil, errReadOnly }
func (t *treeFS) Open(string) (filesys.File, error)   { return nil, errReadOnly }
func (t *treeFS) Mkdir(string) error                  { return errReadOnly }
func (t *treeFS) MkdirAll(string) error               { return errReadOnly }
func (t *treeFS) RemoveAll(string) error              { return errReadOnly }
func (t *treeFS) WriteFile(string, []byte) error      { return errReadOnly }

// refusedFields run programs, fetch charts or change the schema that every other build
// of this process uses.
var refusedFields = []string{"helmCharts", "helmChartInflationGenerator", "helmGlobals", "generators", "transformers", "validators", "openapi", "crds"}

// check refuses what would fetch or execute: Kustomize itself would reach for the network
// even on an in-memory file system. Every path must name something in the repository.
func (t *treeFS) check(file string, data []byte) *Error {
	var k map[string]any
	if err := yaml.UnmarshalStrict(data, &k); err != nil {
		return yamlError(file, 1, err)
	}
	for _, field := range refusedFields {
		if k[field] != nil {
			return &Error{File: file, Field: field, Err: errors.New("is not allowed: rendering runs no programs and fetches nothing")}
		}
	}
	for _, ref := range paths(k) {
		if !t.Exists(path.Join(path.Dir(file), ref.value)) {
			return &Error{File: file, Field: ref.field, Err: fmt.Errorf("%q is not a path in this repository; remote bases are not fetched", ref.value)}
		}
	}
	return nil
}

type pathRef struct{ field, value string }

// paths lists every field of a kustomization that names a file or folder.
func paths(k map[string]any) []pathRef {
	var refs []pathRef
	add := func(field string, value any) {
		if s, ok := value.(string); ok && s != "" && !strings.ContainsAny(s, "\n{") { // a patch may stand inline
			refs = append(refs, pathRef{field, s})
		}
	}
	for _, field := range []string{"resources", "bases", "components", "patchesStrategicMerge", "configurations"} {
		for i, v := range list(k[field]) {
			add(fmt.Sprintf("%s[%d]", field, i), v)
		}
	}
	for _, field := range []string{"patches", "patchesJson6902", "replacements"} {
		for i, v := range list(k[field]) {
			if m, ok := v.(map[string]any); ok {
				add(fmt.Sprintf("%s[%d].path", field, i), m["path"])
			}
		}
	}
	for _, field := range []string{"configMapGenerator", "secretGenerator"} {
		for i, v := range list(k[field]) {
			m, ok := v.(map[string]any)
			if !ok {
				continue
			}
			add(fmt.Sprintf("%s[%d].env", field, i), m["env"])
			for _, sub := range []string{"files", "envs"} {
				for j, f := range list(m[sub]) {
					s, _ := f.(string)
					if _, after, ok := strings.Cut(s, "="); ok {
						s = after
					}
					add(fmt.Sprintf("%s[%d].%s[%d]", field, i, sub, j), s)
				}
			}
		}
	}
	return refs
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func (t *treeFS) Walk(root string, fn filepath.WalkFunc) error {
	return fs.WalkDir(t.tree, t.name(root), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fn("/"+p, nil, err)
		}
		info, err := d.Info()
		return fn("/"+p, info, err)
	})
}
