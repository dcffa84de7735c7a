package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

type lsOptions struct {
	clusterFlags

	all       bool
	selector  string
	output    string
	noHeaders bool
}

func newLsCmd(e *env) *cobra.Command { return lsCmd(e, connectCluster) }

func lsCmd(e *env, connect connector) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List Applications and the health of their components",
		Example: "  tradewind ls\n" +
			"  tradewind ls -A -l team=blue\n" +
			"  tradewind ls -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ls(cmd.Context(), e, connect, o)
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "list the Applications of every namespace")
	cmd.Flags().StringVarP(&o.selector, "selector", "l", "", "only Applications with these labels, such as team=blue")
	cmd.Flags().StringVarP(&o.output, "output", "o", outTable, "table, wide, json, yaml or name")
	cmd.Flags().BoolVar(&o.noHeaders, "no-headers", false, "leave out the line of headers")
	return cmd
}

func ls(ctx context.Context, e *env, connect connector, o lsOptions) error {
	if err := checkOutput(o.output, outTable, outWide, outJSON, outYAML, outName); err != nil {
		return err
	}
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return usageErrorf("-l %q: %w", o.selector, err)
	}
	apps, err := connect(o.clusterFlags)
	if err != nil {
		return err
	}
	namespace := cmp.Or(o.namespace, defaultNamespace)
	if o.all {
		namespace = metav1.NamespaceAll
	}
	found, err := list(ctx, apps, namespace)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(a *oam.Application) bool { return !selector.Matches(labels.Set(a.Labels)) })

	switch o.output {
	case outJSON, outYAML:
		items := make([]*oam.Application, 0, len(found))
		for _, app := range found {
			items = append(items, bare(app))
		}
		return writeDocument(e.stdout, o.output, listOf(items))
	case outName:
		for _, app := range found {
			fmt.Fprintf(e.stdout, "application.%s/%s\n", oam.Group, app.Name)
		}
		return nil
	}
	if len(found) == 0 {
		fmt.Fprintln(e.stderr, nothingFound(o, namespace))
		return nil
	}
	return appTable(found, o).writeTo(e.stdout)
}

func nothingFound(o lsOptions, namespace string) string {
	where := "in namespace " + namespace
	if o.all {
		where = "in any namespace"
	}
	if o.selector != "" {
		where += " with labels " + o.selector
	}
	return "No Applications " + where + "."
}

// appTable is KubeVela's list: a row for each component, the Application's name on its
// first. The wide form adds what tells one delivery from the next.
func appTable(apps []*oam.Application, o lsOptions) *table {
	wide := o.output == outWide
	t := &table{wrap: listWidth}
	if wide {
		t.wrap = 0
	}
	add := func(namespace string, cells, more []string) {
		if o.all {
			cells = append([]string{namespace}, cells...)
		}
		if wide {
			cells = append(cells, more...)
		}
		t.add(cells...)
	}
	if !o.noHeaders {
		add("NAMESPACE", []string{"APP", "COMPONENT", "TYPE", "TRAITS", "PHASE", "HEALTHY", "STATUS", "CREATED-TIME"}, []string{"REVISION", "COMMIT"})
	}
	for _, app := range apps {
		created, revision := createdTime(app), ""
		if r := app.Status.LatestRevision; r != nil {
			revision = r.Name
		}
		if len(app.Spec.Components) == 0 {
			add(app.Namespace, []string{app.Name, "", "", "", string(app.Status.Phase), "", "", created}, []string{revision, ""})
		}
		for i, c := range app.Spec.Components {
			name := app.Name
			switch {
			case i > 0 && i == len(app.Spec.Components)-1:
				name = "└─"
			case i > 0:
				name = "├─"
			}
			healthy, status := health(app, c.Name)
			add(app.Namespace, []string{name, c.Name, c.Type, traitTypes(c), string(app.Status.Phase), healthy, status, created},
				[]string{revision, commitOf(app, c.Name)})
		}
	}
	return t
}

// createdTime is in Go's own form and the local zone, as KubeVela prints it.
func createdTime(app *oam.Application) string {
	if app.CreationTimestamp.IsZero() {
		return ""
	}
	return app.CreationTimestamp.String()
}

func traitTypes(c oam.Component) string {
	types := make([]string, 0, len(c.Traits))
	for _, t := range c.Traits {
		types = append(types, t.Type)
	}
	return strings.Join(types, ",")
}

// health is empty for a component that was not looked at yet.
func health(app *oam.Application, component string) (healthy, message string) {
	for _, s := range app.Status.Services {
		if s.Name != component {
			continue
		}
		if s.Healthy {
			return "healthy", s.Message
		}
		return "unhealthy", s.Message
	}
	return "", ""
}

func commitOf(app *oam.Application, component string) string {
	for _, s := range app.Status.Sources {
		if s.Component == component {
			return s.Commit
		}
	}
	return ""
}
