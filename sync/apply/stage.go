package apply

import "slices"

// stages groups items by what must be there before what, and orders each group.
func stages(items []Item) [][]Item {
	out := make([][]Item, lastStage+1)
	for _, item := range items {
		n := stageOf(RefOf(item.Object))
		out[n] = append(out[n], item)
	}
	for _, stage := range out {
		slices.SortStableFunc(stage, func(a, b Item) int { return rank(a.Object.GetKind()) - rank(b.Object.GetKind()) })
	}
	return out
}

const (
	firstStage = 0
	lastStage  = 3
)

// stageOf puts what others need first: kinds and namespaces, then classes, accounts and
// rights, then the rest; last what may refuse others until its own workload runs.
func stageOf(ref ObjectRef) int {
	switch ref.Kind {
	case "CustomResourceDefinition", "Namespace", "ClusterRole":
		return firstStage
	case "StorageClass", "IngressClass", "PriorityClass", "RuntimeClass", "GatewayClass", "VolumeSnapshotClass", "DeviceClass",
		"ServiceAccount", "Role", "ClusterRoleBinding", "RoleBinding", "ResourceQuota", "LimitRange":
		return 1
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding":
		return lastStage
	}
	return 2
}

// rank orders kinds inside a stage so that a workload finds what it mounts.
func rank(kind string) int {
	switch kind {
	case "Namespace":
		return 0
	case "ConfigMap", "Secret", "PersistentVolume", "PersistentVolumeClaim", "ComponentDefinition", "TraitDefinition", "PolicyDefinition", "WorkflowStepDefinition":
		return 1
	case "Service":
		return 2
	}
	return 3
}
