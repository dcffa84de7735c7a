package step

import "maps"

// legacyFunctions leads from the names of the package vela/op, which has the functions of
// all others, to those of the packages.
var legacyFunctions = map[string]function{
	"apply":             {"kube", "apply"},
	"apply-in-parallel": {"kube", "apply-in-parallel"},
	"patch":             {"kube", "patch"},
	"read":              {"kube", "read"},
	"list":              {"kube", "list"},
	"delete":            {"kube", "delete"},

	"do":        {"http", "do"},
	"send":      {"email", "send"},
	"promCheck": {"metrics", "promCheck"},
	"timestamp": {"time", "timestamp"},
	"date":      {"time", "date"},

	"string":           {"util", "string"},
	"log":              {"util", "log"},
	"patch-k8s-object": {"util", "patch-k8s-object"},

	"wait":    {"builtin", "wait"},
	"suspend": {"builtin", "suspend"},
	"fail":    {"builtin", "fail"},
	"break":   {"builtin", "break"},
	"message": {"builtin", "message"},
	"var":     {"builtin", "var"},

	"component-apply":     {"oam", "component-apply"},
	"component-render":    {"oam", "component-render"},
	"load":                {"oam", "load"},
	"load-policies":       {"oam", "load-policies"},
	"load-comps-in-order": {"oam", "load-comps-in-order"},

	"deploy":                                {"multicluster", "deploy"},
	"list-clusters":                         {"multicluster", "list-clusters"},
	"get-placements-from-topology-policies": {"multicluster", "get-placements-from-topology-policies"},

	"create-config": {"config", "create"},
	"read-config":   {"config", "read"},
	"list-config":   {"config", "list"},
	"delete-config": {"config", "delete"},
}

// inlineParams are the fields of an action in the old form that are its parameters; the
// others are results, or what a template adds. Functions that are not here have no results
// beside their parameters.
var inlineParams = map[function][]string{
	{"kube", "apply"}:             {"value", "cluster", "patch"},
	{"kube", "apply-in-parallel"}: {"value", "cluster"},
	{"kube", "patch"}:             {"value", "cluster", "patch"},
	{"kube", "read"}:              {"value", "cluster"},
	{"kube", "list"}:              {"resource", "filter", "cluster"},
	{"kube", "delete"}:            {"value", "filter", "cluster"},

	{"http", "do"}:           {"method", "url", "request", "tls_config"},
	{"email", "send"}:        {"from", "to", "content"},
	{"metrics", "promCheck"}: {"query", "metricEndpoint", "condition", "duration", "failDuration", "stepID"},
	{"time", "timestamp"}:    {"date", "layout"},
	{"time", "date"}:         {"timestamp", "layout"},

	{"util", "log"}:              {"data", "level", "source"},
	{"util", "patch-k8s-object"}: {"value", "patch"},
	{"builtin", "var"}:           {"method", "path", "value"},

	{"oam", "component-apply"}:     {"value", "cluster", "env", "namespace", "waitHealthy", "patch"},
	{"oam", "component-render"}:    {"value", "cluster", "env", "namespace", "patch"},
	{"oam", "load"}:                {"app"},
	{"oam", "load-policies"}:       {"app"},
	{"oam", "load-comps-in-order"}: {"app"},

	{"multicluster", "list-clusters"}:                         {},
	{"multicluster", "get-placements-from-topology-policies"}: {"policies"},

	{"config", "create"}: {"name", "namespace", "template", "config"},
	{"config", "read"}:   {"name", "namespace"},
	{"config", "list"}:   {"template", "namespace"},
	{"config", "delete"}: {"name", "namespace"},

	{"query", "listResourcesInApp"}:      {"app"},
	{"query", "listAppliedResources"}:    {"app"},
	{"query", "collectResources"}:        {"app"},
	{"query", "collectServiceEndpoints"}: {"app"},
	{"query", "searchEvents"}:            {"value", "cluster"},
	{"query", "collectLogsInPod"}:        {"cluster", "namespace", "pod", "options"},
}

// inlineResult is what a function returned in the form of the old spelling.
func inlineResult(f function, returned map[string]any) map[string]any {
	switch f {
	case function{"http", "do"}:
		return map[string]any{"response": returned}
	case function{"kube", "list"}:
		out := map[string]any{}
		maps.Copy(out, returned)
		if values, ok := out["values"]; ok {
			delete(out, "values")
			out["list"] = values
		}
		return out
	}
	return returned
}

// unsaid leaves out of returned what said has a word for. In the old form the parameter
// and the result are one field: what a template wrote there stands, although the cluster
// may spell it another way ("1" for "1000m").
func unsaid(returned, said any) (any, bool) {
	have, ok := returned.(map[string]any)
	wrote, alike := said.(map[string]any)
	if !ok || !alike {
		return returned, said == nil
	}
	out := map[string]any{}
	for k, v := range have {
		before, ok := wrote[k]
		if !ok {
			out[k] = v
		} else if rest, ok := unsaid(v, before); ok {
			out[k] = rest
		}
	}
	return out, true
}
