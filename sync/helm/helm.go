// Package helm brings Helm charts: it fetches a chart that a component names, works out
// its values, renders it, and keeps the records by which `helm ls`, `helm history` and
// `helm get` know the release.
//
// In: a component of type helm, what its Secrets and ConfigMaps hold, and the records of
// the release so far. Out: a chart, a manifest, and what the release needs next. It
// promises that rendering is a pure function of chart and values (no lookup in a cluster,
// no DNS, no remote schema, nothing outside the chart), that a chart is what its digest
// says, and that a release goes from one state to the next by its records alone, so that
// whoever reads them can carry on. It refuses archives with links or escaping names, plain
// http to hosts that were not listed, and dependencies that are not inside the chart.
//
// It applies nothing: the objects of a release are delivered as all others are. It is the
// only user of Helm's Go packages.
package helm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// ComponentType is the component type whose objects come from a chart.
const ComponentType = "helm"

// Chart is one version of a chart. It must not be changed.
type Chart struct {
	Name    string
	Version string
	// Digest names the content: of the archive, or of name and version for a chart in a
	// Git tree, because there a release follows the version and not each commit.
	Digest string

	files []*archive.BufferedFile // Helm changes a loaded chart while it renders; these stay
}

// wireChart is a chart on its way to another process.
type wireChart struct {
	Name    string     `json:"name"`
	Version string     `json:"version"`
	Digest  string     `json:"digest"`
	Files   []wireFile `json:"files"`
}

type wireFile struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// MarshalJSON writes all of the chart.
func (c *Chart) MarshalJSON() ([]byte, error) {
	w := wireChart{Name: c.Name, Version: c.Version, Digest: c.Digest}
	for _, f := range c.files {
		w.Files = append(w.Files, wireFile{Name: f.Name, Data: f.Data})
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Chart) UnmarshalJSON(data []byte) error {
	var w wireChart
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*c = Chart{Name: w.Name, Version: w.Version, Digest: w.Digest}
	for _, f := range w.Files {
		c.files = append(c.files, &archive.BufferedFile{Name: f.Name, Data: f.Data})
	}
	return nil
}

// Error is a mistake around a chart, with what to do about it.
type Error struct {
	Err    error
	Advice string
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next, or is empty.
func (e *Error) Hint() string { return e.Advice }

// check says whether a loaded chart can be installed.
func check(c *chart.Chart) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("the chart is not valid: %w", oneLine(err))
	}
	if c.Metadata.Type == "library" {
		return &Error{Err: fmt.Errorf("chart %s is a library", c.Name()), Advice: "name a chart that uses it"}
	}
	var missing []string
	for _, d := range c.Metadata.Dependencies {
		has := func(sub *chart.Chart) bool { return sub.Name() == d.Name }
		if !slices.ContainsFunc(c.Dependencies(), has) {
			missing = append(missing, d.Name)
		}
	}
	if len(missing) > 0 {
		return &Error{Err: fmt.Errorf("chart %s does not hold what it depends on: %s", c.Name(), strings.Join(missing, ", ")),
			Advice: "run helm dependency update and publish the chart with its charts/ folder"}
	}
	return nil
}

// oneLine is text from a chart or a template in a message.
func oneLine(err error) error {
	const most = 800
	s := strings.Join(strings.Fields(err.Error()), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return errors.New(s)
}
