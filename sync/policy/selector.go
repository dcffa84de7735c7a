package policy

import (
	"fmt"
	"slices"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Selector says which objects a rule is about: all fields that are given must match, each
// by one of its values. An empty one matches nothing.
type Selector struct {
	ComponentNames []string `json:"componentNames"`
	ComponentTypes []string `json:"componentTypes"`
	OAMTypes       []string `json:"oamTypes"` // WORKLOAD or TRAIT
	TraitTypes     []string `json:"traitTypes"`
	ResourceTypes  []string `json:"resourceTypes"` // kinds
	ResourceNames  []string `json:"resourceNames"`
}

// Object is what a selector sees of an object.
type Object struct {
	Component, ComponentType, OAMType, TraitType, Kind, Name string
}

// ObjectOf reads an object's part in its Application off the labels it was rendered with.
func ObjectOf(kind, name, component string, labels map[string]string) Object {
	if c := labels[oam.LabelComponent]; c != "" {
		component = c
	}
	return Object{
		Component: component, ComponentType: labels[oam.LabelWorkloadType], OAMType: labels[oam.LabelResourceType],
		TraitType: labels[oam.LabelTraitType], Kind: kind, Name: name,
	}
}

// Matches says whether the rule is about o.
func (s Selector) Matches(o Object) bool {
	given := false
	for _, f := range []struct {
		values []string
		value  string
	}{
		{s.ComponentNames, o.Component}, {s.ComponentTypes, o.ComponentType}, {s.OAMTypes, o.OAMType},
		{s.TraitTypes, o.TraitType}, {s.ResourceTypes, o.Kind}, {s.ResourceNames, o.Name},
	} {
		if len(f.values) == 0 {
			continue
		}
		given = true
		if !slices.Contains(f.values, f.value) {
			return false
		}
	}
	return given
}

func matchesAny(selectors []Selector, o Object) bool {
	return slices.ContainsFunc(selectors, func(s Selector) bool { return s.Matches(o) })
}

// addSelectors reads a policy whose rules are selectors and nothing else.
func addSelectors(into *[]Selector, p oam.Policy) error {
	var props struct {
		Rules []struct {
			Selector Selector `json:"selector"`
		} `json:"rules"`
	}
	if err := read(p, &props); err != nil {
		return err
	}
	for _, r := range props.Rules {
		*into = append(*into, r.Selector)
	}
	return nil
}

// oneOf refuses a word that has no meaning.
func oneOf(field, given string, allowed ...string) error {
	if given == "" || slices.Contains(allowed, given) {
		return nil
	}
	return fmt.Errorf("%s: %q given, one of %q wanted", field, given, allowed)
}
