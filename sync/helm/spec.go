package helm

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// The kinds of places that charts come from.
const (
	RepoHelm = "helm"
	RepoOCI  = "oci"
	RepoGit  = "git"
)

// Spec is what a component of type helm asks for.
type Spec struct {
	RepoType string
	URL      string
	Chart    string // its name, or its path inside a Git repository
	Version  string // a version or a range of them; "*" is the newest stable one
	Git      GitRef

	PullInterval   time.Duration // how often to look for a newer version
	Timeout        time.Duration // of one fetch; 0 means the default
	InstallTimeout time.Duration // until a release must be healthy
	SecretName     string        // credentials, in the Application's namespace

	ReleaseName string
	Namespace   string // of the chart's objects
	Retries     int    // further tries after one that failed
	UpgradeCRD  bool   // apply the chart's CRDs on an upgrade, too

	ValuesFiles []string
	Values      map[string]any
	ValuesFrom  []ValuesFrom
}

// GitRef says which commit; see the kustomize component.
type GitRef struct {
	Branch string `json:"branch"`
	Tag    string `json:"tag"`
	SemVer string `json:"semver"`
	Name   string `json:"name"`
	Commit string `json:"commit"`
}

// ValuesFrom names values in a Secret or ConfigMap of the Application's namespace.
type ValuesFrom struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Key        string `json:"valuesKey"`
	TargetPath string `json:"targetPath"`
	Optional   bool   `json:"optional"`
}

// defaultValuesKey is where values are when valuesKey does not say.
const defaultValuesKey = "values.yaml"

// properties are the component's, as the user writes them.
type properties struct {
	RepoType        string         `json:"repoType"`
	URL             string         `json:"url"`
	Chart           string         `json:"chart"`
	Version         string         `json:"version"`
	PullInterval    string         `json:"pullInterval"`
	Timeout         string         `json:"timeout"`
	InstallTimeout  string         `json:"installTimeout"`
	SecretRef       string         `json:"secretRef"`
	SourceName      string         `json:"sourceName"`
	Git             GitRef         `json:"git"`
	ValuesFiles     []string       `json:"valuesFiles"`
	TargetNamespace string         `json:"targetNamespace"`
	ReleaseName     string         `json:"releaseName"`
	Retries         *int           `json:"retries"`
	Values          map[string]any `json:"values"`
	ValuesFrom      []ValuesFrom   `json:"valuesFrom"`
	UpgradeCRD      bool           `json:"upgradeCRD"`
}

const (
	defaultPullInterval   = 5 * time.Minute
	defaultInstallTimeout = 10 * time.Minute
	defaultRetries        = 3
	mostRetries           = 100
)

// SpecOf reads a component of an Application in namespace; nil when it is of another
// type. What is wrong with it is one error that names every property.
func SpecOf(c oam.Component, namespace string) (*Spec, error) {
	if c.Type != ComponentType {
		return nil, nil
	}
	var p properties
	raw, err := json.Marshal(c.Properties)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("component %q: properties: %w", c.Name, err)
	}
	r := reader{}
	s := &Spec{
		RepoType: cmp.Or(p.RepoType, RepoHelm), URL: p.URL, Chart: p.Chart, Version: cmp.Or(p.Version, "*"), Git: p.Git,
		PullInterval: r.duration("pullInterval", p.PullInterval, defaultPullInterval), Timeout: r.duration("timeout", p.Timeout, 0),
		InstallTimeout: r.duration("installTimeout", p.InstallTimeout, defaultInstallTimeout), SecretName: p.SecretRef,
		ReleaseName: releaseName(p.ReleaseName, p.TargetNamespace, c.Name), Namespace: cmp.Or(p.TargetNamespace, namespace),
		Retries: defaultRetries, UpgradeCRD: p.UpgradeCRD, ValuesFiles: p.ValuesFiles, Values: p.Values, ValuesFrom: p.ValuesFrom,
	}
	if p.Retries != nil {
		s.Retries = *p.Retries
	}
	r.source(s, p)
	r.values(s)
	if len(r.errs) > 0 {
		return nil, fmt.Errorf("component %q: %w", c.Name, errors.New(strings.Join(r.errs, "; ")))
	}
	return s, nil
}

// releaseName follows Flux: what is longer than Helm takes is cut and told apart by a
// hash.
func releaseName(given, target, component string) string {
	const most, kept, hashed = 53, 40, 12
	name := given
	if name == "" {
		name = component
		if target != "" {
			name = target + "-" + component
		}
	}
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:kept] + "-" + hex.EncodeToString(sum[:])[:hashed]
}

// Ranged says that a newer chart may appear without the component being changed.
func (s *Spec) Ranged() bool { return s.RepoType != RepoGit && !exact(s.Version) }

// reader gathers what is wrong.
type reader struct{ errs []string }

func (r *reader) fail(field, format string, args ...any) {
	r.errs = append(r.errs, "properties."+field+": "+fmt.Sprintf(format, args...))
}

func (r *reader) duration(field, given string, fallback time.Duration) time.Duration {
	if given == "" {
		return fallback
	}
	d, err := oam.ParseDuration(given)
	if err != nil {
		r.fail(field, "%v", err)
	}
	return d
}

func (r *reader) source(s *Spec, p properties) {
	if strings.HasPrefix(s.URL, "oci://") && s.RepoType == RepoHelm {
		s.RepoType = RepoOCI
	}
	switch {
	case s.RepoType != RepoHelm && s.RepoType != RepoOCI && s.RepoType != RepoGit:
		r.fail("repoType", "%q is not supported: want helm, oci or git", s.RepoType)
	case s.RepoType == RepoOCI && !strings.HasPrefix(s.URL, "oci://"):
		r.fail("url", "%q: a chart in a registry is written oci://host/path", s.URL)
	}
	if s.URL == "" {
		r.fail("url", "is required: want string")
	}
	if s.Chart == "" {
		r.fail("chart", "is required: want string")
	}
	if p.SourceName != "" {
		r.fail("sourceName", "is not supported: write url here")
	}
	if s.RepoType != RepoGit {
		if _, err := constraint(s.Version); err != nil {
			r.fail("version", "%q is not a version or a range of versions", s.Version)
		}
	}
	if s.Retries < 0 || s.Retries > mostRetries {
		r.fail("retries", "%d given, 0 to %d wanted", s.Retries, mostRetries)
	}
}

func (r *reader) values(s *Spec) {
	for i := range s.ValuesFrom {
		v := &s.ValuesFrom[i]
		at := fmt.Sprintf("valuesFrom[%d]", i)
		v.Key = cmp.Or(v.Key, defaultValuesKey)
		if v.Kind != "Secret" && v.Kind != "ConfigMap" {
			r.fail(at+".kind", "%q given, Secret or ConfigMap wanted", v.Kind)
		}
		if v.Name == "" {
			r.fail(at+".name", "is required: want string")
		}
	}
}
