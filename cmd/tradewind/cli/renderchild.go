package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/sync/render/pool"
)

// newRenderChildCmd is what serve starts to render in; it is of no use to people.
func newRenderChildCmd() *cobra.Command {
	return &cobra.Command{
		Use:    pool.ChildCommand,
		Short:  "Render for the process that started this one",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return pool.Serve(os.Stdin, os.Stdout) },
	}
}
