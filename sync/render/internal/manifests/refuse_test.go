package manifests_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/tradewind-dev/tradewind/sync/render/internal/manifests"
	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// TestNothingIsFetched tries every field that Kustomize would fetch from, with addresses
// of a server that must not hear of it, also where the tree has such a folder.
func TestNothingIsFetched(t *testing.T) {
	t.Parallel()
	var heard atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		heard.Add(1)
		fmt.Fprint(w, configMap)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	tests := []struct{ name, text, field string }{
		{"resources", "resources: [URL/a.yaml]", "resources[0]"},
		{"resources in capitals", "Resources: [URL/a.yaml]", "resources[0]"},
		{"resources, cleaned", "resources: ['http:/HOST/a.yaml']", "resources[0]"},
		{"a repository", "resources: [a.yaml, 'URL/acme/base?ref=main']", "resources[1]"},
		{"a repository without scheme", "resources: [github.com/acme/base]", "resources[0]"},
		{"a repository in capitals", "resources: [GitHub.com/acme/base]", "resources[0]"},
		{"a forced repository", "resources: ['git::URL/acme/base']", "resources[0]"},
		{"ssh", "resources: ['git@HOST:acme/base']", "resources[0]"},
		{"ssh with a slash", "resources: [git@example.com/acme/base]", "resources[0]"},
		{"a file address", "resources: ['file:///etc/base']", "resources[0]"},
		{"bases", "bases: ['URL/base']", "bases[0]"},
		{"components", "components: ['URL/base']", "components[0]"},
		{"crds", "crds: ['URL/crd.json']", "crds[0]"},
		{"configurations", "configurations: ['URL/c.yaml']", "configurations[0]"},
		{"patches", "resources: [a.yaml]\npatches: [{path: 'URL/p.yaml'}]", "patches[0].path"},
		{"patchesStrategicMerge", "resources: [a.yaml]\npatchesStrategicMerge: ['URL/p.yaml']", "patchesStrategicMerge[0]"},
		{"patchesStrategicMerge, as if in place", "resources: [a.yaml]\npatchesStrategicMerge: ['URL/{p']", "patchesStrategicMerge[0]"},
		{"patchesStrategicMerge, as a map", "resources: [a.yaml]\npatchesStrategicMerge: ['http: //HOST/p']", "patchesStrategicMerge[0]"},
		{"patchesJson6902", "resources: [a.yaml]\npatchesJson6902: [{path: 'URL/p.yaml', target: {version: v1, kind: ConfigMap, name: a}}]", "patchesJson6902[0].path"},
		{"replacements", "resources: [a.yaml]\nreplacements: [{path: 'URL/r.yaml'}]", "replacements[0].path"},
		{"openapi", "resources: [a.yaml]\nopenapi: {path: 'URL/s.json'}", "openapi.path"},
		{"configMapGenerator files", "configMapGenerator: [{name: g, files: ['URL/f']}]", "configMapGenerator[0].files[0]"},
		{"configMapGenerator named files", "configMapGenerator: [{name: g, files: ['k=URL/f']}]", "configMapGenerator[0].files[0]"},
		{"configMapGenerator envs", "configMapGenerator: [{name: g, envs: ['URL/f']}]", "configMapGenerator[0].envs[0]"},
		{"configMapGenerator env", "configMapGenerator: [{name: g, env: 'URL/f'}]", "configMapGenerator[0].env"},
		{"secretGenerator files", "secretGenerator: [{name: g, files: ['URL/f']}]", "secretGenerator[0].files[0]"},
		{"credentials are not repeated", "resources: ['http://ada:open-sesame@HOST/a.yaml?token=open-sesame']", "resources[0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.NewReplacer("URL", server.URL, "HOST", host).Replace(tt.text)
			files := tree("k/kustomization.yaml", text+"\n", "k/a.yaml", configMap)
			for _, dir := range []string{"github.com/acme/base", "GitHub.com/acme/base", "git@example.com/acme/base", "http:/" + host} {
				files["k/"+dir+"/kustomization.yaml"] = &fstest.MapFile{Data: []byte("resources: [a.yaml]\n")}
				files["k/"+dir+"/a.yaml"] = &fstest.MapFile{Data: []byte(configMap)}
			}
			_, err := manifests.Load(t.Context(), files, "k")
			e, ok := errors.AsType[*problem.Error](err)
			if !ok || e.File != "k/kustomization.yaml" || e.Field != tt.field || !strings.HasSuffix(e.Error(), "is a URL, and rendering fetches nothing") {
				t.Errorf("error %v, want a refusal of %s", err, tt.field)
			}
			if err != nil && strings.Contains(err.Error(), "open-sesame") {
				t.Errorf("error %v has the password", err)
			}
		})
	}
	t.Cleanup(func() {
		if n := heard.Load(); n != 0 {
			t.Errorf("the server heard %d requests", n)
		}
	})
}

// TestSchemaStaysWithItsBuild builds kustomizations with a schema of their own, in which
// a list of a custom kind is merged by name, among others without: those must go on
// replacing the list, whatever was built before or is built beside them.
func TestSchemaStaysWithItsBuild(t *testing.T) {
	t.Parallel()
	const object = "apiVersion: example.com/v1\nkind: Pool\nmetadata: {name: p}\nspec: {members: [{name: a, n: 1}, {name: b, n: 1}]}\n"
	const patch = "apiVersion: example.com/v1\nkind: Pool\nmetadata: {name: p}\nspec: {members: [{name: b, n: 2}]}\n"
	const schema = `{"definitions": {"example.v1.Pool": {
		"properties": {"spec": {"properties": {"members": {"type": "array", "items": {"properties": {"name": {"type": "string"}}},
			"x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}}}},
		"x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Pool", "version": "v1"}]}}}`
	plain := tree("kustomization.yaml", "resources: [o.yaml]\npatches: [{path: p.yaml}]\n", "o.yaml", object, "p.yaml", patch)
	own := tree("kustomization.yaml", "resources: [base]\n", "s.json", schema,
		"base/kustomization.yaml", "resources: [o.yaml]\npatches: [{path: p.yaml}]\nopenapi: {path: ../s.json}\n", "base/o.yaml", object, "base/p.yaml", patch)
	members := func(files fstest.MapFS) int {
		objects, err := manifests.Load(t.Context(), files, ".")
		if err != nil {
			t.Error(err)
			return 0
		}
		spec, _ := objects[0].Object["spec"].(map[string]any)
		list, _ := spec["members"].([]any)
		return len(list)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				if n := members(own); n != 2 {
					t.Errorf("with the schema: %d members, want them merged to 2", n)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				if n := members(plain); n != 1 {
					t.Errorf("without a schema: %d members, want the list replaced by 1", n)
				}
			}
		})
	}
	wg.Wait()
}
