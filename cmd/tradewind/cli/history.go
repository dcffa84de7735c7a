package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

type historyOptions struct {
	clusterFlags

	output    string
	noHeaders bool
}

func newHistoryCmd(e *env, connect reach) *cobra.Command {
	var o historyOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:   "history [<namespace>/]<app>",
		Short: "List the recorded revisions of an Application",
		Long: "List the recorded revisions of an Application, newest first: one for each change of\n" +
			"its spec, the last ten. SUCCEEDED is - where nothing was recorded.",
		Example: "  tradewind history my-app\n" +
			"  tradewind history my-app -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return history(cmd.Context(), e, connect, o, args[0])
		},
	})
	cmd.Flags().StringVarP(&o.output, "output", "o", outTable, "table, json, yaml or name")
	cmd.Flags().BoolVar(&o.noHeaders, "no-headers", false, "leave out the line of headers")
	return cmd
}

// revisionRow is a revision as scripts read it.
type revisionRow struct {
	Name           string `json:"name"`
	PublishVersion string `json:"publishVersion,omitempty"`
	Succeeded      *bool  `json:"succeeded,omitempty"`
	Hash           string `json:"hash"`
	BeginTime      string `json:"beginTime,omitempty"`
	Status         string `json:"status,omitempty"`
	Size           int    `json:"size"`
	Current        bool   `json:"current"`
}

func history(ctx context.Context, e *env, connect reach, o historyOptions, arg string) error {
	if err := checkOutput(o.output, outTable, outJSON, outYAML, outName); err != nil {
		return err
	}
	c, app, err := open(ctx, connect, o.clusterFlags, arg)
	if app == nil {
		return err
	}
	revisions, err := c.Revisions(ctx, app.Namespace, app.Name)
	if err != nil {
		return refused(err)
	}
	rows := make([]revisionRow, 0, len(revisions))
	for _, r := range revisions {
		rows = append(rows, revisionRowOf(app, r))
	}
	switch o.output {
	case outJSON, outYAML:
		return writeDocument(e.stdout, o.output, map[string]any{"items": rows})
	case outName:
		for _, r := range rows {
			fmt.Fprintf(e.stdout, "applicationrevision.%s/%s\n", oam.Group, r.Name)
		}
		return nil
	}
	if len(rows) == 0 {
		fmt.Fprintf(e.stderr, "No revisions of %s/%s: it was never delivered.\n", app.Namespace, app.Name)
		return nil
	}
	t := &table{wrap: listWidth}
	if !o.noHeaders {
		t.add("NAME", "PUBLISH_VERSION", "SUCCEEDED", "HASH", "BEGIN_TIME", "STATUS", "SIZE")
	}
	for _, r := range rows {
		succeeded := ""
		if r.Succeeded != nil {
			succeeded = strconv.FormatBool(*r.Succeeded)
		}
		t.add(dashed(r.Name, r.PublishVersion, succeeded, r.Hash, r.BeginTime, r.Status, bytesText(r.Size))...)
	}
	return t.writeTo(e.stdout)
}

func revisionRowOf(app *oam.Application, r apply.Revision) revisionRow {
	row := revisionRow{Name: r.Name, Hash: r.Hash, Size: r.Size}
	if r.Application != nil {
		row.PublishVersion = r.Application.Annotations[oam.AnnotationPublishVersion]
	}
	row.Current = app.Status.LatestRevision != nil && app.Status.LatestRevision.Name == r.Name
	if d := deliveryOf(app, r); d != nil {
		row.Status = deliveryStatus(d.Phase)
		row.Succeeded = new(d.Phase == oam.WorkflowSucceeded)
		if d.Begun != nil {
			row.BeginTime = d.Begun.UTC().Format(time.DateTime)
		}
	}
	return row
}

// deliveryOf is what is known of a revision: of the one that the status is about from
// there, of earlier ones from the records.
func deliveryOf(app *oam.Application, r apply.Revision) *apply.Delivery {
	if now := apply.DeliveryOf(app); now != nil && now.Revision == r.Name {
		return now
	}
	return r.Ended
}

// deliveryStatus is KubeVela's word in its list of revisions.
func deliveryStatus(phase oam.WorkflowPhase) string {
	switch phase {
	case oam.WorkflowSucceeded:
		return "Succeeded"
	case oam.WorkflowSuspending:
		return "Suspended"
	case oam.WorkflowTerminated:
		return "Terminated"
	case oam.WorkflowFailed:
		return "Failed"
	default:
		return "Executing"
	}
}

func bytesText(n int) string {
	const kib = 1 << 10
	if n < kib {
		return strconv.Itoa(n) + " B"
	}
	return strconv.FormatFloat(float64(n)/kib, 'f', 1, 64) + " KiB"
}
