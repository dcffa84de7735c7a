package kube

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Lookup reads one value out of an object by a path such as
//
//	spec.rules[0].host
//	status.services[name=apps].healthy
//	metadata.labels["app.oam.dev/component"]
//	spec.template.spec.containers.#        the length of a list or map
//
// and returns it as text: strings bare, everything else as JSON. What is not there is "".
func Lookup(obj any, path string) (string, error) {
	steps, err := parsePath(path)
	if err != nil {
		return "", err
	}
	for _, s := range steps {
		if obj = s.of(obj); obj == nil {
			return "", nil
		}
	}
	if text, ok := obj.(string); ok {
		return text, nil
	}
	data, err := json.Marshal(obj)
	return string(data), err
}

// step is one part of a path: a key, an index, a filter key=value, or the length.
type step struct {
	key, value string
	filter     bool
	index      int
	length     bool
}

func (s step) of(obj any) any {
	switch obj := obj.(type) {
	case map[string]any:
		if s.length {
			return len(obj)
		}
		return obj[s.key] // "" for a filter or an index: nothing has that key
	case []any:
		switch {
		case s.length:
			return len(obj)
		case s.filter:
			for _, item := range obj {
				if m, ok := item.(map[string]any); ok && fmt.Sprint(m[s.key]) == s.value {
					return item
				}
			}
		case s.key == "" && s.index < len(obj):
			return obj[s.index]
		}
	}
	return nil
}

var pathStep = regexp.MustCompile(`^(?:\.?([^.\[\]"#]+)|\["([^"]*)"\]|\[(\d+)\]|\[([^\]=]+)=([^\]]*)\]|\.?(#))`)

func parsePath(path string) ([]step, error) {
	var steps []step
	for rest := strings.TrimPrefix(path, "."); rest != ""; {
		m := pathStep.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf(`path %q: cannot read %q; want a.b, [0], [key=value], ["a/b"] or #`, path, rest)
		}
		rest = rest[len(m[0]):]
		switch {
		case m[1] != "":
			steps = append(steps, step{key: m[1]})
		case m[2] != "":
			steps = append(steps, step{key: m[2]})
		case m[3] != "":
			index, err := strconv.Atoi(m[3])
			if err != nil {
				return nil, fmt.Errorf("path %q: %w", path, err)
			}
			steps = append(steps, step{index: index})
		case m[4] != "":
			steps = append(steps, step{filter: true, key: m[4], value: m[5]})
		default:
			steps = append(steps, step{length: true})
		}
	}
	return steps, nil
}
