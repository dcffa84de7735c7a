package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

type treeOptions struct {
	clusterFlags

	detail bool
}

func newTreeCmd(e *env, connect reach) *cobra.Command {
	var o treeOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:   "tree [<namespace>/]<app>",
		Short: "Show the objects an Application owns",
		Long: "Show the objects an Application owns, by cluster and namespace; the same as\n" +
			"tradewind status --tree. An object is outdated when the Application does not want it\n" +
			"any more or has not come to it yet.",
		Example: "  tradewind tree my-app\n" +
			"  tradewind tree my-app --detail",
		RunE: func(cmd *cobra.Command, args []string) error {
			return showTree(cmd.Context(), e, connect, o, args[0])
		},
	})
	cmd.Flags().BoolVarP(&o.detail, "detail", "d", false, "ask the server about each object, too")
	return cmd
}

func showTree(ctx context.Context, e *env, connect reach, o treeOptions, arg string) error {
	c, app, err := open(ctx, connect, o.clusterFlags, arg)
	if app == nil {
		return err
	}
	entries, err := c.Tracked(ctx, app.Namespace, app.Name)
	if err != nil {
		return refused(err)
	}
	if len(entries) == 0 {
		fmt.Fprintf(e.stderr, "%s/%s owns no objects.\n", app.Namespace, app.Name)
		return nil
	}
	rows := treeRows(app, entries)
	if o.detail {
		for i := range rows {
			rows[i].applied, rows[i].detail = detailOf(ctx, c, rows[i].ref)
		}
	}
	return writeTree(e.stdout, rows, o.detail)
}

// treeRow is one object, or what there is of it in a place.
type treeRow struct {
	cluster, namespace, resource, status string
	applied, detail                      string

	ref apply.ObjectRef
	key string
}

const localCluster = "local"

// treeRows sorts the objects of an inventory as KubeVela does: by cluster, namespace,
// group and kind.
func treeRows(app *oam.Application, entries []apply.Entry) []treeRow {
	wanted := map[apply.ObjectRef]bool{}
	for _, r := range app.Status.AppliedResources {
		ref := apply.Entry{APIVersion: r.APIVersion, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}.Ref()
		wanted[plainRef(ref)] = true
	}
	rows := make([]treeRow, 0, len(entries))
	for _, entry := range entries {
		ref := entry.Ref()
		row := treeRow{cluster: localCluster, namespace: cmp.Or(ref.Namespace, "-"), resource: ref.Kind + "/" + ref.Name, status: "updated", ref: ref}
		row.key = ref.Group + "/" + ref.Kind + "/" + ref.Name
		clusterWide := plainRef(ref)
		clusterWide.Namespace = app.Namespace // before its kind was known it was written down with one
		if !wanted[plainRef(ref)] && (ref.Namespace != "" || !wanted[clusterWide]) {
			row.status = "outdated"
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b treeRow) int {
		return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.key, b.key))
	})
	return rows
}

// plainRef leaves out the version, which is not part of an object's identity.
func plainRef(ref apply.ObjectRef) apply.ObjectRef {
	ref.Version = ""
	return ref
}

// detailOf is when we last changed an object and what "kubectl get" would say of it.
func detailOf(ctx context.Context, c inspector, ref apply.ObjectRef) (applied, detail string) {
	live, err := c.Read(ctx, ref)
	if apply.IsNotFound(err) {
		return "", "it is not there"
	}
	if err != nil {
		return "", err.Error()
	}
	if at := appliedAt(live); !at.IsZero() {
		applied = at.UTC().Format(time.DateTime)
	}
	columns, err := c.Columns(ctx, ref)
	if err != nil {
		return applied, err.Error()
	}
	parts := make([]string, 0, len(columns))
	for _, column := range columns {
		parts = append(parts, column.Name+": "+column.Value)
	}
	return applied, strings.Join(parts, "  ")
}

// appliedAt is when one of our field owners last changed an object.
func appliedAt(o *unstructured.Unstructured) time.Time {
	var at time.Time
	for _, f := range o.GetManagedFields() {
		if f.Manager == apply.FieldOwner && f.Subresource == "" && f.Time != nil && f.Time.After(at) {
			at = f.Time.Time
		}
	}
	return at
}

// connectorWidth is a connector, three glyphs and a blank.
const connectorWidth = 4

// writeTree draws the rows, which are sorted, as KubeVela draws them: a cluster and a
// namespace stand once, joined with what is in them, and each line is padded.
func writeTree(w io.Writer, rows []treeRow, detail bool) error {
	headers := []string{"CLUSTER", "NAMESPACE", "RESOURCE", "STATUS"}
	if detail {
		headers = append(headers, "APPLY_TIME", "DETAIL")
	}
	cells := make([][]string, len(rows))
	widths := make([]int, len(headers))
	for i := range widths {
		widths[i] = 10
	}
	for i, r := range rows {
		cells[i] = []string{r.cluster, r.namespace, r.resource, r.status}
		if detail {
			cells[i] = append(cells[i], cmp.Or(r.applied, "-"), cmp.Or(r.detail, "-"))
		}
		for j := range cells[i] {
			cells[i][j] = strings.ReplaceAll(printable(cells[i][j]), "\n", " ")
			widths[j] = max(widths[j], displayWidth(cells[i][j])+1)
		}
	}
	widths[0] += connectorWidth
	widths[1] += connectorWidth
	var b strings.Builder
	for j, h := range headers {
		b.WriteString(padded(h, "", widths[j]))
	}
	b.WriteByte('\n')
	for i := range rows {
		writeTreeLine(&b, rows, i, cells[i], widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeTreeLine(b *strings.Builder, rows []treeRow, i int, cells []string, widths []int) {
	sameCluster := func(j int) bool { return j >= 0 && j < len(rows) && rows[j].cluster == rows[i].cluster }
	samePlace := func(j int) bool { return sameCluster(j) && rows[j].namespace == rows[i].namespace }
	moreNamespaces := false
	for j := i + 1; sameCluster(j); j++ {
		moreNamespaces = moreNamespaces || rows[j].namespace != rows[i].namespace
	}
	first := !samePlace(i - 1)
	if sameCluster(i - 1) {
		cells[0] = ""
	}
	if !first {
		cells[1] = ""
	}
	b.WriteString(padded(cells[0], joint(!sameCluster(i-1), sameCluster(i-1), moreNamespaces, first), widths[0]))
	b.WriteString(padded(cells[1], joint(first, !first, samePlace(i+1), true), widths[1]))
	for j := 2; j < len(cells); j++ {
		b.WriteString(padded(cells[j], "", widths[j]))
	}
	b.WriteByte('\n')
}

// joint joins a cell with what is right of it: begins says that the cell has a text,
// above and below that the same text goes on there, entry that something hangs on it here.
func joint(begins, above, below, entry bool) string {
	switch {
	case begins && below:
		return "─┬─ "
	case begins:
		return "─── "
	case above && entry && below:
		return " ├─ "
	case above && entry:
		return " └─ "
	case below:
		return " │  "
	default:
		return "    "
	}
}

// padded puts tail at the right edge of a column that begins with head.
func padded(head, tail string, width int) string {
	return head + strings.Repeat(" ", max(0, width-displayWidth(head)-displayWidth(tail))) + tail
}
