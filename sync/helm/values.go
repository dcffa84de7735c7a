package helm

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"
)

// maxValues bounds one document of values.
const maxValues = 4 << 20

// ValuesOf merges what a component gives its chart. from holds what was read for each
// entry of ValuesFrom, nil where an optional one is not there. Later entries win, inline
// values win over those, and entries with a targetPath over all.
func (s *Spec) ValuesOf(from [][]byte) (map[string]any, error) {
	out := map[string]any{}
	for i, v := range s.ValuesFrom {
		if v.TargetPath != "" || from[i] == nil {
			continue
		}
		doc, err := document(from[i])
		if err != nil {
			return nil, fmt.Errorf("%s %s, key %s: %w", v.Kind, v.Name, v.Key, err)
		}
		out = loader.MergeMaps(out, doc)
	}
	out = loader.MergeMaps(out, copied(s.Values))
	for i, v := range s.ValuesFrom {
		if v.TargetPath == "" || from[i] == nil {
			continue
		}
		if err := place(out, v.TargetPath, string(from[i])); err != nil {
			// The value may be a password: the error must not hold it.
			return nil, fmt.Errorf("%s %s, key %s: its value cannot be put at targetPath %q", v.Kind, v.Name, v.Key, v.TargetPath)
		}
	}
	return out, nil
}

// document reads values. Its errors hold nothing of them.
func document(data []byte) (map[string]any, error) {
	if len(data) > maxValues {
		return nil, fmt.Errorf("it takes more than %d MiB", maxValues>>20)
	}
	var out map[string]any
	if err := yaml.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("it is not a YAML object")
	}
	return out, nil
}

// copied is values that may be changed.
func copied(values map[string]any) map[string]any {
	raw, err := json.Marshal(values)
	out := map[string]any{}
	if err != nil || json.Unmarshal(raw, &out) != nil || out == nil {
		return map[string]any{}
	}
	return out
}

// place sets one value as helm --set does: numbers and booleans as such, text in quotes
// as it stands, and nothing in it has a meaning.
func place(values map[string]any, at, value string) error {
	value = strings.TrimRight(value, "\n")
	for _, quote := range []string{`"`, `'`} {
		if len(value) > 1 && strings.HasPrefix(value, quote) && strings.HasSuffix(value, quote) {
			return strvals.ParseLiteralInto(at+"="+value[1:len(value)-1], values)
		}
	}
	_, notNumber := strconv.ParseInt(value, 10, 64)
	if value == "true" || value == "false" || value == "null" || notNumber == nil {
		return strvals.ParseInto(at+"="+value, values)
	}
	return strvals.ParseLiteralInto(at+"="+value, values)
}

// WithValuesFiles returns the chart with other default values: those of the named files,
// later ones over earlier ones, in place of its own values.yaml. open reads a file of the
// source; nil means that the names are of files in the chart.
func (c *Chart) WithValuesFiles(names []string, open func(name string) ([]byte, error)) (*Chart, error) {
	if len(names) == 0 {
		return c, nil
	}
	if open == nil {
		open = c.file
	}
	merged := map[string]any{}
	for _, name := range names {
		data, err := open(path.Clean(strings.TrimPrefix(name, "./")))
		if err != nil {
			return nil, fmt.Errorf("values file %q: %w", name, err)
		}
		doc, err := document(data)
		if err != nil {
			return nil, fmt.Errorf("values file %q: %w", name, err)
		}
		merged = loader.MergeMaps(merged, doc)
	}
	data, err := yaml.Marshal(merged)
	if err != nil {
		return nil, err
	}
	out := *c
	out.Digest = digestOf([]byte(c.Digest + "\x00" + string(data)))
	out.files = make([]*archive.BufferedFile, 0, len(c.files)+1)
	for _, f := range c.files {
		if f.Name != defaultValuesKey {
			out.files = append(out.files, f)
		}
	}
	out.files = append(out.files, &archive.BufferedFile{Name: defaultValuesKey, Data: data})
	return &out, nil
}

func (c *Chart) file(name string) ([]byte, error) {
	for _, f := range c.files {
		if f.Name == name {
			return f.Data, nil
		}
	}
	return nil, fmt.Errorf("the chart has no such file")
}

// Input names everything that a release is made from: while it is the same, nothing is
// rendered and nothing is written.
func (s *Spec) Input(c *Chart, values map[string]any) (string, error) {
	raw, err := json.Marshal(map[string]any{
		"chart": c.Digest, "values": values, "name": s.ReleaseName, "namespace": s.Namespace, "upgradeCRD": s.UpgradeCRD,
	})
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(digestOf(raw), "sha256:")[:32], nil
}
