package policy

import (
	"fmt"
	"slices"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Stage is why objects are applied.
type Stage string

// The stages, in the words of the apply-once policy.
const (
	OnUpdate    Stage = "onUpdate"    // a step of the workflow applies them
	OnStateKeep Stage = "onStateKeep" // they are kept as a step left them
)

const always = "always"

// Rule is what the policies say about applying one object.
type Rule struct {
	ReadOnly bool // never written, never deleted
	TakeOver bool // adopted if it belongs to nobody
	Shared   bool // several Applications may have it
	Replace  bool // replaced as a whole, rather than field by field
	// Recreate are fields whose change deletes the object and creates it anew.
	Recreate []string
	// Kept are fields whose live value stays; "*" is the whole object.
	Kept []string
	// Once says that an object, once applied, is not looked after any more.
	Once bool
}

type onceRule struct {
	Selector Selector `json:"selector"`
	Strategy *struct {
		Affect string   `json:"affect"`
		Path   []string `json:"path"`
	} `json:"strategy"`
}

type updateRule struct {
	Selector Selector `json:"selector"`
	Strategy struct {
		Op             string   `json:"op"`
		RecreateFields []string `json:"recreateFields"`
	} `json:"strategy"`
}

func (s *Set) addApplyOnce(p oam.Policy) error {
	var props struct {
		Enable bool       `json:"enable"`
		Rules  []onceRule `json:"rules"`
	}
	if err := read(p, &props); err != nil {
		return err
	}
	for i, r := range props.Rules {
		if r.Strategy == nil || len(r.Strategy.Path) == 0 {
			return fmt.Errorf("properties.rules[%d].strategy.path is missing: want the fields whose live value stays, or \"*\"", i)
		}
		if err := oneOf(fmt.Sprintf("properties.rules[%d].strategy.affect", i), r.Strategy.Affect, string(OnUpdate), string(OnStateKeep), always); err != nil {
			return err
		}
		for j, path := range r.Strategy.Path {
			if path == "*" {
				continue
			}
			if _, err := oam.ParsePath(path); err != nil {
				return fmt.Errorf("properties.rules[%d].strategy.path[%d]: %w", i, j, err)
			}
		}
	}
	if !props.Enable {
		return nil
	}
	s.frozen = s.frozen || len(props.Rules) == 0
	s.once = append(s.once, props.Rules...)
	return nil
}

func (s *Set) addResourceUpdate(p oam.Policy) error {
	var props struct {
		Rules []updateRule `json:"rules"`
	}
	if err := read(p, &props); err != nil {
		return err
	}
	for i, r := range props.Rules {
		if err := oneOf(fmt.Sprintf("properties.rules[%d].strategy.op", i), r.Strategy.Op, "patch", "replace"); err != nil {
			return err
		}
		for j, path := range r.Strategy.RecreateFields {
			if _, err := oam.ParsePath(path); err != nil {
				return fmt.Errorf("properties.rules[%d].strategy.recreateFields[%d]: %w", i, j, err)
			}
		}
	}
	s.updates = append(s.updates, props.Rules...)
	return nil
}

// Rule is what holds for an object; of the rules of one policy the first that matches.
func (s *Set) Rule(o Object, stage Stage) Rule {
	r := Rule{
		ReadOnly: matchesAny(s.readOnly, o), TakeOver: matchesAny(s.takeOver, o), Shared: matchesAny(s.shared, o),
		Once: s.frozen && stage == OnStateKeep,
	}
	if i := slices.IndexFunc(s.once, func(r onceRule) bool { return r.Selector.Matches(o) }); i >= 0 {
		if strategy := s.once[i].Strategy; strategy.Affect == "" || strategy.Affect == always || strategy.Affect == string(stage) {
			r.Kept = strategy.Path
		}
	}
	if i := slices.IndexFunc(s.updates, func(r updateRule) bool { return r.Selector.Matches(o) }); i >= 0 {
		r.Replace, r.Recreate = s.updates[i].Strategy.Op == "replace", s.updates[i].Strategy.RecreateFields
	}
	return r
}
