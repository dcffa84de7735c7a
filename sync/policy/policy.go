// Package policy reads the policies of an Application: where its components go
// (topology), how they differ there (override, replication), and what rules hold for the
// objects they become. In go the policies as they are written, out comes a [Set] that
// answers these questions. It is pure: what a rule means for a cluster is package apply's
// business.
//
// A policy that cannot be read is an error that names it and the field; none is ignored
// silently, because a rule that does not hold may delete something.
package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// The policy types that have a meaning here.
const (
	TypeTopology       = "topology"
	TypeOverride       = "override"
	TypeReplication    = "replication"
	TypeApplyOnce      = "apply-once"
	TypeGarbageCollect = "garbage-collect"
	TypeReadOnly       = "read-only"
	TypeTakeOver       = "take-over"
	TypeSharedResource = "shared-resource"
	TypeResourceUpdate = "resource-update"
)

// ignored are accepted and mean nothing here: debugging needs no switch, and health is
// always watched.
var ignored = map[string]bool{"debug": true, "health": true}

// Set is all policies of one Application.
type Set struct {
	places map[string]placing // by name: what deploy steps refer to
	// Custom are those of a type that a PolicyDefinition defines.
	Custom []oam.Policy
	// Collect says what becomes of objects that are not wanted any more.
	Collect GarbageCollect

	once     []onceRule
	frozen   bool // apply-once without rules
	readOnly []Selector
	takeOver []Selector
	shared   []Selector
	updates  []updateRule
}

// placing is a policy that a deploy step may name; exactly one part is set.
type placing struct {
	topology    *Topology
	override    *Override
	replication *Replication
}

// Parse reads policies, of which all have names ([oam.Spec.Defaulted]). Defined says
// whether a type that is not built in has a definition; nil means none has.
func Parse(policies []oam.Policy, defined func(policyType string) bool) (*Set, error) {
	s := &Set{places: map[string]placing{}}
	for _, p := range policies {
		if _, ok := s.places[p.Name]; ok {
			return nil, fmt.Errorf("policy %q: there are two of that name", p.Name)
		}
		if err := s.add(p, defined); err != nil {
			return nil, fmt.Errorf("policy %q: %w", p.Name, err)
		}
	}
	return s, nil
}

func (s *Set) add(p oam.Policy, defined func(string) bool) error {
	switch p.Type {
	case TypeTopology, TypeOverride, TypeReplication:
		place, err := readPlacing(p)
		s.places[p.Name] = place
		return err
	case TypeApplyOnce:
		return s.addApplyOnce(p)
	case TypeGarbageCollect:
		return s.addGarbageCollect(p)
	case TypeReadOnly:
		return addSelectors(&s.readOnly, p)
	case TypeTakeOver:
		return addSelectors(&s.takeOver, p)
	case TypeSharedResource:
		return addSelectors(&s.shared, p)
	case TypeResourceUpdate:
		return s.addResourceUpdate(p)
	}
	switch {
	case ignored[p.Type]:
	case defined != nil && defined(p.Type):
		s.Custom = append(s.Custom, p)
	default:
		return &UnknownTypeError{Type: p.Type}
	}
	return nil
}

// UnknownTypeError is of a policy type that is neither built in nor defined.
type UnknownTypeError struct{ Type string }

func (e *UnknownTypeError) Error() string { return fmt.Sprintf("type %q is not known", e.Type) }

// Hint says which types there are.
func (e *UnknownTypeError) Hint() string {
	return "built-in policy types: " + strings.Join([]string{
		TypeApplyOnce, "debug", TypeGarbageCollect, "health", TypeOverride, TypeReadOnly, TypeReplication,
		TypeResourceUpdate, TypeSharedResource, TypeTakeOver, TypeTopology,
	}, ", ") + "; any other needs a PolicyDefinition"
}

var errNoProperties = errors.New("properties are missing")

// read decodes properties; without any, into keeps its zero value.
func read(p oam.Policy, into any) error {
	if p.Properties == nil {
		return nil
	}
	return oam.Decode("properties", p.Properties, into)
}
