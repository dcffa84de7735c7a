package manifests_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/sync/render/internal/manifests"
	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

func tree(files ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		out[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return out
}

// names lists what was loaded as kind/name@place.
func names(objects []manifests.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.GetKind()+"/"+o.GetName()+"@"+problem.Place(o.File, o.Line))
	}
	return out
}

func TestLoad(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, path string
		files      fstest.MapFS
		want       []string
	}{
		{"files in order, folders among them", "apps", tree(
			"apps/b.yaml", configMap, "apps/a/z.yml", configMap, "apps/c/x.txt", "{", "other.yaml", configMap,
		), []string{"ConfigMap/a@apps/a/z.yml:1", "ConfigMap/a@apps/b.yaml:1"}},
		{"the path may be written in several ways", "/./apps/", tree("apps/b.yaml", configMap), []string{"ConfigMap/a@apps/b.yaml:1"}},
		{"the root", ".", tree("b.yaml", configMap), []string{"ConfigMap/a@b.yaml:1"}},
		{"what belongs to other tools is left out", ".", tree(
			".github/ci.yaml", "on: push", ".sops.yaml", "x: y", "codeship-steps.yml", "x: y", "b.yaml", configMap,
		), []string{"ConfigMap/a@b.yaml:1"}},
		{"documents know their line, blank ones are nothing", ".", tree(
			"b.yaml", "# only words\n---\n\n# more\n"+configMap+"---\n--- # again\n"+configMap+"...\n"+configMap,
		), []string{"ConfigMap/a@b.yaml:5", "ConfigMap/a@b.yaml:10", "ConfigMap/a@b.yaml:14"}},
		{"windows line ends and a byte order mark", ".", tree(
			"b.yaml", "\ufeffapiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: a}\r\n---\r\napiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: b}\r\n",
		), []string{"ConfigMap/a@b.yaml:1", "ConfigMap/b@b.yaml:5"}},
		{"lists are flattened, a kind that ends so is not", ".", tree(
			"b.yaml", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}]\n---\napiVersion: v1\nkind: List\n---\n"+
				"apiVersion: x.io/v1\nkind: AllowList\nmetadata: {name: l}\n",
		), []string{"ConfigMap/a@b.yaml:1", "AllowList/l@b.yaml:8"}},
		{"anchors and merge keys", ".", tree(
			"b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: a}\ndata: {<<: *m}\n",
		), []string{"ConfigMap/a@b.yaml:1"}},
		{"a kustomization is a unit, and bases may stand beside it", "prod", tree(
			"prod/k/kustomization.yml", "resources: [../../base, sub]\n", "prod/k/sub/Kustomization", "resources: [x.yaml]\nnamePrefix: sub-\n",
			"prod/k/sub/x.yaml", configMap, "prod/k/not-listed.yaml", "{", "base/kustomization.yaml", "resources: [b.yaml]\n", "base/b.yaml", configMap,
			"prod/plain.yaml", configMap,
		), []string{"ConfigMap/a@prod/k", "ConfigMap/sub-a@prod/k", "ConfigMap/a@prod/plain.yaml:1"}},
		{"a generator takes any file", ".", tree(
			"kustomization.yaml", "configMapGenerator: [{name: g, files: [conf=x.yaml], options: {disableNameSuffixHash: true}}]\n", "x.yaml", "{{ not: YAML",
		), []string{"ConfigMap/g@."}},
		{"a patch in place", ".", tree(
			"kustomization.yaml", "resources: [a.yaml]\npatchesStrategicMerge:\n- |\n  apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a, labels: {url: x}}\n", "a.yaml", configMap,
		), []string{"ConfigMap/a@."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects, err := manifests.Load(t.Context(), tt.files, tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, names(objects)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadMistakes(t *testing.T) {
	t.Parallel()
	kustomization := func(text string) fstest.MapFS {
		return tree("kustomization.yaml", text, "a.yaml", configMap, "dir/a.yaml", configMap)
	}
	tests := []struct {
		name, path string
		files      fstest.MapFS
		want       string
	}{
		{"no such path", "apps", tree("b.yaml", configMap), `path not found: "apps" is not a folder at this commit`},
		{"a file", "b.yaml", tree("b.yaml", configMap), `path not found: "b.yaml" is not a folder at this commit`},
		{"out of the tree", "apps/../../x", tree("b.yaml", configMap), `path "apps/../../x" leads out of the repository`},
		{"nothing in it", "apps", tree("apps/README.md", "# Apps"), `no Kubernetes objects below "apps": to delete everything, remove the component`},
		{"only comments", ".", tree("a.yaml", "# nothing\n---\n"), `no Kubernetes objects below ".": to delete everything, remove the component`},
		{"broken in the second document", ".", tree("b.yaml", configMap+"---\na: b\n c: d\n"), "b.yaml:6: mapping values are not allowed in this context"},
		{"a key twice", ".", tree("b.yaml", configMap+"data: {}\ndata: {}\n"), `b.yaml:5: key "data" already set in map`},
		{"not Kubernetes", ".", tree("values.yaml", "# of the chart\nreplicas: 1\n"), "values.yaml:2: object has no apiVersion"},
		{"a list at the top", ".", tree("b.yaml", "- a\n"), "b.yaml:1: not a Kubernetes object: want apiVersion, kind and metadata.name"},
		{"no kind", ".", tree("b.yaml", "apiVersion: v1\n"), "b.yaml:1: object has no kind"},
		{"no name", ".", tree("b.yaml", "apiVersion: v1\nkind: ConfigMap\n"), "b.yaml:1: ConfigMap has no metadata.name"},
		{"a bad version", ".", tree("b.yaml", "apiVersion: a/b/c\nkind: ConfigMap\n"), "b.yaml:1: unexpected GroupVersion string: a/b/c"},
		{"a generated name", ".", tree("b.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: a-}\n"),
			"b.yaml:1: Job uses metadata.generateName: give it a name, or every delivery would create another"},
		{"a label that is a number", ".", tree("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {version: 1.2}}\n"),
			`b.yaml:1: metadata.labels["version"]: 1.2 given, string wanted: put it in quotes`},
		{"metadata that is none", ".", tree("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: a\n"), "b.yaml:1: metadata of ConfigMap is not an object"},
		{"a secret of SOPS", ".", tree("b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nsops: {mac: x}\n"),
			"b.yaml:1: Secret a is encrypted with SOPS: name the Secret with its key in properties.decryption"},
		{"a NUL", ".", tree("b.yaml", "a: b\n\x00"), "b.yaml:2: the file has a NUL byte, so it is not YAML"},
		{"in a list", ".", tree("b.yaml", "apiVersion: v1\nkind: List\nitems: [{kind: ConfigMap}]\n"), "b.yaml:1: items[0]: object has no apiVersion"},
		{"too deep", ".", tree("b.yaml", configMap+"data: "+strings.Repeat("[", 70)+strings.Repeat("]", 70)), "b.yaml:1: ConfigMap a is nested more than 64 deep"},
		{"aliases of aliases", ".", tree("b.yaml", bomb()), "b.yaml:1: document contains excessive aliasing"},

		{"kustomization: broken", ".", kustomization("resources: [a.yaml\n"), "kustomization.yaml:1: did not find expected ',' or ']'"},
		{"kustomization: unknown field", ".", kustomization("ressources: [a.yaml]\n"), `kustomization.yaml: invalid Kustomization: json: unknown field "ressources"`},
		{"kustomization: no such file", ".", kustomization("resources: [b.yaml]\n"), `kustomization.yaml: resources[0]: "b.yaml" does not exist: b.yaml is not in the repository`},
		{"kustomization: absolute", ".", kustomization("resources: [/a.yaml]\n"), `kustomization.yaml: resources[0]: "/a.yaml" is not relative to this file`},
		{"kustomization: out of the tree", ".", kustomization("resources: [dir/../../a.yaml]\n"), `kustomization.yaml: resources[0]: "dir/../../a.yaml" leads out of the repository`},
		{"kustomization: a folder of plain files", ".", kustomization("resources: [dir]\n"), `kustomization.yaml: resources[0]: "dir" is a folder without a kustomization.yaml`},
		{"kustomization: a folder as patch", ".", kustomization("resources: [a.yaml]\npatches: [{path: dir}]\n"), `kustomization.yaml: patches[0].path: "dir" is a folder, a file is wanted`},
		{"kustomization: a file as component", ".", kustomization("components: [a.yaml]\n"), `kustomization.yaml: components[0]: "a.yaml" is a file, the folder of a component is wanted`},
		{"kustomization: a broken resource", ".", tree("kustomization.yaml", "resources: [a.yaml]\n", "a.yaml", configMap+"---\na: b\n c: d\n"),
			"a.yaml:6: mapping values are not allowed in this context"},
		{"kustomization: a broken patch", ".", tree("kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n", "a.yaml", configMap, "p.yaml", "a: b\n c: d\n"),
			"p.yaml:2: mapping values are not allowed in this context"},
		{"kustomization: helm", ".", kustomization("helmCharts: [{name: x}]\n"), "kustomization.yaml: helmCharts: is not allowed: rendering runs no programs and fetches nothing"},
		{"kustomization: a program, in capitals", ".", kustomization("Generators: [a.yaml]\n"), "kustomization.yaml: generators: is not allowed: rendering runs no programs and fetches nothing"},
		{"kustomization: in a base", "dir", tree("dir/kustomization.yaml", "resources: [../base]\n", "base/kustomization.yaml", "transformers: [x]\n"),
			"base/kustomization.yaml: transformers: is not allowed: rendering runs no programs and fetches nothing"},
		{"kustomization: a circle", "dir", tree("dir/kustomization.yaml", "resources: [../base]\n", "base/kustomization.yaml", "resources: [../dir]\n"),
			"dir: building the kustomization: cycle detected: candidate root '/dir' contains visited root '/dir'"},
		{"kustomization: an object twice", ".", tree("kustomization.yaml", "resources: [a.yaml, b.yaml]\n", "a.yaml", configMap, "b.yaml", configMap),
			".: building the kustomization: merging resources from 'b.yaml': may not add resource with an already registered id: ConfigMap.v1.[noGrp]/a.[noNs]"},
		{"kustomization: a schema that is none", ".", tree("kustomization.yaml", "resources: [d.yaml]\nopenapi: {path: s.json}\npatches: [{patch: '{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}'}]\n",
			"s.json", "[]", "d.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t.Context(), tt.files, tt.path)
			got := fmt.Sprint(err)
			if tt.want != "" && got != tt.want || err == nil {
				t.Errorf("error\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// load turns a panic into an error, as the renderer does.
func load(ctx context.Context, files fstest.MapFS, path string) (objects []manifests.Object, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return manifests.Load(ctx, files, path)
}

// bomb is the billion laughs.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	return b.String()
}

func TestTypedErrors(t *testing.T) {
	t.Parallel()
	if _, err := manifests.Load(t.Context(), tree("a", ""), "b"); !errors.Is(err, manifests.ErrPathNotFound) {
		t.Errorf("error %v is not ErrPathNotFound", err)
	}
	if _, err := manifests.Load(t.Context(), tree("b/a", ""), "b"); !errors.Is(err, manifests.ErrEmpty) {
		t.Errorf("error %v is not ErrEmpty", err)
	}
}

// TestTooMany renders one object more than one path may have.
func TestTooMany(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 5001 {
		fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d}}\n", i)
		if i == 2500 {
			b.WriteString("---\n")
		}
	}
	half := strings.Index(b.String(), "---\n---\n")
	files := tree("a.yaml", b.String()[:half], "b.yaml", b.String()[half:])
	want := "b.yaml: more than 5000 objects below one path: split it over several components"
	if _, err := manifests.Load(t.Context(), files, "."); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(configMap + "---\nkind: List\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("--- \n\x00"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [1]\n...\n%YAML 1.1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := manifests.Decode("f.yaml", data)
		if err != nil {
			if e, ok := errors.AsType[*problem.Error](err); !ok || e.File != "f.yaml" || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q: want one line that names the file", err)
			}
			return
		}
		for _, o := range objects {
			if o.GetKind() == "" || o.GetAPIVersion() == "" || o.GetName() == "" || o.Line < 1 {
				t.Errorf("object without identity: %v", o.Object)
			}
		}
	})
}

func FuzzKustomization(f *testing.F) {
	f.Add("resources: [a.yaml, sub]\nnamespace: x\n")
	f.Add("resources: ['https://127.0.0.1:1/x']\npatches: [{patch: '[]', target: {kind: ConfigMap}}]\n")
	f.Add("configMapGenerator: [{name: g, files: [a=a.yaml], literals: [x=y]}]\nreplacements: [{source: {kind: ConfigMap}}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		files := tree("kustomization.yaml", text, "a.yaml", configMap, "sub/kustomization.yaml", "resources: [../a.yaml]\n")
		objects, err := load(t.Context(), files, ".")
		if err == nil && len(objects) == 0 {
			t.Error("nothing, without an error")
		}
	})
}
