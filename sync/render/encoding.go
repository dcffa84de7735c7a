package render

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// encodedObject is an [Object] on its way between processes, with what health needs to
// know of where it came from.
type encodedObject struct {
	Object  map[string]any  `json:"object"`
	Role    string          `json:"role,omitempty"`
	Trait   string          `json:"trait,omitempty"`
	Key     string          `json:"key,omitempty"`
	Origin  string          `json:"origin,omitempty"`
	Line    int             `json:"line,omitempty"`
	Stage   string          `json:"stage,omitempty"`
	Outputs []encodedOutput `json:"outputs,omitempty"`
}

type encodedOutput struct {
	Trait int    `json:"trait"`
	Key   string `json:"key,omitempty"`
}

// MarshalJSON encodes everything, unlike that of the object inside.
func (o Object) MarshalJSON() ([]byte, error) {
	e := encodedObject{Object: o.Object, Role: o.Role, Trait: o.Trait, Key: o.Key, Origin: o.Origin, Line: o.Line, Stage: o.Stage}
	for _, out := range o.outputs {
		e.Outputs = append(e.Outputs, encodedOutput{out.trait, out.key})
	}
	return json.Marshal(e)
}

// UnmarshalJSON reads what MarshalJSON wrote; whole numbers stay whole.
func (o *Object) UnmarshalJSON(data []byte) error {
	var e encodedObject
	if err := utiljson.Unmarshal(data, &e); err != nil {
		return err
	}
	*o = Object{Unstructured: &unstructured.Unstructured{Object: e.Object}, Role: e.Role, Trait: e.Trait, Key: e.Key, Origin: e.Origin, Line: e.Line, Stage: e.Stage}
	for _, out := range e.Outputs {
		o.outputs = append(o.outputs, output{out.Trait, out.Key})
	}
	return nil
}
