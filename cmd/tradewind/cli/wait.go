package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	defaultWait = 5 * time.Minute
	waitPause   = time.Second // between two looks
)

type waitOptions struct {
	clusterFlags

	what, commit string
	timeout      time.Duration
}

func newWaitCmd(e *env, connect reach) *cobra.Command {
	var o waitOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:   "wait [<namespace>/]<app>",
		Short: "Wait until an Application is healthy, at a commit, or gone",
		Long: "Wait until an Application is running and healthy, with --commit only once a source\n" +
			"of it is at that commit; or with --for deleted until it is gone. A line is printed\n" +
			"for each change on the way.\n\n" +
			"The exit code is 5 when the time is over.",
		Example: "  tradewind wait my-app --timeout 10m\n" +
			"  tradewind wait apps --commit $(git rev-parse HEAD)\n" +
			"  tradewind wait my-app --for deleted",
		RunE: func(cmd *cobra.Command, args []string) error {
			return wait(cmd.Context(), e, connect, o, args[0])
		},
	})
	cmd.Flags().StringVar(&o.what, "for", "healthy", "healthy or deleted")
	cmd.Flags().StringVar(&o.commit, "commit", "", "a commit, or its first 7 digits or more")
	cmd.Flags().DurationVar(&o.timeout, "timeout", defaultWait, "how long to wait")
	return cmd
}

func wait(ctx context.Context, e *env, connect reach, o waitOptions, arg string) error {
	if o.commit != "" && len(o.commit) < 7 {
		return usageErrorf("--commit %q: want at least 7 digits", o.commit)
	}
	until := untilHealthy
	switch o.what {
	case "deleted":
		until = untilGone
	case "healthy":
		if o.commit != "" {
			until = untilAt(o.commit)
		}
	default:
		return usageErrorf("--for %q: want healthy or deleted", o.what)
	}
	namespace, name, err := o.target(arg)
	if err != nil {
		return err
	}
	c, err := connect(o.clusterFlags)
	if err != nil {
		return err
	}
	if o.what != "deleted" { // a name that is not there is a typing error, not something to wait for
		if app, err := find(ctx, c, namespace, name); app == nil {
			return err
		}
	}
	return waiter{env: e, apps: c, namespace: namespace, name: name, timeout: o.timeout}.run(ctx, until)
}

// until says whether the waiting is over. The Application is nil when it is gone.
type until func(app *oam.Application) bool

func untilHealthy(app *oam.Application) bool {
	return app != nil && healthyApp(app) && app.Status.ObservedGeneration >= app.Generation
}

func untilGone(app *oam.Application) bool { return app == nil }

func untilAt(commit string) until {
	return func(app *oam.Application) bool {
		return untilHealthy(app) && slices.ContainsFunc(app.Status.Sources, func(s oam.Source) bool { return strings.HasPrefix(s.Commit, commit) })
	}
}

// waiter looks at an Application until something is so.
type waiter struct {
	*env
	apps            applications
	namespace, name string
	timeout         time.Duration
}

func (w waiter) run(ctx context.Context, over until) error {
	deadline, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	tick := time.NewTicker(waitPause)
	defer tick.Stop()
	last := ""
	for {
		app, err := w.apps.GetApplication(deadline, w.namespace, w.name)
		switch {
		case apply.IsNotFound(err):
			app = nil
		case err != nil && app == nil && !apply.IsRetryable(err):
			return refused(err)
		case err != nil && app == nil: // it may answer again before the time is over
			last = w.progress(last, err.Error())
		}
		if err == nil || app != nil || apply.IsNotFound(err) {
			last = w.progress(last, state(app))
			if over(app) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.Done():
			return &exitError{code: exitTimeout, err: fmt.Errorf("waiting for %s/%s: after %s it is: %s", w.namespace, w.name, w.timeout, last),
				hint: fmt.Sprintf("tradewind status %s/%s says more", w.namespace, w.name)}
		case <-tick.C:
		}
	}
}

// progress prints what is new.
func (w waiter) progress(last, now string) string {
	if now != last {
		fmt.Fprintf(w.stderr, "%s/%s: %s\n", w.namespace, w.name, now)
	}
	return now
}

// state is an Application in a few words.
func state(app *oam.Application) string {
	if app == nil {
		return "gone"
	}
	if healthyApp(app) {
		return "running, healthy"
	}
	text := cmp.Or(string(app.Status.Phase), "not looked at yet")
	if failing := problems(app); len(failing) > 0 {
		return text + ", " + printable(cmp.Or(failing[0].Message, failing[0].Reason))
	}
	for _, s := range app.Status.Services {
		if !s.Healthy {
			return text + ", " + s.Name + " " + printable(cmp.Or(s.Message, "is not healthy"))
		}
	}
	return text
}
