package events

import "time"

// Stage is a part of a run; the values are the fixed set "stage" of the conventions.
type Stage string

// The stages of a run, in order.
const (
	StageReceive Stage = "receive"
	StageQueue   Stage = "queue"
	StageFetch   Stage = "fetch"
	StageRender  Stage = "render"
	StageApply   Stage = "apply"
	StageHealth  Stage = "health"

	// The stages of an image's way into Git.
	StageScan   Stage = "scan"
	StageCommit Stage = "commit"
)

// Result is how a run, or a stage of it, ended. Failure is for the application team
// (the manifests are wrong), Errored for the platform team (the platform is wrong).
type Result string

// The results.
const (
	Success    Result = "success"
	Unchanged  Result = "unchanged"
	Failure    Result = "failure"
	Errored    Result = "error"
	TimedOut   Result = "timeout"
	Superseded Result = "superseded"
	Canceled   Result = "canceled"
)

// Outcome says what came of one stage of one run. It is published on its own stream,
// from which status, API and UI read.
type Outcome struct {
	Run     string        `json:"run"`
	Key     Key           `json:"key"`
	Cause   Cause         `json:"cause"`
	Event   string        `json:"event,omitempty"`
	Stage   Stage         `json:"stage"`
	Result  Result        `json:"result"`
	Reason  string        `json:"reason,omitempty"`  // CamelCase, from the conventions
	Message string        `json:"message,omitempty"` // one sentence, no credentials
	Commit  string        `json:"commit,omitempty"`
	Changed int           `json:"changed,omitempty"` // objects written or deleted
	Time    time.Time     `json:"time"`
	Took    time.Duration `json:"took"`
}
