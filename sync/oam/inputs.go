package oam

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// WithInput returns a copy of c in which the input's value stands at its parameterKey,
// replacing what was there. A key that begins with neither "properties." nor "traits["
// is below properties.
func (c Component) WithInput(in Input, value any) (Component, error) {
	key := in.ParameterKey
	if key == "" {
		return c, nil // the value is only waited for
	}
	if !strings.HasPrefix(key, "properties.") && !strings.HasPrefix(key, "traits[") {
		key = "properties." + key
	}
	path, err := ParsePath(key)
	if err != nil {
		return c, fmt.Errorf("input %q: parameterKey %q: %w", in.From, in.ParameterKey, err)
	}
	var whole map[string]any
	if err := convert(c, &whole); err != nil {
		return c, fmt.Errorf("input %q: %w", in.From, err)
	}
	placed, err := place(whole, path, value)
	if err != nil {
		return c, fmt.Errorf("input %q: parameterKey %q: %w", in.From, in.ParameterKey, err)
	}
	var out Component
	if errs := decode("component", placed, &out, convert); errs != nil {
		return c, fmt.Errorf("input %q: %s", in.From, strings.Join(errs, "; "))
	}
	return out, nil
}

// segment matches one part of a path: a name, ["any name"] or [index].
var segment = regexp.MustCompile(`^(?:\.?([\w$-]+)|\["([^"\]]+)"\]|\[([0-9]{1,4})\])`)

// Place returns properties with value at key, in a copy; "" as the key leaves them as they
// are.
func Place(properties map[string]any, key string, value any) (map[string]any, error) {
	if key == "" {
		return properties, nil
	}
	path, err := ParsePath(key)
	if err != nil {
		return nil, fmt.Errorf("parameterKey %q: %w", key, err)
	}
	var own map[string]any
	if err := convert(properties, &own); err != nil {
		return nil, err
	}
	placed, err := place(own, path, value)
	if err != nil {
		return nil, fmt.Errorf("parameterKey %q: %w", key, err)
	}
	out, ok := placed.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("parameterKey %q: properties are an object, not a list", key)
	}
	return out, nil
}

// ParsePath splits `a.b["c.d"][0]` into names (string) and indexes (int).
func ParsePath(key string) ([]any, error) {
	var path []any
	for rest := key; rest != ""; {
		m := segment.FindStringSubmatch(rest)
		switch {
		case m == nil:
			return nil, fmt.Errorf("%q is not a path: want names and [index], such as env[0].value", rest)
		case m[3] != "":
			i, _ := strconv.Atoi(m[3]) // at most four digits
			path = append(path, i)
		default:
			path = append(path, m[1]+m[2])
		}
		rest = rest[len(m[0]):]
	}
	return path, nil
}

// place sets value at path below at, which it changes, making objects that are missing.
// Lists grow by one at most, so that a wrong index is noticed.
func place(at any, path []any, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	switch step := path[0].(type) {
	case int:
		list, ok := at.([]any)
		if !ok && at != nil {
			return nil, fmt.Errorf("[%d] of a value that is no list", step)
		}
		if step > len(list) {
			return nil, fmt.Errorf("[%d] of a list of %d", step, len(list))
		}
		if step == len(list) {
			list = append(list, nil)
		}
		item, err := place(list[step], path[1:], value)
		list[step] = item
		return list, err
	default:
		name, _ := step.(string)
		fields, ok := at.(map[string]any)
		if !ok && at != nil {
			return nil, fmt.Errorf("%q of a value that is no object", name)
		}
		if fields == nil {
			fields = map[string]any{}
		}
		field, err := place(fields[name], path[1:], value)
		fields[name] = field
		return fields, err
	}
}
