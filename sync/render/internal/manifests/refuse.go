package manifests

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// checkKustomization refuses what would fetch or execute: Kustomize would reach for the
// network, and for the git command, even on a file system of ours. It reads the file with
// Kustomize's own decoder, because that one takes a field in any case (Resources:).
//
// What the fields name is checked as well, since Kustomize's errors about it tell neither
// file nor line.
func (t *treeFS) checkKustomization(file string, data []byte) *problem.Error {
	if _, err := yaml.YAMLToJSONStrict(data); err != nil {
		return yamlError(file, 1, err)
	}
	var k types.Kustomization
	if err := k.Unmarshal(data); err != nil {
		return &problem.Error{File: file, Err: errors.New(problem.OneLine(err.Error()))}
	}
	for _, f := range []struct {
		name string
		used bool
	}{
		{"helmCharts", len(k.HelmCharts) > 0}, {"helmChartInflationGenerator", len(k.HelmChartInflationGenerator) > 0},
		{"helmGlobals", k.HelmGlobals != nil}, {"generators", len(k.Generators) > 0},
		{"transformers", len(k.Transformers) > 0}, {"validators", len(k.Validators) > 0},
	} {
		if f.used {
			return &problem.Error{File: file, Field: f.name, Err: errors.New("is not allowed: rendering runs no programs and fetches nothing")}
		}
	}
	t.ownSchemaSeen = t.ownSchemaSeen || len(k.OpenAPI) > 0
	if t.ownSchemaSeen && !t.ownSchema {
		return &problem.Error{File: file, Field: "openapi", Err: errOwnSchema}
	}
	for _, r := range references(&k) {
		if err := t.checkReference(file, r); err != nil {
			return err
		}
	}
	return nil
}

// reference is a field of a kustomization that names a file or folder.
type reference struct {
	field, value string
	holds        content
}

// content is what stands behind a reference.
type content int

const (
	anything  content = iota // a generator puts it into a ConfigMap as it is
	anyYAML                  // a patch, a configuration
	objects                  // a file of objects, or another kustomization
	component                // another kustomization
)

// references lists them all.
func references(k *types.Kustomization) []reference {
	var out []reference
	each := func(field string, values []string, c content) {
		for i, v := range values {
			out = append(out, reference{fmt.Sprintf("%s[%d]", field, i), v, c})
		}
	}
	each("resources", k.Resources, objects)
	each("bases", k.Bases, objects)
	each("components", k.Components, component)
	each("crds", k.Crds, anyYAML)
	each("configurations", k.Configurations, anyYAML)
	one := func(field, value string) {
		if value != "" {
			out = append(out, reference{field, value, anyYAML})
		}
	}
	for i, p := range k.PatchesStrategicMerge {
		if !inline(string(p)) {
			one(fmt.Sprintf("patchesStrategicMerge[%d]", i), string(p))
		}
	}
	for i, p := range k.Patches {
		one(fmt.Sprintf("patches[%d].path", i), p.Path)
	}
	for i, p := range k.PatchesJson6902 {
		one(fmt.Sprintf("patchesJson6902[%d].path", i), p.Path)
	}
	for i, r := range k.Replacements {
		one(fmt.Sprintf("replacements[%d].path", i), r.Path)
	}
	one("openapi.path", k.OpenAPI["path"])
	for i, g := range k.ConfigMapGenerator {
		out = append(out, sources(fmt.Sprintf("configMapGenerator[%d]", i), g.KvPairSources)...)
	}
	for i, g := range k.SecretGenerator {
		out = append(out, sources(fmt.Sprintf("secretGenerator[%d]", i), g.KvPairSources)...)
	}
	return out
}

func sources(generator string, from types.KvPairSources) []reference {
	var out []reference
	for i, f := range from.FileSources {
		if _, after, ok := strings.Cut(f, "="); ok { // key=file
			f = after
		}
		out = append(out, reference{fmt.Sprintf("%s.files[%d]", generator, i), f, anything})
	}
	for i, f := range from.EnvSources {
		out = append(out, reference{fmt.Sprintf("%s.envs[%d]", generator, i), f, anything})
	}
	if from.EnvSource != "" {
		out = append(out, reference{generator + ".env", from.EnvSource, anything})
	}
	return out
}

// inline tells a patch that is written in place from the path of one. What Kustomize
// could take for a URL is a path.
func inline(patch string) bool {
	var object map[string]any
	start := strings.ToLower(strings.TrimSpace(patch))
	return yaml.Unmarshal([]byte(patch), &object) == nil && len(object) > 0 &&
		!strings.HasPrefix(start, "http:") && !strings.HasPrefix(start, "https:")
}

func (t *treeFS) checkReference(file string, r reference) *problem.Error {
	wrong := func(format string, args ...any) *problem.Error {
		return &problem.Error{File: file, Field: r.field, Err: fmt.Errorf("%q "+format, append([]any{presentable(r.value)}, args...)...)}
	}
	at := path.Join(path.Dir(file), r.value)
	switch {
	case remote(r.value):
		e := wrong("is a URL, and rendering fetches nothing")
		e.Advice = "copy what it names into the repository"
		return e
	case path.IsAbs(r.value):
		return wrong("is not relative to this file")
	case at == ".." || strings.HasPrefix(at, "../"):
		return wrong("leads out of the repository")
	case !t.Exists(at):
		return wrong("does not exist: %s is not in the repository", at)
	}
	isDir := t.IsDir(at)
	switch {
	case isDir && r.holds != objects && r.holds != component:
		return wrong("is a folder, a file is wanted")
	case isDir && !t.isKustomization(at):
		return wrong("is a folder without a kustomization.yaml")
	case !isDir && r.holds == component:
		return wrong("is a file, the folder of a component is wanted")
	case isDir || r.holds == anything:
		return nil
	}
	return t.checkYAML(at, r.holds)
}

func (t *treeFS) isKustomization(dir string) bool {
	for _, name := range kustomizationFiles {
		if t.Exists(path.Join(dir, name)) {
			return true
		}
	}
	return false
}

// checkYAML reports a file that is not what the reference to it wants.
func (t *treeFS) checkYAML(file string, holds content) *problem.Error {
	data, err := t.content(file)
	if err != nil {
		return &problem.Error{File: file, Err: err}
	}
	if holds == objects {
		_, err := Decode(file, data)
		wrong, _ := errors.AsType[*problem.Error](err)
		return wrong
	}
	for _, doc := range documents(data) {
		if _, err := yaml.YAMLToJSONStrict(doc.text); err != nil {
			return yamlError(file, doc.line, err)
		}
	}
	return nil
}

// remote is true for everything that Kustomize would fetch: it takes github.com/… and
// user@host/… for addresses even where such a folder exists. A colon is in every other
// form of a URL and in no path that is worth the risk.
func remote(value string) bool {
	v := strings.ToLower(strings.TrimSpace(value))
	user, rest, _ := strings.Cut(v, "@")
	return strings.Contains(v, ":") || strings.HasPrefix(v, "github.com/") ||
		!strings.Contains(user, "/") && strings.Contains(rest, "/")
}

var userInfo = regexp.MustCompile(`//[^/@]*@`)

// presentable is a value as messages show it: without credentials.
func presentable(value string) string {
	value, _, _ = strings.Cut(value, "?")
	return userInfo.ReplaceAllString(problem.OneLine(value), "//")
}
