package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Local is the name of the cluster that Tradewind runs in.
const Local = "local"

// Topology says where components go.
type Topology struct {
	Clusters             []string          `json:"clusters"`
	ClusterLabelSelector map[string]string `json:"clusterLabelSelector"`
	ClusterSelector      map[string]string `json:"clusterSelector"` // the old spelling of it
	AllowEmpty           bool              `json:"allowEmpty"`
	Namespace            string            `json:"namespace"` // empty means the Application's
}

// Replication makes one copy of components for each key.
type Replication struct {
	Keys     []string `json:"keys"`
	Selector []string `json:"selector"` // component names; none means all
}

// Placement is a place that components go to.
type Placement struct {
	Cluster   string
	Namespace string // empty means the Application's
}

// Instance is one component in one place.
type Instance struct {
	oam.Component
	Placement
	ReplicaKey string
}

func readPlacing(p oam.Policy) (placing, error) {
	switch p.Type {
	case TypeTopology:
		t, err := readTopology(p)
		return placing{topology: t}, err
	case TypeOverride:
		o, err := readOverride(p)
		return placing{override: o}, err
	default:
		r, err := readReplication(p)
		return placing{replication: r}, err
	}
}

func readTopology(p oam.Policy) (*Topology, error) {
	if p.Properties == nil {
		return nil, errNoProperties
	}
	t := &Topology{}
	if err := read(p, t); err != nil {
		return nil, err
	}
	_, err := t.placements()
	return t, err
}

func readReplication(p oam.Policy) (*Replication, error) {
	r := &Replication{}
	if err := read(p, r); err != nil {
		return nil, err
	}
	if len(r.Keys) == 0 {
		return nil, errors.New("properties.keys is missing: want one key for each copy")
	}
	for i, key := range r.Keys {
		if key == "" || slices.Index(r.Keys, key) != i {
			return nil, fmt.Errorf("properties.keys[%d]: %q: want a key that no other has", i, key)
		}
	}
	return r, nil
}

// placements are the places that the topology selects. Only the local cluster is known,
// and it has no labels.
func (t *Topology) placements() ([]Placement, error) {
	var out []Placement
	for i, name := range t.Clusters {
		if name != Local {
			return nil, fmt.Errorf("properties.clusters[%d]: cluster %q is not known yet: only %q, the cluster Tradewind runs in, is", i, name, Local)
		}
		out = append(out, Placement{Cluster: Local, Namespace: t.Namespace})
	}
	if len(out) > 0 {
		return out[:1], nil
	}
	if len(t.ClusterLabelSelector)+len(t.ClusterSelector) == 0 {
		return []Placement{{Cluster: Local, Namespace: t.Namespace}}, nil
	}
	if !t.AllowEmpty {
		return nil, errors.New("properties.clusterLabelSelector: no cluster has these labels; set allowEmpty if that is meant")
	}
	return nil, nil
}

// Has says whether there is a policy of that name that a deploy step may use.
func (s *Set) Has(name string) bool {
	_, ok := s.places[name]
	return ok
}

// Deploy is what a deploy step with these policies sends out: every component, as the
// overrides make it, to every place, one copy for each replication key. Policies of other
// types have no meaning here and hold anyway.
func (s *Set) Deploy(names []string, components []oam.Component) ([]Instance, error) {
	var places []Placement
	placed := false
	for _, name := range names {
		if t := s.places[name].topology; t != nil {
			found, err := t.placements()
			if err != nil {
				return nil, fmt.Errorf("policy %q: %w", name, err)
			}
			places, placed = append(places, found...), true
		}
	}
	if !placed {
		places = []Placement{{Cluster: Local}}
	}
	for _, name := range names {
		if o := s.places[name].override; o != nil {
			var err error
			if components, err = o.Apply(components); err != nil {
				return nil, fmt.Errorf("policy %q: %w", name, err)
			}
		}
	}
	var out []Instance
	for _, place := range distinct(places) {
		for _, c := range components {
			for _, key := range s.keys(names, c.Name) {
				out = append(out, Instance{Component: c, Placement: place, ReplicaKey: key})
			}
		}
	}
	return out, nil
}

func distinct(places []Placement) []Placement {
	var out []Placement
	for _, p := range places {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// keys are the replica keys of a component; one empty key when nothing replicates it.
func (s *Set) keys(names []string, component string) []string {
	for _, name := range names {
		r := s.places[name].replication
		if r != nil && (len(r.Selector) == 0 || slices.Contains(r.Selector, component)) {
			return r.Keys
		}
	}
	return []string{""}
}

// ID names an instance in messages, as KubeVela does.
func (i Instance) ID(namespace string) string {
	id := cmp.Or(i.Cluster, Local) + "/" + cmp.Or(i.Namespace, namespace)
	if i.ReplicaKey != "" {
		id += "/" + i.ReplicaKey
	}
	return id + "/" + i.Name
}
