package oam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Parse reads one Application from YAML or JSON and checks it. Unknown fields of the
// spec are dropped, as the API server would; a field of the wrong type is an error that
// names its path.
func Parse(data []byte) (*Application, error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("parsing Application: %w", err)
	}
	var obj map[string]any
	if err := json.Unmarshal(raw, &obj); err != nil {
		return nil, fmt.Errorf("parsing Application: want one object: %w", err)
	}
	app, err := FromObject(obj)
	if err != nil {
		return nil, err
	}
	return app, Validate(app)
}

// FromObject converts an object of the API server. The identity (metadata) is filled in
// even when the rest does not fit, so that an error can be reported on the object.
func FromObject(obj map[string]any) (*Application, error) {
	u := unstructured.Unstructured{Object: obj}
	if kind := u.GetKind(); kind != Kind || u.GroupVersionKind().Group != Group {
		return nil, fmt.Errorf("parsing Application: object is %s %s, want %s %s", u.GetAPIVersion(), kind, APIVersion, Kind)
	}
	app := &Application{}
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("parsing Application %s: %w", u.GetName(), err)
	}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(app); err != nil {
		identity := &Application{}
		identity.Namespace, identity.Name, identity.UID = u.GetNamespace(), u.GetName(), u.GetUID()
		identity.Labels, identity.Annotations = u.GetLabels(), u.GetAnnotations()
		identity.Generation, identity.ResourceVersion = u.GetGeneration(), u.GetResourceVersion()
		identity.DeletionTimestamp, identity.Finalizers = u.GetDeletionTimestamp(), u.GetFinalizers()
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			err = fmt.Errorf("%s: %s given, %s wanted", wrong.Field, wrong.Value, wrong.Type)
		}
		return identity, fmt.Errorf("parsing Application %s: %w", u.GetName(), err)
	}
	return app, nil
}

// DeepCopy returns a copy that shares nothing with app.
func (app *Application) DeepCopy() *Application {
	out := &Application{}
	clone(app, out)
	return out
}

// DeepCopy returns a copy that shares nothing with s.
func (s *Status) DeepCopy() *Status {
	out := &Status{}
	clone(s, out)
	return out
}

// clone goes through JSON: these documents come from JSON, so nothing can be lost.
func clone(from, to any) {
	raw, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	if err != nil {
		panic("oam: a document that was decoded does not encode: " + err.Error())
	}
}

var durationForm = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)

// ParseDuration reads the duration form that Flux and KubeVela accept: "90s", "1h30m".
// Bare numbers, days and negative values are refused.
func ParseDuration(s string) (time.Duration, error) {
	if !durationForm.MatchString(s) {
		return 0, fmt.Errorf("%q is not a duration: want numbers with ms, s, m or h, such as 90s or 1h30m", s)
	}
	return time.ParseDuration(s)
}
