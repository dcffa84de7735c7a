package render

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	annotationDescription = "definition.oam.dev/description"
	annotationAlias       = "definition.oam.dev/alias"
	annotationHint        = "definition.tradewind.dev/hint"
)

// KindRevision is the kind of the objects that hold earlier forms of definitions.
const KindRevision = "DefinitionRevision"

// objectKinds are the kinds of the cluster's objects. A WorkloadDefinition is none of
// them: it only names a kind for ComponentDefinitions, which name it themselves now.
var objectKinds = map[Kind]string{
	KindComponent: "ComponentDefinition", KindTrait: "TraitDefinition",
	KindPolicy: "PolicyDefinition", KindWorkflowStep: "WorkflowStepDefinition",
}

// ObjectKind is the kind of the objects in a cluster that define types of kind k.
func (k Kind) ObjectKind() string { return objectKinds[k] }

// KindOf is the kind of type that an object of the cluster defines.
func KindOf(object *unstructured.Unstructured) (Kind, bool) {
	if object.GroupVersionKind().Group != oam.Group {
		return "", false
	}
	for kind, name := range objectKinds {
		if name == object.GetKind() {
			return kind, true
		}
	}
	return "", false
}

// definitionSpec is what is read of the spec of a definition.
type definitionSpec struct {
	Workload struct {
		Type       string `json:"type"`
		Definition struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		} `json:"definition"`
	} `json:"workload"`
	Schematic *schematic `json:"schematic"`
	Status    struct {
		HealthPolicy string `json:"healthPolicy"`
		CustomStatus string `json:"customStatus"`
		Details      string `json:"details"`
	} `json:"status"`
	Stage              string   `json:"stage"`
	AppliesToWorkloads []string `json:"appliesToWorkloads"`
	ConflictsWith      []string `json:"conflictsWith"`
	PodDisruptive      bool     `json:"podDisruptive"`
	ManageHealthCheck  bool     `json:"manageHealthCheck"`
	Version            string   `json:"version"`
}

// schematic says how a type is made. Of those that are not CUE only the name matters.
type schematic struct {
	CUE *struct {
		Template string `json:"template"`
	} `json:"cue"`
	Terraform json.RawMessage `json:"terraform"`
	Helm      json.RawMessage `json:"helm"`
	Kube      json.RawMessage `json:"kube"`
}

// DefinitionFromObject reads a ComponentDefinition, TraitDefinition, PolicyDefinition or
// WorkflowStepDefinition. When the object is one and cannot be used, the error says why
// and the definition has its name, and the error as Err.
func DefinitionFromObject(object map[string]any) (*Definition, error) {
	u := &unstructured.Unstructured{Object: object}
	kind, ok := KindOf(u)
	name := u.GetName()
	switch {
	case !ok:
		return nil, fmt.Errorf("reading definition: %s %s: want a %s, %s, %s or %s of %s", u.GetAPIVersion(), u.GetKind(), KindComponent.ObjectKind(),
			KindTrait.ObjectKind(), KindPolicy.ObjectKind(), KindWorkflowStep.ObjectKind(), oam.Group)
	case name == "":
		return nil, fmt.Errorf("reading definition: %s: metadata.name is required", u.GetKind())
	}
	annotations := u.GetAnnotations()
	def := &Definition{
		Kind: kind, Namespace: u.GetNamespace(), Name: name,
		Description: annotations[annotationDescription], Alias: annotations[annotationAlias], Hint: annotations[annotationHint],
	}
	if err := def.readSpec(object["spec"]); err != nil {
		def.Err = fmt.Errorf("%s %s: %w", u.GetKind(), strings.TrimPrefix(def.Namespace+"/"+name, "/"), err)
	}
	return def, def.Err
}

func (def *Definition) readSpec(given any) error {
	var spec definitionSpec
	raw, err := json.Marshal(given)
	if err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return fmt.Errorf("%s: %s given, %s wanted", strings.TrimSuffix("spec."+wrong.Field, "."), wrong.Value, inWords(wrong.Type.Kind().String()))
		}
		return fmt.Errorf("spec: %w", err)
	}
	w := spec.Workload
	def.Workload = Workload{w.Definition.APIVersion, w.Definition.Kind, w.Type}
	def.HealthPolicy, def.CustomStatus, def.Details = spec.Status.HealthPolicy, spec.Status.CustomStatus, spec.Status.Details
	def.AppliesTo, def.ConflictsWith, def.PodDisruptive = spec.AppliesToWorkloads, spec.ConflictsWith, spec.PodDisruptive
	def.ManageHealthCheck, def.Version, def.Stage = spec.ManageHealthCheck, spec.Version, spec.Stage
	if !slices.Contains([]string{"", StagePre, StageDefault, StagePost}, spec.Stage) {
		return fmt.Errorf("spec.stage: %q given, %s, %s or %s wanted", spec.Stage, StagePre, StageDefault, StagePost)
	}
	def.Template, err = spec.Schematic.template()
	return err
}

func inWords(kind string) string {
	words := map[string]string{"struct": "object", "slice": "list", "bool": "true or false"}
	return cmp.Or(words[kind], kind)
}

// template is the CUE of a schematic, or why there is none.
func (s *schematic) template() (string, error) {
	given := func(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
	switch {
	case s == nil:
	case s.CUE != nil && strings.TrimSpace(s.CUE.Template) != "":
		return s.CUE.Template, nil
	case given(s.Terraform):
		return "", errors.New("spec.schematic.terraform is not supported yet: want spec.schematic.cue.template")
	case given(s.Helm), given(s.Kube):
		return "", errors.New("spec.schematic.helm and .kube were removed from KubeVela and are not supported: want spec.schematic.cue.template")
	}
	return "", errors.New("spec.schematic.cue.template is required")
}
