package reconcile

import (
	"cmp"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// part is one component in one place, as one step applies it.
type part struct {
	policy.Instance
	step   string
	inputs []oam.Input

	spec     oam.Component     // with its inputs in place
	source   *render.Source    // of a component from Git
	release  *release          // of a component of type helm
	rendered *render.Component // nil until its inputs are there
	service  *oam.Service      // as this look found it; nil when it was not looked at
	applied  bool              // in this look
}

func (p *part) id(namespace string) string { return p.ID(namespace) }

// partsOf lists what a step applies.
func (x *run) partsOf(step string) []*part {
	var out []*part
	for _, p := range x.parts {
		if p.step == step {
			out = append(out, p)
		}
	}
	return out
}

// items are a part's objects with what the policies say about them.
func (x *run) items(p *part, stage policy.Stage, objects []render.Object) []apply.Item {
	out := make([]apply.Item, 0, len(objects))
	for _, o := range objects {
		rule := x.set.Rule(objectOf(p, o), stage)
		out = append(out, apply.Item{Object: o.Unstructured, Component: p.Name, Treatment: apply.Treatment(rule)})
	}
	return out
}

func objectOf(p *part, o render.Object) policy.Object {
	about := policy.ObjectOf(o.GetKind(), o.GetName(), p.Name, o.GetLabels())
	if p.source != nil { // labelled by whoever wrote it
		about.Component, about.ComponentType = p.Name, p.Type
	}
	return about
}

// staged splits a part's objects by when they are applied.
func staged(objects []render.Object) (before, usual, after []render.Object) {
	for _, o := range objects {
		switch cmp.Or(o.Stage, render.StageDefault) {
		case render.StagePre:
			before = append(before, o)
		case render.StagePost:
			after = append(after, o)
		default:
			usual = append(usual, o)
		}
	}
	return before, usual, after
}
