package reconcile

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

const maxMessage = 1024 // bytes of one condition

func (x *run) good(condition string) { x.condition(condition, metav1.ConditionTrue, "Available", "") }

func (x *run) condition(kind string, status metav1.ConditionStatus, reason, message string) {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
	}
	meta.SetStatusCondition(&x.status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: x.app.Generation,
	})
}

// finish stores what the run found, tells everyone, and turns the result into a verdict.
func (x *run) finish(ctx context.Context, err error) error {
	gone := !x.app.DeletionTimestamp.IsZero() && err == nil
	p, _ := errors.AsType[*problem](err)
	if p == nil && err != nil {
		p = &problem{stage: events.StageApply, condition: oam.ConditionReady, reason: "FailedApply", result: events.Errored, err: err}
	}
	result := events.Success
	switch {
	case p != nil:
		result = p.result
	case x.changes.Written() == 0:
		result = events.Unchanged
	}
	wrote := false
	var statusErr error
	if !gone {
		x.fold(p)
		wrote, statusErr = x.cluster.WriteStatus(ctx, x.app, x.status)
	}
	x.report(ctx, p, result, wrote)
	if statusErr == nil {
		x.settle(p)
	}
	if p != nil {
		return x.retry(p)
	}
	if statusErr != nil {
		return events.RetryAfter(time.Second, fmt.Errorf("storing the status: %w", statusErr))
	}
	return x.wakeLater(ctx)
}

// fold derives phase and conditions from what the run found.
func (x *run) fold(p *problem) {
	if p != nil {
		message := p.err.Error()
		if hint := hintOf(p.err); hint != "" {
			message += " (" + hint + ")"
		}
		x.condition(p.condition, metav1.ConditionFalse, p.reason, message)
		x.condition(oam.ConditionReady, metav1.ConditionFalse, p.reason, message)
	} else {
		x.condition(oam.ConditionReady, metav1.ConditionTrue, "ReconcileSuccess", "")
		x.status.ObservedGeneration = x.app.Generation
	}
	if x.status.Phase == oam.PhaseDeleting && !x.app.DeletionTimestamp.IsZero() {
		return
	}
	x.status.Phase = x.phase(p)
	if p == nil {
		x.foldHealth()
	}
}

// foldHealth says in the condition Healthy for what is waited, and since when.
func (x *run) foldHealth() {
	why := x.policyWaits
	for _, s := range x.status.Services {
		if !s.Healthy && why == "" {
			why = strings.TrimSuffix(fmt.Sprintf("waiting for %s: %s", s.Name, s.Message), ": ")
		}
	}
	if why == "" {
		why = waitingStep(x.status.Workflow)
	}
	if why == "" && x.status.Phase == oam.PhaseRunning {
		x.condition(oam.ConditionHealthy, metav1.ConditionTrue, "Healthy", "")
		return
	}
	since := x.now()
	if c := meta.FindStatusCondition(x.status.Conditions, oam.ConditionHealthy); c != nil && c.Status == metav1.ConditionFalse {
		since = c.LastTransitionTime.Time
	}
	reason := "FailedHealth"
	if x.status.Phase == oam.PhaseRunningWorkflow {
		reason = "DependencyNotReady"
	}
	if why != "" {
		why += ", since " + since.UTC().Format(time.RFC3339)
	}
	x.condition(oam.ConditionHealthy, metav1.ConditionFalse, reason, why)
}

// waitingStep is the first step that has begun and not ended, and what it says.
func waitingStep(w *oam.WorkflowStatus) string {
	name := ""
	if w != nil && !w.Finished {
		name = unfinished(w.Steps)
	}
	if name == "" {
		return ""
	}
	s := workflow.State(w, name)
	return strings.TrimSuffix(fmt.Sprintf("waiting for step %s: %s", name, s.Message), ": ")
}

func (x *run) phase(p *problem) oam.Phase {
	w := x.status.Workflow
	switch {
	case p != nil && (w == nil || !w.Finished) && (p.stage == events.StageRender || p.stage == events.StageFetch):
		return oam.PhaseRendering
	case p != nil && (w == nil || !w.Finished):
		return oam.PhaseRunningWorkflow
	case p != nil:
		return oam.PhaseUnhealthy
	case w.Phase == oam.WorkflowSuspending:
		return oam.PhaseWorkflowSuspending
	case w.Phase == oam.WorkflowTerminated:
		return oam.PhaseWorkflowTerminated
	case w.Phase == oam.WorkflowFailed:
		return oam.PhaseWorkflowFailed
	case !w.Finished:
		return oam.PhaseRunningWorkflow
	}
	if x.policyWaits != "" {
		return oam.PhaseUnhealthy
	}
	for _, s := range x.status.Services {
		if !s.Healthy {
			return oam.PhaseUnhealthy
		}
	}
	return oam.PhaseRunning
}

// outcome is what came of this look.
func (x *run) outcome(result events.Result) events.Outcome {
	return events.Outcome{
		Run: strings.ToLower(rand.Text()), Key: x.job.Key, Cause: x.job.Cause, Event: x.job.Event, Stage: events.StageApply,
		Result: result, Commit: x.commit, Changed: x.changes.Written(), Time: x.now().UTC(), Took: x.now().Sub(x.begun),
	}
}

