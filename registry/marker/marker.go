// Package marker finds the comments that tie a YAML scalar to an image policy,
//
//	image: ghcr.io/acme/shop:1.0 # {"$imagepolicy": "default:shop"}
//
// and writes what the policy chose into the scalar. In go the bytes of a file and the
// choices, out come the bytes with nothing but those scalars changed.
//
// It promises that every byte outside the marked scalars stays: quotes, indentation, line
// ends, byte order marks, comments, other documents. Before it hands a file out it reads
// it again and compares. It refuses to edit a file that is not YAML, and to write
// anything that is not an image, a repository, a tag or a digest.
package marker

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/tradewind-dev/tradewind/registry"
)

// Key is what a marker begins with; a file without it has none.
const Key = `"$imagepolicy"`

// Field is the part of an image that a marker asks for.
type Field string

// The parts of an image.
const (
	WholeImage Field = ""       // repository:tag, and @digest when the choice has one
	Tag        Field = "tag"    // the tag
	Name       Field = "name"   // the repository
	Digest     Field = "digest" // the digest
)

// Ref is what a marker says.
type Ref struct {
	Namespace, Name string // of the policy; Name is that of a component or an Application
	Field           Field
}

// String is the text in the marker: ns:name or ns:name:field.
func (r Ref) String() string {
	if r.Field == WholeImage {
		return r.Namespace + ":" + r.Name
	}
	return r.Namespace + ":" + r.Name + ":" + string(r.Field)
}

// parseRef reads the text of a comment, its # left out. Anything else than one JSON
// object is no marker: upstream allows no note behind it, either.
func parseRef(comment string) (Ref, bool) {
	var object map[string]json.RawMessage
	if !strings.Contains(comment, Key) || json.Unmarshal([]byte(comment), &object) != nil {
		return Ref{}, false
	}
	var text string
	if json.Unmarshal(object["$imagepolicy"], &text) != nil {
		return Ref{}, false
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return Ref{}, false
	}
	ref := Ref{Namespace: parts[0], Name: parts[1]}
	if len(parts) == 3 {
		switch ref.Field = Field(parts[2]); ref.Field {
		case Tag, Name, Digest:
		default:
			return Ref{}, false
		}
	}
	return ref, true
}

// Object is the Kubernetes object that a document is; fields are empty where it is none.
type Object struct{ APIVersion, Kind, Namespace, Name string }

// Marker is a marked scalar.
type Marker struct {
	Ref    Ref
	Line   int    // from 1
	Value  string // what stands there now, without quotes
	Object Object
}

// Choice is what a policy wants.
type Choice struct {
	Image       registry.Image
	Tag, Digest string // Digest is empty when only the tag is to be written
	// Namespace and Policy name the component whose policy it was.
	Namespace, Policy string
}

// Reference is the choice as one text.
func (c Choice) Reference() registry.Reference {
	return registry.Reference{Image: c.Image, Tag: c.Tag, Digest: c.Digest}
}

// Problem is a marker that could not be obeyed; the others of the file are.
type Problem struct {
	Line int
	Ref  Ref
	Err  error
}

// Change is a scalar that got another value.
type Change struct {
	File     string
	Line     int
	Object   Object
	Ref      Ref
	Old, New string // without quotes
	Choice   Choice
}

// Result is what became of a file.
type Result struct {
	Out      []byte // the file as it was when Changes is empty
	Changes  []Change
	Problems []Problem
}

// Eligible reports whether a file of this name is looked at: YAML by its extension, or a
// Kustomization.
func Eligible(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml":
		return true
	}
	return path.Base(name) == "Kustomization"
}

// FileError is a file that is left alone.
type FileError struct {
	File string
	Err  error
	next string
}

func (e *FileError) Error() string {
	if e.File == "" {
		return "reading markers: " + e.Err.Error()
	}
	return "reading markers of " + e.File + ": " + e.Err.Error()
}

func (e *FileError) Unwrap() error { return e.Err }

// Hint is what to do about the file.
func (e *FileError) Hint() string { return e.next }

// text is what a choice puts into a field.
func (c Choice) text(field Field) (string, error) {
	switch {
	case !registry.ValidTag(c.Tag):
		return "", &choiceError{fmt.Sprintf("%.140q is not a tag", c.Tag), ""}
	case c.Digest != "" && !registry.ValidDigest(c.Digest):
		return "", &choiceError{fmt.Sprintf("%.140q is not a digest", c.Digest), ""}
	}
	if parsed, err := registry.ParseImage(c.Image.String()); err != nil || parsed != c.Image && parsed.Key() != c.Image.Key() {
		return "", &choiceError{fmt.Sprintf("%.300q is not an image", c.Image), ""}
	}
	switch field {
	case Tag:
		return c.Tag, nil
	case Name:
		return c.Image.String(), nil
	case Digest:
		if c.Digest == "" {
			return "", &choiceError{"the digest is not known", "set imageRepository.digestReflectionPolicy to Always or IfNotPresent"}
		}
		return c.Digest, nil
	}
	return c.Reference().String(), nil
}

type choiceError struct{ reason, next string }

func (e *choiceError) Error() string { return e.reason }
func (e *choiceError) Hint() string  { return e.next }
