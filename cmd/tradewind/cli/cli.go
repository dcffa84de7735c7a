// Package cli is the tradewind command: one file per subcommand, the configuration, and
// in serve.go the only place where the parts of the product are put together.
package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// env is everything a command takes from the process, so that tests can give their own.
type env struct {
	stdout, stderr io.Writer
	stdin          io.Reader
	environ        []string
	getenv         func(string) string
	now            func() time.Time
}

// Main runs the command line of this process and returns its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default comes back: a second one ends us at once.
	context.AfterFunc(ctx, stop)
	defer stop()
	return run(ctx, os.Args[1:], &env{
		stdout: os.Stdout, stderr: os.Stderr, stdin: os.Stdin, environ: os.Environ(), getenv: os.Getenv, now: time.Now,
	})
}

func run(ctx context.Context, args []string, e *env) int {
	root := newRootCmd(e)
	root.SetArgs(args)
	return e.exit(root.ExecuteContext(ctx))
}

func newRootCmd(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "tradewind",
		Short: "GitOps delivery that reacts instead of polling",
		Example: "  tradewind serve --config tradewind.yaml\n" +
			"  tradewind ls\n" +
			"  tradewind status my-app",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          group,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetIn(e.stdin)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageErrorf("%w", err) })
	root.AddCommand(newServeCmd(e), newConfigCmd(e), newLsCmd(e), newImagesCmd(e), newStatusCmd(e), newRenderCmd(e), newDefCmd(e), newPolicyCmd(e), newSendCmd(e), newVersionCmd(e), newRenderChildCmd())
	root.AddCommand(clusterCommands(e, reachCluster)...)
	helpBeginsWithExamples(root)
	return root
}
