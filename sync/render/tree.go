package render

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Errors of a source that is there but has nothing to apply. Neither is ever taken for
// "nothing is wanted": that would delete everything.
var (
	ErrPathNotFound = errors.New("path not found")
	ErrEmpty        = errors.New("no Kubernetes objects")
)

// maxObjects bounds one component (security.md section 6).
const maxObjects = 5000

// kustomizationFiles are the names that make a folder a kustomization.
var kustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// fromTree reads the objects below the source's path.
func (r *Renderer) fromTree(c oam.Component, rc Context, src *Source, tree fs.FS) (*Component, error) {
	if tree == nil {
		return nil, &Error{Err: errors.New("no source tree was given")}
	}
	dir := path.Clean(strings.TrimPrefix(path.Join("/", src.Path), "/"))
	if dir == "" {
		dir = "."
	}
	if info, err := fs.Stat(tree, dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, &Error{Err: fmt.Errorf("%w: %q is not a folder at this commit", ErrPathNotFound, src.Path)}
	} else if err != nil {
		return nil, &Error{Err: fmt.Errorf("reading %s: %w", src.Path, err)}
	}
	w := &walker{tree: tree}
	if err := w.walk(dir); err != nil {
		return nil, err
	}
	if len(w.objects) == 0 {
		return nil, &Error{Err: fmt.Errorf("%w below %q: to delete everything, remove the component", ErrEmpty, src.Path)}
	}
	out := &Component{Name: c.Name, Type: c.Type, Objects: w.objects}
	for i := range out.Objects {
		r.own(&out.Objects[i], rc, src)
	}
	return out, checkDuplicates(out.Objects)
}

// own gives an object from Git its namespace and the mark of whose path it comes from.
func (r *Renderer) own(o *Object, rc Context, src *Source) {
	if src.TargetNamespace != "" {
		o.SetNamespace(src.TargetNamespace)
	}
	r.place(o.Unstructured, rc.Namespace)
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[oam.LabelSource] = rc.Namespace + "." + rc.AppName
	setManagedBy(labels)
	o.SetLabels(labels)
}

type objectID struct {
	group, kind, namespace, name string
}

func checkDuplicates(objects []Object) error {
	seen := map[objectID]string{}
	for _, o := range objects {
		gk := o.GroupVersionKind().GroupKind()
		id := objectID{gk.Group, gk.Kind, o.GetNamespace(), o.GetName()}
		if first, ok := seen[id]; ok {
			return &Error{File: o.Origin, Err: fmt.Errorf("%s %s is defined here and in %s: keep one", gk.Kind, o.GetName(), first)}
		}
		seen[id] = o.Origin
	}
	return nil
}

// walker gathers the objects of a folder: a kustomization is built as a whole, other
// folders give every YAML file below them.
type walker struct {
	tree    fs.FS
	objects []Object
}

func (w *walker) walk(dir string) error {
	entries, err := fs.ReadDir(w.tree, dir)
	if err != nil {
		return &Error{File: dir, Err: err}
	}
	for _, entry := range entries {
		if slices.Contains(kustomizationFiles, entry.Name()) {
			return w.kustomize(dir)
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		switch {
		case ignored(entry.Name()):
		case entry.IsDir():
			err = w.walk(name)
		case strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"):
			err = w.file(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ignored are the files and folders that belong to other tools, as Flux's sources leave
// them out.
func ignored(name string) bool {
	switch name {
	case ".git", ".github", ".circleci", ".gitmodules", ".travis.yml", ".gitlab-ci.yml", ".drone.yml", ".goreleaser.yml",
		".sops.yaml", ".flux.yaml", "appveyor.yml", "cloudbuild.yaml":
		return true
	}
	return strings.HasPrefix(name, "codeship")
}

func (w *walker) file(name string) error {
	data, err := fs.ReadFile(w.tree, name)
	if err != nil {
		return &Error{File: name, Err: err}
	}
	decoded, err := DecodeObjects(name, data)
	if err != nil {
		return err
	}
	return w.add(name, decoded)
}

func (w *walker) add(origin string, decoded []*unstructured.Unstructured) error {
	for _, u := range decoded {
		w.objects = append(w.objects, Object{Unstructured: u, Origin: origin})
	}
	if len(w.objects) > maxObjects {
		return &Error{File: origin, Err: fmt.Errorf("more than %d objects below one path: split it over several components", maxObjects)}
	}
	return nil
}

// checkObject is what an object from Git must have.
func checkObject(u *unstructured.Unstructured) error {
	if err := checkIdentity(u.Object); err != nil {
		return err
	}
	if u.GetName() == "" {
		return fmt.Errorf("%s has no metadata.name", u.GetKind())
	}
	if _, err := schema.ParseGroupVersion(u.GetAPIVersion()); err != nil {
		return err
	}
	return nil
}
