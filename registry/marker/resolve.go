package marker

import (
	"fmt"
	"slices"
	"strings"
)

// Resolver tells what the policy of a marker chose. A policy that is not ours is not ok,
// and its marker is left alone; an error is a [Problem] of the marker.
type Resolver func(Ref) (choice Choice, ok bool, err error)

// Candidate is a component with a policy.
type Candidate struct {
	Namespace, App, Component string
	Choice                    Choice
	// Err is why there is no choice, such as a registry that does not answer.
	Err error
}

// AmbiguousError is a marker that means several policies.
type AmbiguousError struct {
	Ref   Ref
	Means []string // app/component
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s may mean %s", e.Ref, strings.Join(e.Means, " or "))
}

// Hint is how to say which.
func (e *AmbiguousError) Hint() string {
	return "let the marker name a component, and give components with an imageRepository different names in one namespace"
}

// Resolve takes a marker's name as that of a component, and when there is none as that of
// an Application. A name that then still means several is an error.
func Resolve(candidates []Candidate) Resolver {
	type name struct{ namespace, name string }
	components, apps := map[name][]Candidate{}, map[name][]Candidate{}
	for _, c := range candidates {
		components[name{c.Namespace, c.Component}] = append(components[name{c.Namespace, c.Component}], c)
		apps[name{c.Namespace, c.App}] = append(apps[name{c.Namespace, c.App}], c)
	}
	return func(ref Ref) (Choice, bool, error) {
		means := components[name{ref.Namespace, ref.Name}]
		if len(means) == 0 {
			means = apps[name{ref.Namespace, ref.Name}]
		}
		switch len(means) {
		case 0:
			return Choice{}, false, nil
		case 1:
			return means[0].Choice, means[0].Err == nil, means[0].Err
		}
		err := &AmbiguousError{Ref: ref}
		for _, c := range means {
			err.Means = append(err.Means, c.App+"/"+c.Component)
		}
		slices.Sort(err.Means)
		return Choice{}, false, err
	}
}
