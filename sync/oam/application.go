// Package oam is the Application and its parts as data: the core.oam.dev/v1beta1 kinds a
// user writes, their status as KubeVela shows it, and the rules that make a document
// valid before anything is rendered. It knows nothing of clusters or Git.
package oam

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The API group and version of every kind in this package.
const (
	Group      = "core.oam.dev"
	Version    = "v1beta1"
	APIVersion = Group + "/" + Version
	Kind       = "Application"
)

// Labels and annotations that KubeVela defines; kept verbatim so that its users' own
// selectors and tools go on working.
const (
	LabelName         = "app.oam.dev/name"
	LabelNamespace    = "app.oam.dev/namespace"
	LabelComponent    = "app.oam.dev/component"
	LabelRevision     = "app.oam.dev/appRevision"
	LabelResourceType = "app.oam.dev/resourceType" // WORKLOAD or TRAIT
	LabelWorkloadType = "workload.oam.dev/type"
	LabelTraitType    = "trait.oam.dev/type"
	LabelTraitKey     = "trait.oam.dev/resource"
	LabelRenderHash   = "oam.dev/render-hash" // on every object we apply: hash of what was applied

	LabelPause = "controller.core.oam.dev/pause" // on an Application: "true" = do not touch

	AnnotationPublishVersion  = "app.oam.dev/publishVersion"
	AnnotationRestartWorkflow = "app.oam.dev/restart-workflow"
	AnnotationInterval        = "app.oam.dev/reconcile-interval"
	AnnotationServiceAccount  = "app.oam.dev/service-account-name"

	// LabelSource marks an object applied from a Git path: "<ns>.<app>" of its owner.
	LabelSource = "tradewind.dev/source"
	// AnnotationWorkflow on an Application is a request about its workflow: JSON with id,
	// op (suspend, resume, terminate, restart), step and at.
	AnnotationWorkflow = "tradewind.dev/workflow"
	// AnnotationRequestedAt on an Application asks for a run now (RFC 3339, nanoseconds).
	AnnotationRequestedAt = "tradewind.dev/requested-at"
	// Finalizer lets us delete what an Application owns before it goes.
	Finalizer = "app.oam.dev/resource-tracker-finalizer"
	// FinalizerOrphan, set by the user, keeps the objects when the Application goes.
	FinalizerOrphan = "app.oam.dev/orphan-resource"
)

// Values of [LabelResourceType].
const (
	ResourceWorkload = "WORKLOAD"
	ResourceTrait    = "TRAIT"
)

// Application is the document users write: components with traits, policies over them
// and the workflow that delivers them.
type Application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec   Spec   `json:"spec"`
	Status Status `json:"status,omitzero"`
}

// Spec is what is wanted.
type Spec struct {
	Components []Component `json:"components"`
	Policies   []Policy    `json:"policies,omitempty"`
	Workflow   *Workflow   `json:"workflow,omitempty"`
}

// Component is one deployable part. Name becomes the name of its workload.
type Component struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties,omitempty"`
	Traits     []Trait        `json:"traits,omitempty"`
	DependsOn  []string       `json:"dependsOn,omitempty"`
	Inputs     []Input        `json:"inputs,omitempty"`
	Outputs    []Output       `json:"outputs,omitempty"`
}

// Trait changes a component's workload or adds objects beside it; order matters.
type Trait struct {
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties,omitempty"`
}

// Policy is a rule over the whole Application. An unnamed policy is called
// "<type>-auto-gen-<index>".
type Policy struct {
	Name       string         `json:"name,omitempty"`
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties,omitempty"`
}

// Workflow orders the delivery. Without one, every component is a step of its own and
// they run as a DAG over their dependsOn.
type Workflow struct {
	Ref   string `json:"ref,omitempty"`
	Mode  *Mode  `json:"mode,omitempty"`
	Steps []Step `json:"steps,omitempty"`
}

// Mode says how steps are ordered: "StepByStep" or "DAG". The zero value means
// StepByStep for steps and DAG for sub-steps.
type Mode struct {
	Steps    string `json:"steps,omitempty"`
	SubSteps string `json:"subSteps,omitempty"`
}

// The two ways to order steps.
const (
	StepByStep = "StepByStep"
	DAG        = "DAG"
)

// Step is one action of the workflow.
type Step struct {
	Name       string         `json:"name,omitempty"`
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties,omitempty"`
	Meta       *StepMeta      `json:"meta,omitempty"`
	If         string         `json:"if,omitempty"`
	Timeout    string         `json:"timeout,omitempty"`
	DependsOn  []string       `json:"dependsOn,omitempty"`
	Inputs     []Input        `json:"inputs,omitempty"`
	Outputs    []Output       `json:"outputs,omitempty"`
	Mode       string         `json:"mode,omitempty"`
	SubSteps   []Step         `json:"subSteps,omitempty"`
}

// StepMeta is for display only.
type StepMeta struct {
	Alias string `json:"alias,omitempty"`
}

// Input places the output called From at ParameterKey of the properties.
type Input struct {
	From         string `json:"from"`
	ParameterKey string `json:"parameterKey,omitempty"`
}

// Output names a value, a CUE expression over the live object, for later inputs.
type Output struct {
	Name      string `json:"name"`
	ValueFrom string `json:"valueFrom"`
}
