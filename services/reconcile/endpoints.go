package reconcile

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/policy"
)

// endpoints are the addresses under which a Service or Ingress can be reached.
func endpoints(o *unstructured.Unstructured, component string) []any {
	var found []map[string]any
	switch o.GetKind() {
	case "Service":
		found = serviceEndpoints(o)
	case "Ingress":
		found = ingressEndpoints(o)
	}
	out := make([]any, 0, len(found))
	for _, e := range found {
		out = append(out, map[string]any{
			"endpoint": e, "cluster": policy.Local, "component": component,
			"ref": map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "namespace": o.GetNamespace(), "name": o.GetName()},
		})
	}
	return out
}

func serviceEndpoints(o *unstructured.Unstructured) []map[string]any {
	var out []map[string]any
	ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
	for _, port := range ports {
		p, _ := port.(map[string]any)
		for _, host := range append(loadBalanced(o), o.GetName()+"."+o.GetNamespace()) {
			out = append(out, map[string]any{
				"protocol": "TCP", "host": host, "port": p["port"], "portName": params(p).text("name"), "appProtocol": params(p).text("appProtocol"),
				"inner": host == o.GetName()+"."+o.GetNamespace(),
			})
		}
	}
	return out
}

func loadBalanced(o *unstructured.Unstructured) []string {
	var out []string
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "loadBalancer", "ingress")
	for _, entry := range list {
		e, _ := entry.(map[string]any)
		if host := params(e).text("hostname"); host != "" {
			out = append(out, host)
		} else if ip := params(e).text("ip"); ip != "" {
			out = append(out, ip)
		}
	}
	return out
}

func ingressEndpoints(o *unstructured.Unstructured) []map[string]any {
	scheme, port := "http", int64(80)
	if tls, _, _ := unstructured.NestedSlice(o.Object, "spec", "tls"); len(tls) > 0 {
		scheme, port = "https", 443
	}
	var out []map[string]any
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	for _, rule := range rules {
		r, _ := rule.(map[string]any)
		if host := params(r).text("host"); host != "" {
			out = append(out, map[string]any{"protocol": "TCP", "appProtocol": scheme, "host": host, "port": port, "inner": false})
		}
	}
	return out
}
