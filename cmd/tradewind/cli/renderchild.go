package cli

import (
	"context"
	"encoding/json"
	"os"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/services/reconcile"
	"github.com/tradewind-dev/tradewind/sync/helm"
	"github.com/tradewind-dev/tradewind/sync/render/pool"
)

// newRenderChildCmd is what serve starts to render in; it is of no use to people.
func newRenderChildCmd() *cobra.Command {
	return &cobra.Command{
		Use:    pool.ChildCommand,
		Short:  "Render for the process that started this one",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return pool.Serve(os.Stdin, os.Stdout, map[string]pool.Handler{chartHandler: renderChart})
		},
	}
}

const chartHandler = "chart"

// chartWork is a chart to be rendered in a child.
type chartWork struct {
	Chart *helm.Chart `json:"chart"`
	Input helm.Input  `json:"input"`
}

func renderChart(ctx context.Context, in json.RawMessage) (any, error) {
	var work chartWork
	if err := json.Unmarshal(in, &work); err != nil {
		return nil, err
	}
	return helm.Render(ctx, work.Chart, work.Input)
}

// chartsIn renders charts in the children of a pool.
func chartsIn(children *pool.Pool) reconcile.RenderChart {
	return func(ctx context.Context, app string, chart *helm.Chart, in helm.Input) (*helm.Output, error) {
		out := &helm.Output{}
		return out, children.Call(ctx, app, chartHandler, chartWork{chart, in}, out)
	}
}
