package helm

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// The marks by which Helm itself knows the objects of a release.
// https://helm.sh/docs/topics/charts/#adopting-existing-resources
const (
	annotationName      = "meta.helm.sh/release-name"
	annotationNamespace = "meta.helm.sh/release-namespace"
	labelManagedBy      = "app.kubernetes.io/managed-by"
	managedByHelm       = "Helm"
)

// maxObjects bounds one release.
const maxObjects = 5000

// parse reads a manifest: documents, and lists of objects unfolded.
func parse(manifest string) ([]*unstructured.Unstructured, error) {
	docs := releaseutil.SplitManifests(manifest)
	keys := slices.SortedFunc(maps.Keys(docs), func(a, b string) int {
		return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) // manifest-2 before manifest-10
	})
	var out []*unstructured.Unstructured
	for _, key := range keys {
		objects, err := parseOne(docs[key])
		if err != nil {
			return nil, err
		}
		if out = append(out, objects...); len(out) > maxObjects {
			return nil, fmt.Errorf("the chart makes more than %d objects", maxObjects)
		}
	}
	return out, nil
}

func parseOne(doc string) ([]*unstructured.Unstructured, error) {
	raw, err := yaml.YAMLToJSON([]byte(doc))
	if err != nil {
		return nil, fmt.Errorf("a manifest of the chart is not YAML: %w", oneLine(err))
	}
	var body map[string]any
	if err := utiljson.Unmarshal(raw, &body); err != nil {
		return nil, fmt.Errorf("a manifest of the chart is not an object: %w", oneLine(err))
	}
	if body == nil {
		return nil, nil
	}
	o := &unstructured.Unstructured{Object: body}
	if !o.IsList() {
		if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
			return nil, fmt.Errorf("a manifest of the chart lacks apiVersion, kind or metadata.name (kind %q, name %q)", o.GetKind(), o.GetName())
		}
		return []*unstructured.Unstructured{o}, nil
	}
	list, err := o.ToList()
	if err != nil {
		return nil, fmt.Errorf("a list in the chart: %w", oneLine(err))
	}
	var out []*unstructured.Unstructured
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	return out, nil
}

// own marks an object as Helm does, so that helm and its users recognise it.
func own(o *unstructured.Unstructured, name, namespace string) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationName], annotations[annotationNamespace] = name, namespace
	o.SetAnnotations(annotations)
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelManagedBy] = managedByHelm
	o.SetLabels(labels)
}

// definitions are the CRDs of a chart and of the charts inside it.
func definitions(c *chart.Chart) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, crd := range c.CRDObjects() {
		objects, err := parse(string(crd.File.Data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Clean(crd.Filename), err)
		}
		out = append(out, objects...)
	}
	return out, nil
}
