package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

type imagesOptions struct {
	clusterFlags

	all       bool
	output    string
	noHeaders bool
}

func newImagesCmd(e *env) *cobra.Command { return imagesCmd(e, connectCluster) }

func imagesCmd(e *env, connect connector) *cobra.Command {
	var o imagesOptions
	cmd := &cobra.Command{
		Use:   "images",
		Short: "List the images that follow their registry",
		Long: "List every component with an imageRepository: the tag in Git, the one that its policy\n" +
			"chooses, the last commit that wrote it, and why the two are not the same.",
		Example: "  tradewind images\n" +
			"  tradewind images -A -o wide",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listImages(cmd.Context(), e, connect, o)
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "list the images of every namespace")
	cmd.Flags().StringVarP(&o.output, "output", "o", outTable, "table, wide, json or yaml")
	cmd.Flags().BoolVar(&o.noHeaders, "no-headers", false, "leave out the line of headers")
	return cmd
}

// imageItem is one image with the component it belongs to.
type imageItem struct {
	Namespace string `json:"namespace"`
	App       string `json:"app"`
	oam.Image
}

func listImages(ctx context.Context, e *env, connect connector, o imagesOptions) error {
	if err := checkOutput(o.output, outTable, outWide, outJSON, outYAML); err != nil {
		return err
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
	items := []imageItem{}
	for _, app := range found {
		items = append(items, imagesOf(app)...)
	}
	switch {
	case o.output == outJSON || o.output == outYAML:
		return writeDocument(e.stdout, o.output, map[string]any{"items": items})
	case len(items) == 0 && o.all:
		fmt.Fprintln(e.stderr, "No component has an imageRepository.")
		return nil
	case len(items) == 0:
		fmt.Fprintln(e.stderr, "No component in namespace "+namespace+" has an imageRepository.")
		return nil
	}
	return imageTable(items, o).writeTo(e.stdout)
}

// imagesOf pairs what is wanted with what is known of it. A component that was not looked
// at yet is listed as well.
func imagesOf(app *oam.Application) []imageItem {
	var items []imageItem
	for _, c := range app.Spec.Components {
		wanted, ok := c.Properties["imageRepository"].(map[string]any)
		if !ok {
			continue
		}
		item := imageItem{Namespace: app.Namespace, App: app.Name, Image: oam.Image{Component: c.Name}}
		item.Image.Image, _ = wanted["image"].(string)
		for _, known := range app.Status.Images {
			if known.Component == c.Name {
				item.Image = known
			}
		}
		items = append(items, item)
	}
	return items
}

func imageTable(items []imageItem, o imagesOptions) *table {
	wide := o.output == outWide
	t := &table{wrap: listWidth}
	if wide {
		t.wrap = 0
	}
	add := func(namespace string, cells []string, policy, at string) {
		if o.all {
			cells = append([]string{namespace}, cells...)
		}
		if wide {
			cells = append(cells, policy, at)
		}
		for i, cell := range cells {
			cells[i] = cmp.Or(cell, "-")
		}
		t.add(cells...)
	}
	if !o.noHeaders {
		add("NAMESPACE", []string{"APP", "COMPONENT", "IMAGE", "CURRENT", "LATEST", "COMMIT", "STATUS"}, "POLICY", "COMMITTED")
	}
	for _, i := range items {
		commit, at := i.Commit, ""
		if len(commit) > 7 && !wide {
			commit = commit[:7]
		}
		if i.CommittedAt != nil {
			at = i.CommittedAt.UTC().Format("2006-01-02T15:04:05Z")
		}
		add(i.Namespace, []string{i.App, i.Component, i.Image.Image, i.Current, i.Latest, commit, imageStatus(i.Image)}, i.Policy, at)
	}
	return t
}

// imageStatus says why the tag in Git is not the latest, and what looks wrong with it.
func imageStatus(i oam.Image) string {
	status := "being written"
	switch {
	case i.Message != "":
		status = i.Reason + ": " + i.Message
	case i.Latest == "":
		status = "not looked at yet"
	case i.Current == i.Latest:
		status = "up to date"
	}
	if i.Warning != "" && i.Committed == i.Latest {
		status += "; warning: " + i.Warning
	}
	return status
}
