package helm

import (
	"context"
	"fmt"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	chartutil "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	v2util "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	rspb "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"
)

// Input is what a chart is rendered with, besides its own files.
type Input struct {
	Name        string         `json:"name"`
	Namespace   string         `json:"namespace"`
	Revision    int            `json:"revision"`
	Upgrade     bool           `json:"upgrade"`
	Values      map[string]any `json:"values"`
	KubeVersion string         `json:"kubeVersion"` // "v1.37.2"; empty is the newest that Helm knows
}

// Output is a rendered chart.
type Output struct {
	Manifest string       `json:"manifest"`
	Hooks    []*rspb.Hook `json:"hooks"`
	Notes    string       `json:"notes"`
}

// maxOutput bounds what templates may write; a release record takes no more than 1 MiB
// when it is compressed.
const maxOutput = 16 << 20

// Render renders a chart. It reads nothing but its arguments and writes nothing, and all
// that goes in and comes out can be written as JSON, so that it can run in another process.
func Render(ctx context.Context, c *Chart, in Input) (out *Output, err error) {
	defer func() {
		if p := recover(); p != nil { // one Application pays for a hostile template
			out, err = nil, fmt.Errorf("rendering chart %s panicked: %w", c.Name, oneLine(fmt.Errorf("%v", p)))
		}
	}()
	values := copied(in.Values)
	loaded, err := c.with(values)
	if err != nil {
		return nil, err
	}
	if err := localSchemas(loaded); err != nil {
		return nil, err
	}
	capabilities, err := capabilitiesOf(in.KubeVersion)
	if err != nil {
		return nil, err
	}
	if want := loaded.Metadata.KubeVersion; want != "" && !v2util.IsCompatibleRange(want, capabilities.KubeVersion.String()) {
		return nil, &Error{Err: fmt.Errorf("chart %s wants Kubernetes %s, this is %s", c.Name, want, capabilities.KubeVersion), Advice: "choose another version of the chart"}
	}
	all, err := chartutil.ToRenderValues(loaded, values, common.ReleaseOptions{
		Name: in.Name, Namespace: in.Namespace, Revision: in.Revision, IsInstall: !in.Upgrade, IsUpgrade: in.Upgrade,
	}, capabilities)
	if err != nil {
		return nil, &Error{Err: oneLine(err), Advice: "correct properties.values"}
	}
	// Without a client provider lookup finds nothing; DNS is off unless it is asked for.
	files, err := engine.Engine{}.RenderWithContext(ctx, loaded, all)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("rendering the templates: %w", oneLine(err))}
	}
	return sorted(loaded, files)
}

// with is the chart with those of its dependencies that the values switch on.
func (c *Chart) with(values map[string]any) (*chart.Chart, error) {
	loaded, err := load(c.files)
	if err != nil {
		return nil, err
	}
	if err := v2util.ProcessDependencies(loaded, values); err != nil {
		return nil, fmt.Errorf("the chart's dependencies: %w", oneLine(err))
	}
	return loaded, nil
}

func capabilitiesOf(version string) (*common.Capabilities, error) {
	capabilities := common.DefaultCapabilities.Copy()
	if version == "" {
		return capabilities, nil
	}
	parsed, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, fmt.Errorf("version %q of the cluster: %w", version, err)
	}
	capabilities.KubeVersion = *parsed
	return capabilities, nil
}

// sorted tells manifests, hooks and notes apart.
func sorted(c *chart.Chart, files map[string]string) (*Output, error) {
	out := &Output{}
	size := 0
	for name, content := range files {
		if size += len(content); size > maxOutput {
			return nil, fmt.Errorf("the templates write more than %d MiB", maxOutput>>20)
		}
		if path.Base(name) == "NOTES.txt" {
			if name == path.Join(c.ChartFullPath(), "templates", "NOTES.txt") {
				out.Notes = content
			}
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("what the templates write is not YAML: %w", oneLine(err))}
	}
	var b strings.Builder
	for _, m := range manifests {
		fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", m.Name, m.Content)
	}
	out.Manifest, out.Hooks = b.String(), hooks
	return out, nil
}

// localSchemas refuses a schema of values that leads out of the chart: Helm would fetch
// it, or open the file.
func localSchemas(c *chart.Chart) error {
	if len(c.Schema) > 0 {
		var schema any
		if err := yaml.Unmarshal(c.Schema, &schema); err != nil {
			return fmt.Errorf("values.schema.json of chart %s: %w", c.Name(), oneLine(err))
		}
		if ref := remoteRef(schema); ref != "" {
			return &Error{Err: fmt.Errorf("values.schema.json of chart %s refers to %q, outside of itself", c.Name(), ref), Advice: "put the schema into the file"}
		}
	}
	for _, sub := range c.Dependencies() {
		if err := localSchemas(sub); err != nil {
			return err
		}
	}
	return nil
}

func remoteRef(v any) string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if ref := remoteRef(e); ref != "" {
				return ref
			}
		}
	case map[string]any:
		for key, e := range v {
			text, isText := e.(string)
			switch {
			case isText && (key == "$ref" || key == "$dynamicRef" || key == "$recursiveRef") && !strings.HasPrefix(text, "#"):
				return text
			case isText && key == "$schema" && !strings.Contains(text, "//json-schema.org/"):
				return text
			}
			if ref := remoteRef(e); ref != "" {
				return ref
			}
		}
	}
	return ""
}
