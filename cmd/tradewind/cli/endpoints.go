package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
)

// endpoint is an address at which an object answers.
type endpoint struct {
	address string
	inner   bool // only inside the cluster
}

// showEndpoints lists where an Application answers as KubeVela's "status --endpoint" does.
func showEndpoints(ctx context.Context, e *env, connect reach, f clusterFlags, arg string) error {
	c, app, err := open(ctx, connect, f, arg)
	if app == nil {
		return err
	}
	entries, err := c.Tracked(ctx, app.Namespace, app.Name)
	if err != nil {
		return refused(err)
	}
	rows := [][]string{{"CLUSTER", "COMPONENT", "REF(KIND/NAMESPACE/NAME)", "ENDPOINT", "INNER"}}
	for _, entry := range entries {
		if !slices.Contains([]string{"Service", "Ingress", "HTTPRoute"}, entry.Kind) {
			continue
		}
		live, err := c.Read(ctx, entry.Ref())
		if apply.IsNotFound(err) {
			continue
		}
		if err != nil {
			return refused(err)
		}
		for _, end := range endpointsOf(live) {
			ref := entry.Kind + "/" + entry.Namespace + "/" + entry.Name
			rows = append(rows, []string{localCluster, cmp.Or(entry.Component, "-"), ref, printable(end.address), strconv.FormatBool(end.inner)})
		}
	}
	if len(rows) == 1 {
		fmt.Fprintf(e.stderr, "%s/%s has no endpoints.\n", app.Namespace, app.Name)
		return nil
	}
	fmt.Fprintf(e.stdout, "Please access %s from the following endpoints:\n", app.Name)
	return writeBordered(e.stdout, rows)
}

func endpointsOf(o *unstructured.Unstructured) []endpoint {
	switch o.GetKind() {
	case "Service":
		return serviceEndpoints(o)
	case "Ingress":
		return ingressEndpoints(o)
	}
	var out []endpoint
	hosts, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "hostnames")
	for _, host := range hosts {
		out = append(out, endpoint{address: "http://" + host})
	}
	return out
}

// serviceEndpoints are the load balancer's addresses, or the name inside the cluster.
func serviceEndpoints(o *unstructured.Unstructured) []endpoint {
	var hosts []string
	for _, balancer := range mapsAt(o.Object, "status", "loadBalancer", "ingress") {
		hosts = append(hosts, cmp.Or(textAt(balancer, "hostname"), textAt(balancer, "ip")))
	}
	inner := len(hosts) == 0
	if inner {
		hosts = []string{o.GetName() + "." + o.GetNamespace()}
	}
	var out []endpoint
	for _, host := range hosts {
		for _, port := range mapsAt(o.Object, "spec", "ports") {
			out = append(out, endpoint{fmt.Sprintf("%s:%v", host, port["port"]), inner})
		}
	}
	return out
}

func ingressEndpoints(o *unstructured.Unstructured) []endpoint {
	var encrypted []string
	for _, tls := range mapsAt(o.Object, "spec", "tls") {
		hosts, _, _ := unstructured.NestedStringSlice(tls, "hosts")
		encrypted = append(encrypted, hosts...)
	}
	var out []endpoint
	for _, rule := range mapsAt(o.Object, "spec", "rules") {
		host := textAt(rule, "host")
		scheme := "http"
		if slices.Contains(encrypted, host) {
			scheme = "https"
		}
		for _, path := range mapsAt(rule, "http", "paths") {
			out = append(out, endpoint{address: scheme + "://" + cmp.Or(host, "*") + strings.TrimSuffix(textAt(path, "path"), "/")})
		}
	}
	return out
}

// mapsAt are the maps in a list; what is no map is left out.
func mapsAt(from map[string]any, path ...string) []map[string]any {
	list, _, _ := unstructured.NestedFieldNoCopy(from, path...)
	elements, _ := list.([]any)
	var out []map[string]any
	for _, e := range elements {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func textAt(from map[string]any, field string) string {
	text, _ := from[field].(string)
	return text
}

// writeBordered draws a frame around every cell; the first row holds the headers.
func writeBordered(w io.Writer, rows [][]string) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for j, cell := range row {
			widths[j] = max(widths[j], displayWidth(cell))
		}
	}
	parts := make([]string, len(widths))
	for i, width := range widths {
		parts[i] = strings.Repeat("-", width+2)
	}
	rule := "+" + strings.Join(parts, "+") + "+"
	var b strings.Builder
	b.WriteString(rule + "\n")
	for i, row := range rows {
		b.WriteByte('|')
		for j, cell := range row {
			before := 0
			if i == 0 {
				before = (widths[j] - displayWidth(cell)) / 2
			}
			b.WriteString(" " + strings.Repeat(" ", before) + cell + strings.Repeat(" ", widths[j]-displayWidth(cell)-before) + " |")
		}
		b.WriteByte('\n')
		if i == 0 {
			b.WriteString(rule + "\n")
		}
	}
	b.WriteString(rule + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}
