package workflow

// StepID is stepID for tests from outside.
var StepID = stepID
