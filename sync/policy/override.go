package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// Override changes components on their way to a place.
type Override struct {
	Components []Patch  `json:"components"`
	Selector   []string `json:"selector"` // afterwards only these are left; none means all
}

// Patch changes the components it matches. A name is a regular expression that matches
// anywhere in the component's name, with * for anything, as in KubeVela.
type Patch struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties"`
	Traits     []TraitPatch   `json:"traits"`

	pattern *regexp.Regexp // of Name; nil without one
}

// TraitPatch changes, adds or removes the trait of its type.
type TraitPatch struct {
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties"`
	Disable    bool           `json:"disable"`
}

func readOverride(p oam.Policy) (*Override, error) {
	o := &Override{}
	if p.Properties == nil {
		return nil, errNoProperties
	}
	if err := read(p, o); err != nil {
		return nil, err
	}
	for i := range o.Components {
		c := &o.Components[i]
		if c.Name != "" {
			pattern, err := regexp.Compile(strings.ReplaceAll(c.Name, "*", ".*"))
			if err != nil {
				return nil, fmt.Errorf("properties.components[%d].name: %q is no regular expression: %w", i, c.Name, err)
			}
			c.pattern = pattern
		}
		for j, t := range c.Traits {
			if t.Type == "" {
				return nil, fmt.Errorf("properties.components[%d].traits[%d].type is missing", i, j)
			}
		}
	}
	return o, nil
}

// componentName is a name that a component may have.
var componentName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// Apply returns the components as the override makes them; the given ones are not
// changed.
func (o *Override) Apply(components []oam.Component) ([]oam.Component, error) {
	out := slices.Clone(components)
	for i, p := range o.Components {
		matched := false
		for at := range out {
			if !p.matches(out[at]) {
				continue
			}
			matched = true
			if p.Name != "" && p.Type != "" && p.Type != out[at].Type {
				out[at] = p.component(out[at].Name)
			} else {
				out[at] = p.merge(out[at])
			}
		}
		if matched || p.Name == "" || !componentName.MatchString(p.Name) {
			continue // a pattern that matches nothing is no name to add one under
		}
		if p.Type == "" {
			return nil, fmt.Errorf("properties.components[%d].type is missing: no component is called %q, so it is a new one", i, p.Name)
		}
		out = append(out, p.component(p.Name))
	}
	if len(o.Selector) > 0 {
		out = slices.DeleteFunc(out, func(c oam.Component) bool { return !slices.Contains(o.Selector, c.Name) })
	}
	return out, nil
}

func (p Patch) matches(c oam.Component) bool {
	if p.pattern != nil {
		return p.pattern.MatchString(c.Name)
	}
	return p.Type == "" || p.Type == c.Type
}

// component is the patch as a component of its own.
func (p Patch) component(name string) oam.Component {
	c := oam.Component{Name: name, Type: p.Type, Properties: p.Properties}
	for _, t := range p.Traits {
		if !t.Disable {
			c.Traits = append(c.Traits, oam.Trait{Type: t.Type, Properties: t.Properties})
		}
	}
	return c
}

func (p Patch) merge(c oam.Component) oam.Component {
	c.Properties = mergeProperties(c.Properties, p.Properties)
	byType, order := map[string]oam.Trait{}, []string{}
	for _, t := range c.Traits { // of two of one type the last counts, and stands twice
		byType[t.Type], order = t, append(order, t.Type)
	}
	for _, t := range p.Traits {
		old, had := byType[t.Type]
		switch {
		case t.Disable:
			delete(byType, t.Type)
			continue
		case !had:
			old.Type = t.Type
			order = append(order, t.Type)
		}
		old.Properties = mergeProperties(old.Properties, t.Properties)
		byType[t.Type] = old
	}
	c.Traits = nil
	for _, name := range order {
		if t, ok := byType[name]; ok {
			c.Traits = append(c.Traits, t)
		}
	}
	return c
}

// mergeProperties lays patch over base: objects are merged, everything else is replaced,
// zero values and null too.
func mergeProperties(base, patch map[string]any) map[string]any {
	if len(patch) == 0 {
		return base
	}
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for key, value := range patch {
		below, isObject := value.(map[string]any)
		if old, ok := out[key].(map[string]any); ok && isObject {
			value = mergeProperties(old, below)
		}
		out[key] = value
	}
	return out
}
