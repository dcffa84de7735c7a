package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

const (
	managedBy = "app.kubernetes.io/managed-by"

	filterLabels      = "filter.oam.dev/label-keys"      // keys that objects do not get
	filterAnnotations = "filter.oam.dev/annotation-keys" // the same for annotations
)

// mark gives an object of a definition the labels and annotations that KubeVela's users
// select by, over those of the Application and of the definition.
func mark(o Object, c oam.Component, rc Context) {
	labels := passedOn(rc.AppLabels, rc.AppAnnotations[filterLabels], isOurLabel)
	maps.Copy(labels, o.GetLabels())
	maps.Copy(labels, map[string]string{
		oam.LabelName: rc.AppName, oam.LabelNamespace: rc.home(), oam.LabelComponent: c.Name,
		oam.LabelRevision: rc.AppRevision, oam.LabelResourceType: o.Role,
	})
	if o.Role == oam.ResourceWorkload {
		labels[oam.LabelWorkloadType] = labelValue(c.Type)
	} else {
		labels[oam.LabelTraitType], labels[oam.LabelTraitKey] = labelValue(o.Trait), o.Key
	}
	if rc.ReplicaKey != "" {
		labels["app.oam.dev/replicaKey"] = rc.ReplicaKey
	}
	if rc.Cluster != "" {
		labels["app.oam.dev/cluster"] = rc.Cluster
	}
	setManagedBy(labels)
	o.SetLabels(labels)

	annotations := passedOn(rc.AppAnnotations, rc.AppAnnotations[filterAnnotations], isOurAnnotation)
	maps.Copy(annotations, o.GetAnnotations())
	if len(annotations) > 0 {
		o.SetAnnotations(annotations)
	} else {
		unstructured.RemoveNestedField(o.Object, "metadata", "annotations") // a template may leave it empty
	}
}

// labelValue writes a pinned type, "web@v3", as a label can hold it.
func labelValue(typ string) string { return strings.ReplaceAll(typ, "@", "-") }

// passedOn copies the Application's own labels or annotations, as KubeVela does, without
// those that the user withholds and those that are about the Application itself.
func passedOn(from map[string]string, withheld string, ours func(key string) bool) map[string]string {
	var without []string
	for key := range strings.SplitSeq(withheld, ",") {
		without = append(without, strings.TrimSpace(key))
	}
	out := map[string]string{}
	for k, v := range from {
		if !ours(k) && !slices.Contains(without, k) {
			out[k] = v
		}
	}
	return out
}

// isOurLabel tells the labels that an engine wrote on a child Application: they name its
// parent, and its render hash changes whenever it is applied.
func isOurLabel(key string) bool {
	group, _, _ := strings.Cut(key, "/")
	return bySyncer(group) || key == managedBy || strings.HasSuffix(group, "oam.dev")
}

// isOurAnnotation tells what a tool wrote for itself from what the user wrote.
func isOurAnnotation(key string) bool {
	group, name, _ := strings.Cut(key, "/")
	return bySyncer(group) || group == "filter.oam.dev" || group == "oam.dev" || strings.HasPrefix(name, "last-applied")
}

func bySyncer(group string) bool {
	return group == "tradewind.dev" || strings.HasSuffix(group, ".tradewind.dev") || strings.HasSuffix(group, ".toolkit.fluxcd.io")
}

func setManagedBy(labels map[string]string) {
	if labels[managedBy] == "" {
		labels[managedBy] = "tradewind"
	}
}

// own gives an object from Git its namespace and the mark of whose path it comes from.
func (r *Renderer) own(o Object, rc Context, src *Source) {
	if src.TargetNamespace != "" {
		o.SetNamespace(src.TargetNamespace)
	}
	r.place(o.Unstructured, rc.Namespace)
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[oam.LabelSource] = rc.home() + "." + rc.AppName
	setManagedBy(labels)
	o.SetLabels(labels)
}

// place clears the namespace of cluster-scoped kinds and fills in an absent one.
func (r *Renderer) place(o *unstructured.Unstructured, namespace string) {
	if !r.isNamespaced(o.GroupVersionKind().GroupKind()) {
		o.SetNamespace("")
	} else if o.GetNamespace() == "" {
		o.SetNamespace(namespace)
	}
}

func (r *Renderer) isNamespaced(gk schema.GroupKind) bool {
	if r.namespaced != nil {
		if namespaced, known := r.namespaced(gk); known {
			return namespaced
		}
	}
	return !slices.Contains(clusterScoped[gk.Group], gk.Kind)
}

// clusterScoped lists the cluster-scoped kinds that people put in Git, by group, for
// when no cluster can be asked.
var clusterScoped = map[string][]string{
	"":                             {"Namespace", "Node", "PersistentVolume"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"certificates.k8s.io":          {"CertificateSigningRequest"},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
	"gateway.networking.k8s.io":    {"GatewayClass"},
	"networking.k8s.io":            {"IngressClass"},
	"node.k8s.io":                  {"RuntimeClass"},
	"resource.k8s.io":              {"DeviceClass"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"snapshot.storage.k8s.io":      {"VolumeSnapshotClass", "VolumeSnapshotContent"},
	"storage.k8s.io":               {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"},
	"admissionregistration.k8s.io": {
		"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
	},
}

type objectID struct{ group, kind, namespace, name string }

func idOf(o *unstructured.Unstructured) objectID {
	gk := o.GroupVersionKind().GroupKind()
	return objectID{gk.Group, gk.Kind, o.GetNamespace(), o.GetName()}
}

func checkDuplicates(objects []Object) error {
	seen := map[objectID]Object{}
	for _, o := range objects {
		id := idOf(o.Unstructured)
		if first, ok := seen[id]; ok {
			return &Error{File: o.Origin, Line: o.Line, Err: fmt.Errorf("%s %s is defined here and in %s: keep one", id.kind, id.name, first.place())}
		}
		seen[id] = o
	}
	return nil
}
