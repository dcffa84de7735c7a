package cli

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// labelComponentRevision is on pods that a component's revision made.
const labelComponentRevision = "app.oam.dev/revision"

// showPods lists an Application's pods as KubeVela's "status --pod" does.
func showPods(ctx context.Context, e *env, connect reach, f clusterFlags, arg string) error {
	c, app, err := open(ctx, connect, f, arg)
	if app == nil {
		return err
	}
	t := &table{wrap: listWidth}
	t.add("CLUSTER", "COMPONENT", "POD NAME", "NAMESPACE", "PHASE", "CREATE TIME", "REVISION", "HOST")
	for _, namespace := range namespacesOf(app) {
		pods, err := c.Pods(ctx, namespace, oam.LabelName+"="+app.Name)
		if err != nil {
			return refusedPods(err)
		}
		for _, pod := range pods {
			phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
			host, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
			labels := pod.GetLabels()
			created := pod.GetCreationTimestamp()
			t.add(dashed(localCluster, labels[oam.LabelComponent], pod.GetName(), namespace, phase, timeText(&created), labels[labelComponentRevision], host)...)
		}
	}
	if len(t.rows) == 1 {
		fmt.Fprintf(e.stderr, "%s/%s has no pods.\n", app.Namespace, app.Name)
		return nil
	}
	return t.writeTo(e.stdout)
}
