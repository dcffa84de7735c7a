package cli

import (
	"reflect"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const envPrefix = "TRADEWIND_"

// notConfig says which variables with our prefix are not configuration keys: the path of
// the file itself, the test suite's cluster binary, and what Kubernetes adds to every pod
// beside a Service called tradewind (TRADEWIND_SERVICE_HOST, TRADEWIND_PORT_9292_TCP, …).
func notConfig(name string) bool {
	rest := strings.TrimPrefix(name, envPrefix)
	return rest == "CONFIG" || rest == "CLUSTER" || rest == "PORT" ||
		strings.HasPrefix(rest, "SERVICE_") || strings.HasPrefix(rest, "PORT_")
}

// applyEnvironment overlays every TRADEWIND_* variable. One that names no key is an
// error: a misspelt setting that is silently ignored is found too late.
func applyEnvironment(cfg *Config, environ []string) error {
	fields := map[string]reflect.Value{}
	collectFields(reflect.ValueOf(cfg).Elem(), envPrefix, fields)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || notConfig(name) {
			continue
		}
		field, ok := fields[name]
		if !ok {
			return usageErrorf("environment variable %s names no configuration key", name)
		}
		if err := setField(field, value); err != nil {
			return usageErrorf("environment variable %s: %w", name, err)
		}
	}
	return nil
}

// setField takes strings as they are, so that no value needs quoting; everything else
// is YAML.
func setField(field reflect.Value, value string) error {
	if field.Kind() == reflect.String {
		field.SetString(value)
		return nil
	}
	return yaml.Unmarshal([]byte(value), field.Addr().Interface())
}

func collectFields(v reflect.Value, prefix string, into map[string]reflect.Value) {
	for i := range v.NumField() {
		name := prefix + upperSnake(v.Type().Field(i).Tag.Get("yaml"))
		if field := v.Field(i); field.Kind() == reflect.Struct {
			collectFields(field, name+"_", into)
		} else {
			into[name] = field
		}
	}
}

func upperSnake(camel string) string {
	var b strings.Builder
	for _, r := range camel {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}
