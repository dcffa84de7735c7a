package policy

import (
	"fmt"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// GarbageCollect says what becomes of objects that are not wanted any more. Its zero
// value is what holds without such a policy: they are deleted after a successful rollout.
type GarbageCollect struct {
	RevisionLimit     int  // ApplicationRevisions that stay; 0 means the default
	KeepLegacy        bool // an update deletes nothing
	ContinueOnFailure bool // also after a rollout that failed
	Dependency        bool // in the reverse order of dependsOn

	rules []collectRule
}

type collectRule struct {
	Selector    Selector `json:"selector"`
	Strategy    string   `json:"strategy"`
	Propagation string   `json:"propagation"`
}

// Lifetime says when an object that is not wanted any more goes.
type Lifetime string

// The lifetimes, in KubeVela's words.
const (
	OnAppUpdate Lifetime = "onAppUpdate"
	OnAppDelete Lifetime = "onAppDelete"
	Never       Lifetime = "never"
)

func (s *Set) addGarbageCollect(p oam.Policy) error {
	var props struct {
		Limit             *int          `json:"applicationRevisionLimit"`
		KeepLegacy        bool          `json:"keepLegacyResource"`
		ContinueOnFailure bool          `json:"continueOnFailure"`
		Order             string        `json:"order"`
		Rules             []collectRule `json:"rules"`
	}
	if err := read(p, &props); err != nil {
		return err
	}
	if err := oneOf("properties.order", props.Order, "dependency"); err != nil {
		return err
	}
	for i, r := range props.Rules {
		at := fmt.Sprintf("properties.rules[%d].", i)
		if err := oneOf(at+"strategy", r.Strategy, string(OnAppUpdate), string(OnAppDelete), string(Never)); err != nil {
			return err
		}
		if err := oneOf(at+"propagation", r.Propagation, "orphan", "cascading"); err != nil {
			return err
		}
	}
	g := &s.Collect
	if props.Limit != nil {
		if *props.Limit < 1 {
			return fmt.Errorf("properties.applicationRevisionLimit: %d given, at least 1 wanted", *props.Limit)
		}
		g.RevisionLimit = *props.Limit
	}
	g.KeepLegacy, g.ContinueOnFailure = g.KeepLegacy || props.KeepLegacy, g.ContinueOnFailure || props.ContinueOnFailure
	g.Dependency = g.Dependency || props.Order == "dependency"
	g.rules = append(g.rules, props.Rules...)
	return nil
}

// Rule says how long an object stays once it is not wanted any more, and whether what
// depends on it stays then (orphan). The first rule that matches counts.
func (g GarbageCollect) Rule(o Object) (life Lifetime, orphan bool) {
	life = OnAppUpdate
	if g.KeepLegacy {
		life = OnAppDelete
	}
	for _, r := range g.rules {
		if !r.Selector.Matches(o) {
			continue
		}
		if r.Strategy != "" {
			life = Lifetime(r.Strategy)
		}
		return life, r.Propagation == "orphan"
	}
	return life, false
}

// Keeps says that an object is never written or deleted by us.
func (s *Set) Keeps(o Object) bool { return matchesAny(s.readOnly, o) }
