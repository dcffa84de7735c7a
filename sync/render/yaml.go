package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	maxFileBytes = 32 << 20
	maxDocuments = maxObjects
)

// DecodeObjects reads the Kubernetes objects of a YAML file. Errors name the file and,
// where the parser knows it, the line in the file. Lists are flattened.
func DecodeObjects(file string, data []byte) ([]*unstructured.Unstructured, error) {
	if len(data) > maxFileBytes {
		return nil, &Error{File: file, Err: fmt.Errorf("%d bytes: at most %d", len(data), maxFileBytes)}
	}
	if at := bytes.IndexByte(data, 0); at >= 0 {
		return nil, &Error{File: file, Line: 1 + bytes.Count(data[:at], []byte("\n")), Err: errors.New("the file has a NUL byte, so it is not YAML")}
	}
	var out []*unstructured.Unstructured
	docs := documents(data)
	if len(docs) > maxDocuments {
		return nil, &Error{File: file, Err: fmt.Errorf("%d documents: at most %d", len(docs), maxDocuments)}
	}
	for _, doc := range docs {
		raw, err := yaml.YAMLToJSONStrict(doc.text)
		if err != nil {
			return nil, yamlError(file, doc.line, err)
		}
		if bytes.Equal(raw, []byte("null")) {
			continue
		}
		objects, err := decodeOne(raw)
		if err != nil {
			return nil, &Error{File: file, Line: doc.line, Err: err}
		}
		out = append(out, objects...)
	}
	return out, nil
}

func decodeOne(raw []byte) ([]*unstructured.Unstructured, error) {
	if len(raw) > 0 && raw[0] != '{' {
		return nil, errors.New("not a Kubernetes object: want apiVersion, kind and metadata.name")
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &u.Object); err != nil {
		return nil, err
	}
	u.Object, _ = normalizeNumbers(u.Object).(map[string]any)
	if !u.IsList() {
		return []*unstructured.Unstructured{u}, checkObject(u)
	}
	items, ok := u.Object["items"].([]any)
	if !ok {
		return nil, fmt.Errorf("%s without items", u.GetKind())
	}
	var out []*unstructured.Unstructured
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("items[%d] is not an object", i)
		}
		one := &unstructured.Unstructured{Object: object}
		if err := checkObject(one); err != nil {
			return nil, fmt.Errorf("items[%d]: %w", i, err)
		}
		out = append(out, one)
	}
	return out, nil
}

type document struct {
	text []byte
	line int // of its first line in the file, from 1
}

// documents splits at "---" lines and remembers where each part began, because the
// parser counts lines from the beginning of what it is given.
func documents(data []byte) []document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var docs []document
	current := document{line: 1}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if trimmed := bytes.TrimRight(text, " \t\r\n"); bytes.Equal(trimmed, []byte("---")) || bytes.HasPrefix(text, []byte("--- ")) {
			docs = append(docs, current)
			current = document{line: line + 1}
			continue
		}
		current.text = append(current.text, text...)
	}
	docs = append(docs, current)
	kept := docs[:0]
	for _, d := range docs {
		if len(bytes.TrimSpace(d.text)) > 0 {
			kept = append(kept, d)
		}
	}
	return kept
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// yamlError moves the parser's line number to the file's.
func yamlError(file string, first int, err error) *Error {
	message := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	e := &Error{File: file, Line: first}
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		if n, convErr := strconv.Atoi(m[1]); convErr == nil {
			e.Line = first + n - 1
		}
		message = strings.Replace(message, m[0], "", 1)
	}
	message = strings.TrimPrefix(strings.TrimPrefix(message, "yaml: "), "unmarshal errors:\n")
	e.Err = errors.New(strings.Join(strings.Fields(message), " "))
	return e
}
