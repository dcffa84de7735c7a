package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

type dryRunOptions struct {
	clusterFlags

	files, allowed []string
	tree           string
	offline        bool
}

func newDryRunCmd(e *env, connect reach) *cobra.Command {
	var o dryRunOptions
	cmd := &cobra.Command{
		Use:   "dry-run [-f <file>]",
		Short: "Render Applications and have the API server check every object",
		Long: "Render Applications for the cluster and have its API server check every object\n" +
			"(schema, admission, rights, owners of fields), without writing any. --offline only\n" +
			"renders, as tradewind render does.",
		Example: "  tradewind dry-run -f apps/my-app.yaml\n" +
			"  tradewind dry-run -f clusters/apps.yaml --tree .",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return dryRun(cmd.Context(), e, connect, o)
		},
	}
	o.add(cmd)
	cmd.Flags().StringArrayVarP(&o.files, "filename", "f", []string{"app.yaml"}, "file with Applications, - for standard input; may repeat")
	cmd.Flags().StringVar(&o.tree, "tree", "", "folder to read instead of Git")
	cmd.Flags().StringSliceVar(&o.allowed, "allow-host", nil, "Git host that may be private or plain http")
	cmd.Flags().BoolVar(&o.offline, "offline", false, "do not ask a cluster")
	return cmd
}

func dryRun(ctx context.Context, e *env, connect reach, o dryRunOptions) error {
	if o.offline {
		return renderFiles(ctx, e, renderOptions{files: o.files, tree: o.tree, namespace: o.namespace, kubeVersion: "1.37", output: outYAML})
	}
	c, err := connect(o.clusterFlags)
	if err != nil {
		return err
	}
	p, done, err := newPreviewer(ctx, c, o.tree, o.allowed)
	if err != nil {
		return err
	}
	defer done()
	var results []*renderedApp
	var failures []error
	for _, file := range o.files {
		apps, err := readApplications(e, file)
		if err != nil {
			return err
		}
		for _, app := range apps {
			app.Namespace = cmp.Or(app.Namespace, o.namespace, defaultNamespace)
			result, failed, err := dryRunOne(ctx, p, app)
			if err != nil {
				return err
			}
			results, failures = append(results, result), append(failures, failed...)
		}
	}
	advise(e.stderr, results)
	if err := writeRendered(e.stdout, results, outYAML); err != nil {
		return err
	}
	return errors.Join(failures...)
}

func dryRunOne(ctx context.Context, p *previewer, app *oam.Application) (*renderedApp, []error, error) {
	checked, err := p.application(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	out := &renderedApp{name: app.Name}
	var failures []error
	for _, component := range checked.components {
		out.components = append(out.components, component.Component)
		for _, preview := range component.previews {
			if preview.Err != nil {
				failures = append(failures, fmt.Errorf("component %q of %s/%s: %w", component.Name, app.Namespace, app.Name, preview.Err))
			}
		}
	}
	return out, failures, nil
}
