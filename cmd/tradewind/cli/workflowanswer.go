package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	defaultAnswer = 30 * time.Second
	answerPause   = 200 * time.Millisecond // between two looks: a worker that is there is quick
)

// answerTo is a request about a workflow that a worker is to answer.
type answerTo struct {
	id, op  string
	timeout time.Duration
}

// awaitAnswer looks at the Application until its worker has dealt with a request. One
// that was refused is an error in the worker's words.
func awaitAnswer(ctx context.Context, apps applications, app *oam.Application, to answerTo) error {
	deadline, cancel := context.WithTimeout(ctx, to.timeout)
	defer cancel()
	tick := time.NewTicker(answerPause)
	defer tick.Stop()
	for {
		now, err := apps.GetApplication(deadline, app.Namespace, app.Name)
		switch {
		case now == nil && !apply.IsRetryable(err) && deadline.Err() == nil:
			return refused(err)
		case now != nil && now.Status.Workflow != nil && now.Status.Workflow.Request == to.id:
			return answerOf(now)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.Done():
			return &exitError{code: exitTimeout, err: fmt.Errorf("%s workflow of %s/%s: asked for, and not dealt with after %s", gerund(to.op), app.Namespace, app.Name, to.timeout),
				hint: "it is dealt with once a worker looks at the Application: does tradewind serve run, and is the Application not suspended?"}
		case <-tick.C:
		}
	}
}

// answerOf is nil, or why a request was refused.
func answerOf(app *oam.Application) error {
	why := app.Status.Workflow.Refused
	if why == "" {
		return nil
	}
	return &exitError{code: exitFailure, err: fmt.Errorf("workflow of %s/%s: refused: %s", app.Namespace, app.Name, printable(why)),
		hint: fmt.Sprintf("tradewind status %s/%s shows where it is", app.Namespace, app.Name)}
}
