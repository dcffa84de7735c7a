package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

type reconcileOptions struct {
	clusterFlags
	changeFlags

	wait    bool
	timeout time.Duration
}

func newReconcileCmd(e *env, connect reach) *cobra.Command {
	var o reconcileOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:   "reconcile [<namespace>/]<app>",
		Short: "Look at an Application now, its Git sources too",
		Long: "Look at an Application now. Its Git sources are fetched whether a webhook came or\n" +
			"not. With --wait the command ends when the Application is running and healthy; it\n" +
			"prints a line for each change on the way.",
		Example: "  tradewind reconcile my-app\n" +
			"  tradewind reconcile shop/my-app --wait",
		RunE: func(cmd *cobra.Command, args []string) error {
			return requestLook(cmd.Context(), e, connect, o, args[0])
		},
	})
	o.changeFlags.add(cmd, false)
	cmd.Flags().BoolVarP(&o.wait, "wait", "w", false, "wait until it is running and healthy")
	cmd.Flags().DurationVar(&o.timeout, "timeout", defaultWait, "how long to wait")
	return cmd
}

func requestLook(ctx context.Context, e *env, connect reach, o reconcileOptions, arg string) error {
	c, app, err := open(ctx, connect, o.clusterFlags, arg)
	if app == nil {
		return err
	}
	if app.Labels[oam.LabelPause] == "true" {
		return &exitError{code: exitFailure, err: fmt.Errorf("reconciling %s/%s: it is suspended", app.Namespace, app.Name),
			hint: fmt.Sprintf("tradewind resume %s/%s first", app.Namespace, app.Name)}
	}
	if !o.dryRun {
		now := e.now().UTC().Format(time.RFC3339Nano)
		if err := c.Annotate(ctx, app.Namespace, app.Name, map[string]string{oam.AnnotationRequestedAt: now}); err != nil {
			return mayWrite(err)
		}
	}
	o.done(e, "Requested a look at %s/%s", app.Namespace, app.Name)
	if !o.wait || o.dryRun {
		return nil
	}
	return waiter{env: e, apps: c, namespace: app.Namespace, name: app.Name, timeout: o.timeout}.run(ctx, untilHealthy)
}

type pauseOptions struct {
	clusterFlags
	changeFlags
}

func newSuspendCmd(e *env, connect reach) *cobra.Command {
	return pauseCmd(e, connect, "suspend", "Leave an Application as it is until it is resumed",
		"Leave an Application as it is: pushes are not delivered and changes by hand are not\n"+
			"put back until it is resumed. What runs keeps running.", "true", "Suspended")
}

func newResumeCmd(e *env, connect reach) *cobra.Command {
	return pauseCmd(e, connect, "resume", "Go on with a suspended Application",
		"Go on with a suspended Application: it is brought to what Git says now.", "", "Resumed")
}

func pauseCmd(e *env, connect reach, verb, short, long, value, past string) *cobra.Command {
	var o pauseOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use: verb + " [<namespace>/]<app>", Short: short, Long: long, Example: "  tradewind " + verb + " my-app",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, app, err := open(cmd.Context(), connect, o.clusterFlags, args[0])
			switch {
			case app == nil:
				return err
			case app.Labels[oam.LabelPause] == value:
				fmt.Fprintf(e.stderr, "%s/%s is so already.\n", app.Namespace, app.Name)
				return nil
			case !o.dryRun:
				if err := c.Label(cmd.Context(), app.Namespace, app.Name, map[string]string{oam.LabelPause: value}); err != nil {
					return mayWrite(err)
				}
			}
			o.done(e, "%s %s/%s", past, app.Namespace, app.Name)
			return nil
		},
	})
	o.changeFlags.add(cmd, false)
	return cmd
}
