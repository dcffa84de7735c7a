package oam

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Parse reads one Application from YAML or JSON and checks it. Unknown fields of the
// spec are dropped, as the API server would; a field of the wrong type is an error that
// names its path. The document is returned beside an error of [Validate].
func Parse(data []byte) (*Application, error) {
	doc, err := onlyDocument(data)
	if err != nil {
		return nil, fmt.Errorf("parsing Application: %w", err)
	}
	raw, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return nil, fmt.Errorf("parsing Application: %w", err)
	}
	var value any
	if err := utiljson.Unmarshal(raw, &value); err != nil {
		return nil, fmt.Errorf("parsing Application: %w", err)
	}
	obj, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("parsing Application: %s given, object wanted", describe(value))
	}
	app, err := FromObject(obj)
	if err != nil {
		return app, err
	}
	return app, Validate(app)
}

// onlyDocument refuses a second document: whoever wrote it would miss it silently.
func onlyDocument(data []byte) ([]byte, error) {
	var only []byte
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if IsBlank(doc) {
			continue
		}
		if only != nil {
			return nil, errors.New("more than one document: want one Application")
		}
		only = doc
	}
	if only == nil {
		return nil, errors.New("the document is empty")
	}
	return only, nil
}

// IsBlank says whether a YAML document has nothing but comments.
func IsBlank(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("---")))
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// FromObject converts an object of the API server. The metadata and the status are
// filled in even when the spec does not fit, so that an error can be reported on the
// object. Parts of the status that do not fit, which another controller left, are
// dropped: the status is ours to write.
func FromObject(obj map[string]any) (*Application, error) {
	u := unstructured.Unstructured{Object: obj}
	if u.GetKind() != Kind || u.GetAPIVersion() != APIVersion {
		return nil, fmt.Errorf("parsing Application: %s given, %s %s wanted", describeKind(u), APIVersion, Kind)
	}
	app := &Application{}
	app.APIVersion, app.Kind = APIVersion, Kind
	errs := decode("metadata", obj["metadata"], &app.ObjectMeta, fill)
	if errs != nil {
		app.Namespace, app.Name, app.UID = u.GetNamespace(), u.GetName(), u.GetUID()
		app.ResourceVersion, app.Generation = u.GetResourceVersion(), u.GetGeneration()
	}
	errs = append(errs, decode("spec", obj["spec"], &app.Spec, fill)...)
	app.Status = decodeStatus(obj["status"])
	if len(errs) > 0 {
		return app, fmt.Errorf("parsing Application %s: %s", u.GetName(), strings.Join(errs, "; "))
	}
	return app, nil
}

func describeKind(u unstructured.Unstructured) string {
	if u.GetKind() == "" {
		return "object without kind"
	}
	return strings.TrimSpace(u.GetAPIVersion() + " " + u.GetKind())
}

func decodeStatus(value any) Status {
	var whole Status
	if decode("status", value, &whole, fill) == nil {
		return whole
	}
	fields, _ := value.(map[string]any)
	fitting := map[string]any{}
	for name, field := range fields {
		var alone Status
		if decode("status", map[string]any{name: field}, &alone, fill) == nil {
			fitting[name] = field
		}
	}
	var status Status
	decode("status", fitting, &status, fill) // each part was tried
	return status
}

// decode fills into from value by way of with, and says where value does not fit.
func decode(path string, value, into any, with func(from, into any) error) []string {
	if errs := misfits(path, reflect.TypeOf(into).Elem(), value); errs != nil {
		return errs
	}
	if err := with(value, into); err != nil {
		return []string{path + ": " + err.Error()}
	}
	return nil
}

// Decode fills into, a pointer, from properties as a document holds them. The error names
// every field that does not fit, below path. Fields that into does not have are ignored.
func Decode(path string, properties map[string]any, into any) error {
	if errs := decode(path, properties, into, convert); len(errs) > 0 {
		return errors.New(strings.Join(errs, "; "))
	}
	return nil
}

// fill fills into, a part of an Application, as the API server would. It is for our own
// types, which are read with every change of an Application: those of others may have
// fields that only [convert] can fill.
func fill(from, into any) error {
	if object, ok := from.(map[string]any); ok {
		return runtime.DefaultUnstructuredConverter.FromUnstructured(object, into)
	}
	return convert(from, into)
}

// convert goes through JSON the way the API server does: field names match exactly and
// whole numbers stay whole, however large.
func convert(from, into any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return utiljson.Unmarshal(raw, into)
}
