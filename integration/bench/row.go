package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// row is one figure. Value is the median; own_cpu_s, api_cpu_s and mutating_requests are
// for one operation, and with the gateway for a thousand posts.
type row struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Limit    float64 `json:"limit"` // what the bare parts take for the same; 0 when there is nothing to compare with
	Min      float64 `json:"min"`
	Median   float64 `json:"median"`
	P95      float64 `json:"p95"`
	P99      float64 `json:"p99"`
	OwnCPU   float64 `json:"own_cpu_s"`
	APICPU   float64 `json:"api_cpu_s"`
	Mutating float64 `json:"mutating_requests"`
	PeakRSS  float64 `json:"peak_rss_mib"`
}

// The units.
const (
	milliseconds = "ms"
	perSecond    = "/s"
	mebibytes    = "MiB"
	cpuSeconds   = "cpu-s"
)

// stats fills in value, minimum, median and the 95th and 99th percentile.
func (r row) stats(values ...float64) row {
	slices.Sort(values)
	r.Min, r.Median, r.P95, r.P99 = values[0], values[len(values)/2], values[len(values)*95/100], values[len(values)*99/100]
	r.Value = r.Median
	return r
}

// used fills in what the operations cost, each on average.
func (r row) used(u usage, operations float64) row {
	r.OwnCPU, r.APICPU, r.Mutating = u.own/operations, u.api/operations, u.mutating/operations
	r.PeakRSS = u.peak
	return r
}

// told says how far a long measurement is.
func told(r row) row {
	fmt.Fprintf(os.Stderr, "  %s %.1f %s, own CPU %.2f s\n", r.Name, r.Value, r.Unit, r.OwnCPU)
	return r
}

func report(w io.Writer, rows []row, out string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "CASE\tVALUE\tUNIT\tMIN\tMEDIAN\tP95\tP99\tLIMIT\tTIMES LIMIT\tOWN CPU\tAPI CPU\tWRITES\tPEAK RSS\t")
	for _, r := range rows {
		limit, times := "-", "-"
		if r.Limit > 0 {
			limit, times = fmt.Sprintf("%.1f", r.Limit), fmt.Sprintf("%.2f", r.Value/r.Limit)
		}
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%.1f\t%.1f\t%.1f\t%.1f\t%s\t%s\t%.3f s\t%.3f s\t%.1f\t%.0f MiB\t\n",
			r.Name, r.Value, r.Unit, r.Min, r.Median, r.P95, r.P99, limit, times, r.OwnCPU, r.APICPU, r.Mutating, r.PeakRSS)
	}
	if err := t.Flush(); err != nil || out == "" {
		return err
	}
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o600)
}
