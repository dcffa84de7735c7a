package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

type deleteOptions struct {
	clusterFlags
	changeFlags

	orphan, wait bool
	timeout      time.Duration
}

func newDeleteCmd(e *env, connect reach) *cobra.Command {
	var o deleteOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:   "delete [<namespace>/]<app>",
		Short: "Delete an Application and what it owns",
		Long: "Delete an Application and what it owns. With --orphan its objects stay and belong to\n" +
			"nobody. One that came from Git comes back with the next sync unless its file goes.",
		Example: "  tradewind delete my-app\n" +
			"  tradewind delete my-app --orphan --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			return remove(cmd.Context(), e, connect, o, args[0])
		},
	})
	o.changeFlags.add(cmd, true)
	cmd.Flags().BoolVarP(&o.orphan, "orphan", "o", false, "keep its objects")
	cmd.Flags().BoolVarP(&o.wait, "wait", "w", false, "wait until it is gone")
	cmd.Flags().DurationVar(&o.timeout, "timeout", defaultWait, "how long to wait")
	return cmd
}

func remove(ctx context.Context, e *env, connect reach, o deleteOptions, arg string) error {
	c, app, err := open(ctx, connect, o.clusterFlags, arg)
	if app == nil {
		return err
	}
	entries, err := c.Tracked(ctx, app.Namespace, app.Name)
	if err != nil {
		return refused(err)
	}
	what := fmt.Sprintf("with the %d objects it owns", len(entries))
	if o.orphan {
		what = fmt.Sprintf("without the %d objects it owns", len(entries))
	}
	if namespace, name, ok := parentOf(app); ok {
		fmt.Fprintf(e.stderr, "It came from Git: the next sync of %s/%s brings it back unless its file goes.\n", namespace, name)
	}
	if err := o.confirm(e, fmt.Sprintf("Delete Application %s/%s %s?", app.Namespace, app.Name, what)); err != nil {
		return err
	}
	if err := c.DeleteApplication(ctx, app, o.orphan, o.dryRun); err != nil {
		return mayWrite(err)
	}
	o.done(e, "Deleting %s/%s %s", app.Namespace, app.Name, what)
	if !o.wait || o.dryRun {
		return nil
	}
	return waiter{env: e, apps: c, namespace: app.Namespace, name: app.Name, timeout: o.timeout}.run(ctx, untilGone)
}
