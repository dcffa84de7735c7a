package oam

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Phase is the state of an Application, in KubeVela's words.
type Phase string

// The phases.
const (
	PhaseStarting           Phase = "starting"
	PhaseRendering          Phase = "rendering" // also where a document that does not parse stays
	PhaseGeneratingPolicy   Phase = "generatingPolicy"
	PhaseRunningWorkflow    Phase = "runningWorkflow"
	PhaseWorkflowSuspending Phase = "workflowSuspending"
	PhaseWorkflowTerminated Phase = "workflowTerminated"
	PhaseWorkflowFailed     Phase = "workflowFailed"
	PhaseRunning            Phase = "running"
	PhaseUnhealthy          Phase = "unhealthy"
	PhaseDeleting           Phase = "deleting"
)

// Status is what is. The JSON key of the phase is "status", as in KubeVela.
type Status struct {
	Phase              Phase              `json:"status,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Services           []Service          `json:"services,omitempty"`
	Workflow           *WorkflowStatus    `json:"workflow,omitempty"`
	AppliedResources   []AppliedResource  `json:"appliedResources,omitempty"`
	LatestRevision     *Revision          `json:"latestRevision,omitempty"`
	// Sources says which commit each Git source of the Application is at. Ours, not
	// KubeVela's: it answers "is my commit live?" without a second kind.
	Sources []Source `json:"sources,omitempty"`
	// Images says which tag each imageRepository has in Git, and why it is not the latest.
	// Ours, too.
	Images []Image `json:"images,omitempty"`
}

// Service is the health of one component. Message is what a person reads in "ls".
type Service struct {
	Name            string              `json:"name"`
	Namespace       string              `json:"namespace,omitempty"`
	Cluster         string              `json:"cluster,omitempty"`
	Workload        *WorkloadDefinition `json:"workloadDefinition,omitempty"`
	Healthy         bool                `json:"healthy"`
	WorkloadHealthy bool                `json:"workloadHealthy,omitempty"`
	Message         string              `json:"message,omitempty"`
	Details         map[string]string   `json:"details,omitempty"`
	Traits          []TraitStatus       `json:"traits,omitempty"`
}

// WorkloadDefinition is the kind of a component's main object.
type WorkloadDefinition struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// TraitStatus is the health of one trait.
type TraitStatus struct {
	Type    string            `json:"type"`
	Healthy bool              `json:"healthy"`
	Pending bool              `json:"pending,omitempty"`
	Message string            `json:"message,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// WorkflowPhase is the state of a run of the workflow.
type WorkflowPhase string

// The states of a workflow run.
const (
	WorkflowExecuting  WorkflowPhase = "executing"
	WorkflowSuspending WorkflowPhase = "suspending"
	WorkflowTerminated WorkflowPhase = "terminated"
	WorkflowFailed     WorkflowPhase = "failed"
	WorkflowSucceeded  WorkflowPhase = "succeeded"
)

// WorkflowStatus is the whole state of a run: package workflow continues from it after
// any restart.
type WorkflowStatus struct {
	AppRevision string        `json:"appRevision,omitempty"`
	Mode        string        `json:"mode"` // "<steps>-<subSteps>", such as StepByStep-DAG
	Phase       WorkflowPhase `json:"status"`
	Message     string        `json:"message,omitempty"`
	Suspend     bool          `json:"suspend"`
	Terminated  bool          `json:"terminated"`
	Finished    bool          `json:"finished"`
	Steps       []StepStatus  `json:"steps,omitempty"`
	StartTime   *metav1.Time  `json:"startTime,omitempty"`
	EndTime     *metav1.Time  `json:"endTime,omitempty"`

	// Backend is where outputs and what steps have done are kept, once there is any.
	Backend *Backend `json:"contextBackend,omitempty"`
	// Run tells runs of one revision apart, when there was more than one. Ours.
	Run string `json:"run,omitempty"`
	// Request is the id of the last request of a person that was dealt with, and Refused
	// why it could not be fulfilled. Ours, not KubeVela's.
	Request string `json:"request,omitempty"`
	Refused string `json:"refused,omitempty"`
}

// Backend names the ConfigMap with the data of a run.
type Backend struct {
	APIVersion      string `json:"apiVersion"`
	Kind            string `json:"kind"`
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// StepPhase is the state of one step.
type StepPhase string

// The states of a step.
const (
	StepRunning    StepPhase = "running"
	StepPending    StepPhase = "pending"
	StepSuspending StepPhase = "suspending"
	StepSucceeded  StepPhase = "succeeded"
	StepFailed     StepPhase = "failed"
	StepSkipped    StepPhase = "skipped"
)

// StepStatus is the state of one step and of its sub-steps.
type StepStatus struct {
	ID               string       `json:"id"`
	Name             string       `json:"name"`
	Type             string       `json:"type"`
	Phase            StepPhase    `json:"phase"`
	Message          string       `json:"message,omitempty"`
	Reason           string       `json:"reason,omitempty"`
	FirstExecuteTime *metav1.Time `json:"firstExecuteTime,omitempty"`
	LastExecuteTime  *metav1.Time `json:"lastExecuteTime,omitempty"`
	SubSteps         []StepStatus `json:"subSteps,omitempty"`
}

// AppliedResource names one object that the Application applied.
type AppliedResource struct {
	Cluster    string `json:"cluster,omitempty"`
	Creator    string `json:"creator,omitempty"` // "workflow", "policy", or "step" for what a step made itself
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// Revision is an ApplicationRevision, "<app>-v<N>".
type Revision struct {
	Name string `json:"name"`
	N    int64  `json:"revision"`
	Hash string `json:"revisionHash"`
	// PublishVersion is the value of [AnnotationPublishVersion] it was made for.
	PublishVersion string `json:"publishVersion,omitempty"`
}

// Source is the state of one component's Git source.
type Source struct {
	Component string `json:"component"`
	URL       string `json:"url"`
	Ref       string `json:"ref"`
	Commit    string `json:"commit"`
}

// Image is the state of one component's imageRepository.
type Image struct {
	Component string `json:"component"`
	Image     string `json:"image"`
	Policy    string `json:"policy,omitempty"`  // in words
	Current   string `json:"current,omitempty"` // tag in Git
	Latest    string `json:"latest,omitempty"`  // tag that the policy chooses
	// Commit is the last one that wrote the image, Committed the tag it wrote, Previous
	// what stood there before.
	Commit      string       `json:"commit,omitempty"`
	Committed   string       `json:"committed,omitempty"`
	Previous    string       `json:"previous,omitempty"`
	CommittedAt *metav1.Time `json:"committedAt,omitempty"`
	// PullRequest is the page of the pull request that waits to be merged.
	PullRequest string `json:"pullRequest,omitempty"`
	// Revision is the commit that the committed tag says it was built from, Source where
	// that is.
	Revision string `json:"revision,omitempty"`
	Source   string `json:"source,omitempty"`
	// Warning says what looks wrong with the committed tag, although it was written.
	Warning string `json:"warning,omitempty"`
	// Reason and Message say why Current is not Latest, or why there is no Latest.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// The conditions of an Application: KubeVela's five and Ready, and ours for the source
// and for live health.
const (
	ConditionParsed   = "Parsed"
	ConditionRevision = "Revision"
	ConditionPolicy   = "Policy"
	ConditionRender   = "Render"
	ConditionWorkflow = "Workflow"
	ConditionReady    = "Ready"
	ConditionFetched  = "Fetched"
	ConditionHealthy  = "Healthy"
	ConditionStalled  = "Stalled"
)
