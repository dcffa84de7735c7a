package cli

import (
	"context"

	"github.com/spf13/cobra"
)

// statusViews are what "status" can show instead of its page.
type statusViews struct{ tree, detail, pods, endpoints bool }

func (v *statusViews) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&v.tree, "tree", "t", false, "show the objects it owns instead")
	cmd.Flags().BoolVarP(&v.detail, "detail", "d", false, "with --tree, ask the server about each object")
	cmd.Flags().BoolVar(&v.pods, "pod", false, "show its pods instead")
	cmd.Flags().BoolVarP(&v.endpoints, "endpoint", "p", false, "show where it answers instead")
}

func (v statusViews) isView() bool { return v.tree || v.pods || v.endpoints }

func (v statusViews) view(ctx context.Context, e *env, connect reach, f clusterFlags, arg string) error {
	switch {
	case v.tree && v.pods, v.tree && v.endpoints, v.pods && v.endpoints:
		return usageErrorf("status: want one of --tree, --pod and --endpoint")
	case v.tree:
		return showTree(ctx, e, connect, treeOptions{f, v.detail}, arg)
	case v.pods:
		return showPods(ctx, e, connect, f, arg)
	default:
		return showEndpoints(ctx, e, connect, f, arg)
	}
}
