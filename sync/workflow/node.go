package workflow

import (
	"iter"
	"slices"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// node is a step with what it waits for. The nodes of a plan stand in its order, a group
// before its sub-steps.
type node struct {
	oam.Step
	position int      // in the plan
	group    *node    // that it is a sub-step of
	needs    []string // steps that must have succeeded: dependsOn, and where inputs come from
	after    []string // steps that only must have ended: those before it, one by one
}

func (n *node) waits() []string { return slices.Concat(n.needs, n.after) }

func compile(p Plan) []*node {
	var nodes []*node
	add := func(steps []oam.Step, mode string, group *node) []*node {
		var list []*node
		for _, s := range steps {
			n := &node{Step: s, group: group, needs: slices.Clone(s.DependsOn)}
			if mode == oam.StepByStep {
				for _, before := range list {
					n.after = append(n.after, before.Name)
				}
			}
			list = append(list, n)
		}
		return list
	}
	for _, n := range add(p.Steps, p.Mode.Steps, nil) {
		mode := p.Mode.SubSteps
		if n.Mode != "" {
			mode = n.Mode
		}
		nodes = append(append(nodes, n), add(n.SubSteps, mode, n)...)
	}
	for i, n := range nodes {
		n.position = i
		for _, in := range n.Inputs {
			n.needs = append(n.needs, producers(nodes, in.From)...)
		}
	}
	return nodes
}

// producers lists the steps that put out a value.
func producers(nodes []*node, name string) []string {
	var out []string
	for _, n := range nodes {
		if slices.ContainsFunc(n.Outputs, func(o oam.Output) bool { return o.Name == name }) {
			out = append(out, n.Name)
		}
	}
	return out
}

// everyStep walks steps and their sub-steps in order.
func everyStep(steps []oam.Step) iter.Seq[*oam.Step] {
	return func(yield func(*oam.Step) bool) {
		for i := range steps {
			if !yield(&steps[i]) {
				return
			}
			for j := range steps[i].SubSteps {
				if !yield(&steps[i].SubSteps[j]) {
					return
				}
			}
		}
	}
}
