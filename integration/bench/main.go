// Command bench measures Tradewind on real parts on this machine: make bench
// BENCH=<regexp>. It prints a table and writes bench.json. What is measured, and how, is
// the protocol of each case; absolute times are this machine's and no test.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
)

// row is one figure. Durations are milliseconds.
type row struct {
	Name       string  `json:"name"`
	Value      float64 `json:"value"` // the median
	Unit       string  `json:"unit"`
	Min        float64 `json:"min"`
	Median     float64 `json:"median"`
	P95        float64 `json:"p95"`
	OwnCPU     float64 `json:"own_cpu_s"` // of Tradewind, per operation
	PeakRSSMiB float64 `json:"peak_rss_mib"`
}

// cases are what can be measured, in the order of the table.
var cases = []struct {
	name    string
	measure func(ctx context.Context, runs int) (row, error)
}{
	{"latency-small", func(ctx context.Context, runs int) (row, error) { return latency(ctx, runs, 0) }},
	{"latency-500-files", func(ctx context.Context, runs int) (row, error) { return latency(ctx, runs, 500) }},
}

func main() {
	pattern := flag.String("bench", ".", "regular expression over the names of the cases")
	runs := flag.Int("n", 20, "how often each operation is repeated")
	out := flag.String("out", "bench.json", "file for the figures; empty writes none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *pattern, *runs, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pattern string, runs int, out string) error {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("reading -bench: %w", err)
	}
	var rows []row
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
		if !match.MatchString(c.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s …\n", c.name)
		r, err := c.measure(ctx, runs)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", c.name, err)
		}
		r.Name = c.name
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return fmt.Errorf("no case matches %q; there are: %s", pattern, strings.Join(names, ", "))
	}
	return report(rows, out)
}

func report(rows []row, out string) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "CASE\tMIN\tMEDIAN\tP95\tUNIT\tOWN CPU\tRSS\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%s\t%.3f s\t%.0f MiB\t\n", r.Name, r.Min, r.Median, r.P95, r.Unit, r.OwnCPU, r.PeakRSSMiB)
	}
	if err := w.Flush(); err != nil || out == "" {
		return err
	}
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o600)
}
