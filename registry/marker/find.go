package marker

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds what is read as YAML; Kubernetes takes no object of that size.
const maxFile = 8 << 20

// document is one parsed document.
type document struct{ root *yaml.Node }

var (
	errUTF16 = errors.New("it is UTF-16")
	errLarge = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
)

// parse reads every document of a file.
func parse(src []byte) ([]document, error) {
	switch {
	case len(src) > maxFile:
		return nil, errLarge
	case bytes.HasPrefix(src, []byte("\xff\xfe")), bytes.HasPrefix(src, []byte("\xfe\xff")):
		return nil, errUTF16
	}
	var docs []document
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for {
		root := &yaml.Node{}
		err := dec.Decode(root)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, document{root})
	}
}

// marked is a marker with the place of its scalar.
type marked struct {
	Marker
	node       *yaml.Node
	start, end int // of the scalar in the file, quotes included
}

// Find lists the markers of a file in their order.
func Find(src []byte) ([]Marker, error) {
	if !bytes.Contains(src, []byte(Key)) {
		return nil, nil
	}
	docs, err := parse(src)
	if err != nil {
		return nil, notYAML("", err)
	}
	var out []Marker
	for _, m := range find(src, docs) {
		out = append(out, m.Marker)
	}
	return out, nil
}

func notYAML(file string, err error) *FileError {
	return &FileError{File: file, Err: err, next: "the markers of this file are not followed until it is YAML in UTF-8"}
}

func find(src []byte, docs []document) []marked {
	f := &finder{text: newText(src)}
	for _, d := range docs {
		f.object = objectOf(d.root)
		f.walk(d.root)
	}
	return f.found
}

// finder walks the nodes of a document. Aliases are not followed: the scalar is where its
// anchor is, and the walk comes by there.
type finder struct {
	text   *text
	object Object
	found  []marked
}

func (f *finder) walk(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		f.scalar(n)
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			if key := n.Content[i-1]; key.Kind != yaml.ScalarNode {
				f.walk(key)
			}
			f.walk(n.Content[i])
		}
	case yaml.DocumentNode, yaml.SequenceNode:
		for _, child := range n.Content {
			f.walk(child)
		}
	}
}

// scalar keeps a node that is followed, on its line, by nothing but a marker.
func (f *finder) scalar(n *yaml.Node) {
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return
	}
	at, ok := f.text.offset(n.Line, n.Column)
	if !ok {
		return
	}
	start := f.text.skipProperties(at)
	end, ok := f.text.scalarEnd(start, n)
	if !ok {
		return
	}
	if ref, ok := parseRef(f.text.comment(end)); ok {
		f.found = append(f.found, marked{Marker{ref, n.Line, n.Value, f.object}, n, start, end})
	}
}

// objectOf names the object that a document is.
func objectOf(root *yaml.Node) Object {
	if len(root.Content) == 0 {
		return Object{}
	}
	top := root.Content[0]
	meta := child(top, "metadata")
	return Object{
		APIVersion: scalarOf(child(top, "apiVersion")), Kind: scalarOf(child(top, "kind")),
		Namespace: scalarOf(child(meta, "namespace")), Name: scalarOf(child(meta, "name")),
	}
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 1; i < len(n.Content); i += 2 {
		if n.Content[i-1].Value == key {
			return n.Content[i]
		}
	}
	return nil
}

func scalarOf(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}
