package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// helpBeginsWithExamples shows first what most people came for.
func helpBeginsWithExamples(root *cobra.Command) {
	root.SetHelpTemplate(`{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`)
	_, after, _ := strings.Cut(root.UsageTemplate(), "{{if .HasExample}}")
	before, _, _ := strings.Cut(root.UsageTemplate(), "{{if .HasExample}}")
	_, after, _ = strings.Cut(after, "{{end}}")
	root.SetUsageTemplate(before + after)
}

// group is the argument check of a command that only holds others: what it is given is
// one it does not have.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := cmd.CommandPath() + " --help lists the commands"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", near[0])
	}
	return &exitError{code: exitUsage, err: fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()), hint: hint}
}
