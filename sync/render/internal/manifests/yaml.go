package manifests

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
)

// Nesting that no real object reaches; schemas of custom resources nest twice per field
// of what they describe.
const (
	maxDepth       = 64
	maxSchemaDepth = 256
)

// Decode reads the Kubernetes objects of a YAML file. Errors name the file and the line
// in it. Lists are flattened, and keys that stand twice are refused.
func Decode(file string, data []byte) ([]Object, error) {
	objects, _, err := decode(file, data)
	return objects, err
}

// decode also returns the size of what was read as JSON, where aliases are written out.
func decode(file string, data []byte) (objects []Object, size int, err error) {
	if err := checkBytes(file, data); err != nil {
		return nil, 0, err
	}
	for i, doc := range documents(data) {
		if i == maxObjects {
			return nil, 0, &problem.Error{File: file, Err: fmt.Errorf("more than %d documents", maxObjects)}
		}
		raw, err := yaml.YAMLToJSONStrict(doc.text)
		if err != nil {
			return nil, 0, yamlError(file, doc.line, err)
		}
		if size += len(raw); size > maxBytes {
			return nil, 0, &problem.Error{File: file, Line: doc.content(), Err: fmt.Errorf("more than %d MiB once its aliases are written out", maxBytes>>20)}
		}
		if bytes.Equal(raw, []byte("null")) {
			continue
		}
		found, err := objectsOf(raw)
		if err != nil {
			return nil, 0, &problem.Error{File: file, Line: doc.content(), Err: err}
		}
		for _, u := range found {
			objects = append(objects, Object{Unstructured: u, File: file, Line: doc.content()})
		}
	}
	return objects, size, nil
}

func checkBytes(file string, data []byte) error {
	if len(data) > maxBytes {
		return &problem.Error{File: file, Err: fmt.Errorf("%d bytes: at most %d", len(data), maxBytes)}
	}
	if before, _, found := bytes.Cut(data, []byte{0}); found {
		return &problem.Error{File: file, Line: 1 + bytes.Count(before, []byte("\n")), Err: errors.New("the file has a NUL byte, so it is not YAML")}
	}
	return nil
}

// objectsOf reads one JSON document: an object, or a list of them.
func objectsOf(raw []byte) ([]*unstructured.Unstructured, error) {
	if raw[0] != '{' {
		return nil, errors.New("not a Kubernetes object: want apiVersion, kind and metadata.name")
	}
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(raw, &u.Object); err != nil {
		return nil, err
	}
	if !isList(u) {
		return []*unstructured.Unstructured{u}, check(u)
	}
	items, ok := u.Object["items"].([]any)
	if !ok && u.Object["items"] != nil {
		return nil, fmt.Errorf("items of %s is not a list", u.GetKind())
	}
	var out []*unstructured.Unstructured
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("items[%d] is not an object", i)
		}
		one := &unstructured.Unstructured{Object: object}
		if err := check(one); err != nil {
			return nil, fmt.Errorf("items[%d]: %w", i, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// isList is true for List and ConfigMapList, not for a custom kind whose name happens to
// end so: that one has a name and no items.
func isList(u *unstructured.Unstructured) bool {
	_, hasItems := u.Object["items"]
	return strings.HasSuffix(u.GetKind(), "List") && (hasItems || u.GetKind() == "List" && u.GetName() == "")
}

// check is what an object from a tree must have.
func check(u *unstructured.Unstructured) error {
	if err := Identity(u); err != nil {
		return err
	}
	if u.GetName() == "" {
		return fmt.Errorf("%s has no metadata.name", u.GetKind())
	}
	if _, encrypted, _ := unstructured.NestedString(u.Object, "sops", "mac"); encrypted {
		return fmt.Errorf("%s %s is encrypted with SOPS: name the Secret with its key in properties.decryption", u.GetKind(), u.GetName())
	}
	most := maxDepth
	if u.GetKind() == "CustomResourceDefinition" {
		most = maxSchemaDepth
	}
	if !shallow(u.Object, most) {
		return fmt.Errorf("%s %s is nested more than %d deep", u.GetKind(), u.GetName(), most)
	}
	return nil
}

// Identity refuses objects that the API server could not place.
func Identity(u *unstructured.Unstructured) error {
	switch {
	case u.GetAPIVersion() == "":
		return errors.New("object has no apiVersion")
	case u.GetKind() == "":
		return errors.New("object has no kind")
	case u.GetGenerateName() != "":
		return fmt.Errorf("%s uses metadata.generateName: give it a name, or every delivery would create another", u.GetKind())
	}
	if _, err := schema.ParseGroupVersion(u.GetAPIVersion()); err != nil {
		return err
	}
	metadata, ok := u.Object["metadata"].(map[string]any)
	if !ok && u.Object["metadata"] != nil {
		return fmt.Errorf("metadata of %s is not an object", u.GetKind())
	}
	for _, field := range []string{"labels", "annotations"} {
		if err := checkTexts("metadata."+field, metadata[field]); err != nil {
			return err
		}
	}
	return nil
}

// checkTexts refuses what cannot be a label or annotation; unstructured objects would
// drop all of them without a word.
func checkTexts(field string, value any) error {
	texts, ok := value.(map[string]any)
	if !ok && value != nil {
		return fmt.Errorf("%s is not an object", field)
	}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if _, ok := texts[key].(string); !ok {
			return fmt.Errorf("%s[%q]: %v given, string wanted: put it in quotes", field, key, texts[key])
		}
	}
	return nil
}

func shallow(v any, depth int) bool {
	if depth < 0 {
		return false
	}
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			if !shallow(e, depth-1) {
				return false
			}
		}
	case []any:
		for _, e := range v {
			if !shallow(e, depth-1) {
				return false
			}
		}
	}
	return true
}

type document struct {
	text []byte
	line int // of its first line in the file, from 1
}

// content is the line in the file where something stands that is no comment.
func (d document) content() int {
	line := d.line
	for text := range bytes.Lines(d.text) {
		if text = bytes.TrimSpace(text); len(text) > 0 && text[0] != '#' {
			break
		}
		line++
	}
	return line
}

// documents splits at "---" lines and remembers where each part began, because the
// parser counts lines from the beginning of what it is given.
func documents(data []byte) []document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var docs []document
	start, startLine, line, offset := 0, 1, 0, 0
	end := func(at int) {
		if text := data[start:at]; len(bytes.TrimSpace(text)) > 0 {
			docs = append(docs, document{text, startLine})
		}
	}
	for text := range bytes.Lines(data) {
		line++
		switch marker := string(bytes.TrimRight(text, " \t\r\n")); {
		case marker == "---" || marker == "..." || bytes.HasPrefix(text, []byte("--- ")):
			end(offset)
			start, startLine = offset+3, line // what follows on the same line belongs to the document
		}
		offset += len(text)
	}
	end(len(data))
	return docs
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// yamlError moves the parser's line number to the file's.
func yamlError(file string, first int, err error) *problem.Error {
	message := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	e := &problem.Error{File: file, Line: first}
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		if n, convErr := strconv.Atoi(m[1]); convErr == nil {
			e.Line = first + n - 1
		}
		message = strings.Replace(message, m[0], "", 1)
	}
	message = strings.TrimPrefix(strings.TrimPrefix(message, "yaml: "), "unmarshal errors:\n")
	e.Err = errors.New(problem.OneLine(message))
	return e
}
