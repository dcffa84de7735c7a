package manifests

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// kustomizationFiles are the names that make a folder a kustomization.
var kustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// kustomize builds the kustomization in dir, reading only from the tree.
func (w *walker) kustomize(dir string) error {
	files := newTreeFS(w.tree)
	built, err := files.shared(dir)
	if errors.Is(err, errOwnSchema) {
		files = newTreeFS(w.tree)
		files.ownSchema = true
		built, err = files.alone(dir)
	}
	if files.refused != nil { // Kustomize hides why a file could not be loaded
		return files.refused
	}
	if err != nil {
		return &problem.Error{File: dir, Err: fmt.Errorf("building the kustomization: %s", problem.OneLine(cause(err)))}
	}
	var objects []Object
	size := 0
	for _, resource := range built.Resources() {
		raw, err := resource.MarshalJSON()
		if err != nil {
			return &problem.Error{File: dir, Err: fmt.Errorf("building the kustomization: %w", err)}
		}
		size += len(raw)
		found, err := objectsOf(raw)
		if err != nil {
			return &problem.Error{File: dir, Err: err}
		}
		for _, u := range found {
			objects = append(objects, Object{Unstructured: u, File: dir})
		}
	}
	return w.keep(dir, objects, size)
}

// cause is the inmost of Kustomize's reasons. It tries what a resource names as a file and
// then as a folder, and reports both failures: the first, in quotes, counts for a file.
func cause(err error) string {
	message := err.Error()
	const quote = "accumulation err='"
	at := strings.LastIndex(message, quote)
	if at < 0 {
		return message
	}
	if asFile, _, ok := strings.Cut(message[at+len(quote):], "': must build at directory"); ok {
		return asFile
	}
	if end := strings.LastIndex(message, "': "); end > at {
		return message[end+len("': "):]
	}
	return message
}

// schemas guards the OpenAPI schema that Kustomize keeps in a variable of its own, for
// the whole process. Builds share Kubernetes' schema; one that brings another has the
// process for itself and leaves it as it found it.
var schemas sync.RWMutex

// errOwnSchema is why a shared build stops at a kustomization with its own schema.
var errOwnSchema = errors.New("the kustomization has its own OpenAPI schema")

// parseSchema does once, before any build, what Kustomize would do in the middle of the
// first: after that, builds only read it.
var parseSchema = sync.OnceFunc(func() { openapi.Schema() })

func (t *treeFS) shared(dir string) (resmap.ResMap, error) {
	parseSchema()
	schemas.RLock()
	defer schemas.RUnlock()
	built, err := t.build(dir)
	if t.ownSchemaSeen && !t.ownSchema {
		return nil, errOwnSchema
	}
	return built, err
}

func (t *treeFS) alone(dir string) (resmap.ResMap, error) {
	schemas.Lock()
	defer schemas.Unlock()
	defer func() { // after a panic, too: Kustomize panics at a schema it cannot read
		openapi.ResetOpenAPI()
		openapi.Schema()
	}()
	return t.build(dir)
}

func (t *treeFS) build(dir string) (resmap.ResMap, error) {
	options := krusty.MakeDefaultOptions()
	// Everything reachable is in the tree already; a base beside the folder is normal.
	options.LoadRestrictions = types.LoadRestrictionsNone
	options.PluginConfig = types.DisabledPluginConfig()
	return krusty.MakeKustomizer(options).Run(t, "/"+dir)
}
