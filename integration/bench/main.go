// Command bench measures Tradewind on real parts on this machine: make bench
// BENCH=<regexp> N=<n>. It prints a table and writes bench.json. What is measured is said
// at each case; absolute times are this machine's and no test, so each case also measures
// what the bare parts take for the same work, in the same run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// group is what is measured in one world, one row after the other.
type group struct {
	rows    []string
	measure func(ctx context.Context, runs int) ([]row, error)
}

// groups are all that can be measured, in the order of the table.
func groups() []group {
	list := []group{
		{[]string{"latency-small"}, func(ctx context.Context, runs int) ([]row, error) { return latency(ctx, "latency-small", runs, 0) }},
		{[]string{"latency-500-files"}, func(ctx context.Context, runs int) ([]row, error) {
			return latency(ctx, "latency-500-files", runs, 500)
		}},
		{[]string{"latency-20000-files"}, func(ctx context.Context, runs int) ([]row, error) {
			return latency(ctx, "latency-20000-files", runs, 20_000)
		}},
		{[]string{"image-bump"}, imageLatency},
	}
	for _, n := range []int{100, 500, 1000} {
		list = append(list, group{fanoutRows(n), func(ctx context.Context, _ int) ([]row, error) { return fanout(ctx, n) }})
	}
	return append(list,
		group{gatewayRows(), func(ctx context.Context, _ int) ([]row, error) { return gateway(ctx) }},
		group{holdRows(manyApps), func(ctx context.Context, _ int) ([]row, error) { return hold(ctx, manyApps) }},
	)
}

func main() {
	pattern := flag.String("bench", ".", "regular expression over the names of the rows")
	runs := flag.Int("n", 20, "how often each push is repeated")
	out := flag.String("out", "bench.json", "file for the figures; empty writes none")
	strict := flag.Bool("check", false, "fail when a count of requests or a ratio of processor times is beyond its bound")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rows, err := run(ctx, *pattern, *runs, *out)
	if err == nil && *strict {
		err = check(rows, bounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pattern string, runs int, out string) ([]row, error) {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("reading -bench: %w", err)
	}
	if runs < 1 {
		return nil, fmt.Errorf("-n %d: want at least 1", runs)
	}
	var rows []row
	var names []string
	for _, g := range groups() {
		names = append(names, g.rows...)
		if !slices.ContainsFunc(g.rows, match.MatchString) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s …\n", strings.Join(g.rows, ", "))
		measured, err := g.measure(ctx, runs)
		if err != nil {
			return nil, fmt.Errorf("measuring %s: %w", g.rows[0], err)
		}
		for _, r := range measured {
			if match.MatchString(r.Name) {
				rows = append(rows, r)
			}
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no row matches %q; there are: %s", pattern, strings.Join(names, ", "))
	}
	return rows, report(os.Stdout, rows, out)
}
