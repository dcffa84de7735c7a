package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newVersionCmd(e *env) *cobra.Command { return versionCmd(e, buildVersion()) }

func versionCmd(e *env, v version) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show what this binary was built from",
		Example: "  tradewind version\n  tradewind version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(output, "text", outJSON, outYAML); err != nil {
				return err
			}
			if output != "text" {
				return writeDocument(e.stdout, output, v)
			}
			_, err := fmt.Fprintf(e.stdout, "tradewind %s (%s, %s)\n", v.Version, v.Revision, v.Go)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	return cmd
}