// report writes the one log line of a run, its metrics and its outcome.
func (x *run) report(ctx context.Context, p *problem, result events.Result, wrote bool) {
	took := x.now().Sub(x.begun)
	o := x.outcome(result)
	args := []any{
		"app", x.owner.String(), "cause", string(x.job.Cause), "event", x.job.Event, "commit", x.commit, "result", string(result),
		"phase", string(x.status.Phase), "changed", o.Changed, "statusWritten", wrote, "attempt", x.job.Attempt, "took", took.String(),
	}
	if p != nil {
		o.Stage, o.Reason, o.Message = p.stage, p.reason, p.err.Error()
		args = append(args, "stage", string(p.stage), "reason", p.reason, "err", p.err.Error())
	}
	x.metrics.runs.WithLabelValues(string(x.job.Cause), string(result)).Inc()
	if !x.job.Time.IsZero() && result != events.Unchanged {
		x.metrics.duration.WithLabelValues(string(x.job.Cause), string(result)).Observe(x.now().Sub(x.job.Time).Seconds())
	}
	switch {
	case p != nil:
		x.log.Warn("run finished", args...)
	case result == events.Unchanged && !wrote:
		x.log.Debug("run finished", args...)
		return // nothing that anyone would want to read about
	default:
		x.log.Info("run finished", args...)
	}
	x.judge(p)
	if err := x.queue.Report(ctx, o); err != nil {
		x.log.Warn("outcome not published", "err", err)
	}
}

// The pauses after a failed run: the platform is asked again soon, a mistake in a
// manifest hardly changes by itself.
const (
	errorFirst, errorMost     = 2 * time.Second, 5 * time.Minute
	failureFirst, failureMost = 30 * time.Second, 10 * time.Minute
)

func (x *run) retry(p *problem) error {
	first, most := errorFirst, errorMost
	if p.result == events.Failure {
		first, most = failureFirst, failureMost
	}
	delay := min(first<<min(x.job.Attempt-1, 10), most)
	delay = delay/2 + randv2.N(delay/2)
	if p.wait > 0 {
		delay = p.wait
	}
	return events.RetryAfter(max(delay, p.after), p.err)
}

// shortestInterval is the least that a user may ask for, as in KubeVela.
const shortestInterval = 10 * time.Second

// wakeLater sets a timer for the next moment at which something changes by itself, or at
// which the user wants a look anyway.
func (x *run) wakeLater(ctx context.Context) error {
	if !x.app.DeletionTimestamp.IsZero() {
		return nil
	}
	if w := x.status.Workflow; w != nil && !w.Finished {
		if at := workflow.Deadline(x.plan, w); !at.IsZero() {
			x.wakeAt(at)
		}
	}
	if every, err := oam.ParseStepDuration(x.app.Annotations[oam.AnnotationInterval]); err == nil {
		x.wakeAt(x.now().Add(max(every, shortestInterval)))
	}
	if x.wake.IsZero() {
		return nil
	}
	return x.queue.TriggerAt(ctx, events.Trigger{Key: x.job.Key, Cause: events.CauseSchedule, Time: x.wake}, x.wake)
}

// parseProblem is a mistake in what the Application says, or, with a cause that time
// mends, in reading what it refers to.
func parseProblem(err, cause error) error {
	p := &problem{stage: events.StageRender, condition: oam.ConditionParsed, reason: "FailedParse", result: events.Failure, err: err}
	if cause != nil && retryable(cause) {
		p.result = events.Errored
	}
	return p
}

// retryable says that time may mend an error: the API server was not there, or another
// worker was faster.
func retryable(err error) bool {
	p, ok := errors.AsType[*problem](err)
	return ok && p.result == events.Errored || apply.IsRetryable(err)
}

func fetchProblem(err error) error {
	if p, ok := errors.AsType[*registry.Error](err); ok {
		return &problem{stage: events.StageFetch, condition: oam.ConditionFetched, reason: "FailedFetch", result: events.Errored, after: p.RetryAfter, err: err}
	}
	if p, ok := errors.AsType[*apply.Error](err); ok {
		return &problem{stage: events.StageFetch, condition: oam.ConditionFetched, reason: "FailedFetch", result: events.Errored, after: p.RetryAfter, err: err}
	}
	return &problem{stage: events.StageFetch, condition: oam.ConditionFetched, reason: "FailedFetch", result: events.Errored, err: err}
}

// renderProblem adds the commit to mistakes in a tree.
func (x *run) renderProblem(err error) error {
	condition, stage := oam.ConditionRender, events.StageRender
	if x.commit != "" {
		err = fmt.Errorf("commit %s: %w", short(x.commit), err)
	}
	return &problem{stage: stage, condition: condition, reason: "FailedRender", result: events.Failure, err: err}
}

func applyProblem(condition, reason string, err error) error {
	p := &problem{stage: events.StageApply, condition: condition, reason: reason, result: events.Failure, err: err}
	var failed *apply.Error
	if !errors.As(err, &failed) {
		p.result = events.Errored // a lost claim, a cancelled context
		return p
	}
	if failed.Reason != "" && failed.Reason != apply.ReasonFailedApply {
		p.reason = failed.Reason
	}
	if failed.Retryable {
		p.result = events.Errored
	}
	p.after = failed.RetryAfter
	return p
}

// hintOf is what to do about an error, when the package it came from knows.
func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}
