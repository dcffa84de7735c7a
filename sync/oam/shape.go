package oam

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// misfits lists where a decoded JSON value does not have the shape of a Go type, each
// with its path: the decoder alone would name neither list index nor more than the
// first. Absent and null are fine everywhere; unknown fields are none of its business.
func misfits(path string, t reflect.Type, value any) []string {
	if value == nil || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return misfits(path, t.Elem(), value)
	case reflect.Struct:
		return structMisfits(path, t, value)
	case reflect.Map:
		return mapMisfits(path, t, value)
	case reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			return wrong(path, value, "list")
		}
		var errs []string
		for i, item := range list {
			errs = append(errs, misfits(fmt.Sprintf("%s[%d]", path, i), t.Elem(), item)...)
		}
		return errs
	case reflect.String:
		if _, ok := value.(string); !ok {
			return wrong(path, value, "string")
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			return wrong(path, value, "true or false")
		}
	case reflect.Int64, reflect.Int:
		if describe(value) != "number" {
			return wrong(path, value, "number")
		}
	}
	return nil
}

func structMisfits(path string, t reflect.Type, value any) []string {
	fields, ok := value.(map[string]any)
	if !ok {
		return wrong(path, value, "object")
	}
	var errs []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		errs = append(errs, misfits(path+"."+name, f.Type, fields[name])...)
	}
	return errs
}

func mapMisfits(path string, t reflect.Type, value any) []string {
	entries, ok := value.(map[string]any)
	if !ok {
		return wrong(path, value, "object")
	}
	if t.Elem().Kind() == reflect.Interface { // anything goes
		return nil
	}
	var errs []string
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		errs = append(errs, misfits(path+"."+key, t.Elem(), entries[key])...)
	}
	return errs
}

func wrong(path string, given any, wanted string) []string {
	return []string{fmt.Sprintf("%s: %s given, %s wanted", path, describe(given), wanted)}
}

// describe names the JSON type of a value.
func describe(value any) string {
	switch value.(type) {
	case nil:
		return "nothing"
	case string:
		return "string"
	case bool:
		return "true or false"
	case map[string]any:
		return "object"
	case []any:
		return "list"
	default:
		return "number"
	}
}
