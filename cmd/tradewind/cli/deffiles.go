package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// definitionFile is one definition and the file it is from.
type definitionFile struct {
	file   string
	object *unstructured.Unstructured
}

// readDefinitions reads files, folders and "-", and compiles what it finds. The error
// tells of every file with a mistake; what is right is returned as well.
func readDefinitions(ctx context.Context, e *env, args []string) ([]definitionFile, error) {
	var out []definitionFile
	var problems []error
	for _, arg := range args {
		files, walked, err := definitionFiles(arg)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			objects, err := readDefinitionFile(ctx, e, file, walked)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			out = append(out, objects...)
		}
	}
	if len(out) == 0 && len(problems) == 0 {
		problems = append(problems, fmt.Errorf("reading %s: no definition in it", strings.Join(args, ", ")))
	}
	return out, errors.Join(problems...)
}

// definitionFiles are the files of a folder that may hold definitions, or the file itself.
func definitionFiles(arg string) (files []string, walked bool, err error) {
	if arg == "-" {
		return []string{arg}, false, nil
	}
	info, err := os.Stat(arg)
	if err != nil {
		return nil, false, usageErrorf("reading definitions: %w", err)
	}
	if !info.IsDir() {
		return []string{arg}, false, nil
	}
	err = filepath.WalkDir(arg, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains([]string{".cue", ".yaml", ".yml"}, filepath.Ext(name)) {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		return nil, true, usageErrorf("reading definitions: %w", err)
	}
	return files, true, nil
}

// readDefinitionFile reads one file. YAML of a folder may be about other things.
func readDefinitionFile(ctx context.Context, e *env, file string, walked bool) ([]definitionFile, error) {
	file, data, err := readInput(e, file)
	if err != nil {
		return nil, usageErrorf("reading definitions: %w", err)
	}
	var objects []*unstructured.Unstructured
	if filepath.Ext(file) == ".cue" || file == "standard input" && !looksLikeYAML(data) {
		object, err := render.DefinitionObject(file, data)
		if err != nil {
			return nil, err
		}
		objects = []*unstructured.Unstructured{{Object: object}}
	} else if objects, err = yamlDefinitions(file, data, walked); err != nil {
		return nil, err
	}
	var out []definitionFile
	for _, object := range objects {
		def, err := render.DefinitionFromObject(object.Object)
		if err == nil {
			err = render.Vet(ctx, def)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		out = append(out, definitionFile{file: file, object: withoutServer(object)})
	}
	return out, nil
}

func looksLikeYAML(data []byte) bool {
	return bytes.Contains(data, []byte("\napiVersion:")) || bytes.HasPrefix(data, []byte("apiVersion:"))
}

func yamlDefinitions(file string, data []byte, walked bool) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if oam.IsBlank(doc) {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(doc, &object.Object); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if _, ok := render.KindOf(object); !ok && walked {
			continue
		}
		out = append(out, object)
	}
}
