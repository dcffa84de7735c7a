package oam

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Defaulted returns a copy of s in which every policy and workflow step has the name
// that KubeVela gives at admission.
func (s Spec) Defaulted() Spec {
	s.Policies = slices.Clone(s.Policies)
	for i, p := range s.Policies {
		if p.Name == "" {
			s.Policies[i].Name = fmt.Sprintf("%s-auto-gen-%d", p.Type, i)
		}
	}
	if s.Workflow != nil {
		w := *s.Workflow
		w.Steps = namedSteps("step", w.Steps)
		s.Workflow = &w
	}
	return s
}

// namedSteps calls the third step "step-2" and its first sub-step "step-2-0".
func namedSteps(prefix string, steps []Step) []Step {
	steps = slices.Clone(steps)
	for i := range steps {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if steps[i].Name == "" {
			steps[i].Name = name
		}
		steps[i].SubSteps = namedSteps(name, steps[i].SubSteps)
	}
	return steps
}

// SpecHash identifies what a revision records. Metadata is no part of it, so a changed
// label makes no new revision; nor does writing out a name that is the default.
func SpecHash(spec Spec) string {
	raw, err := json.Marshal(spec.Defaulted()) // map keys are sorted
	if err != nil {
		panic("oam: a spec that was decoded does not encode: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}
