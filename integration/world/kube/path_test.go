package kube_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
)

const object = `{
  "metadata": {"labels": {"app.oam.dev/component": "web"}, "generation": 3},
  "spec": {"rules": [{"host": "a.example.com"}, {"host": "b.example.com"}], "paused": false, "empty": ""},
  "status": {"services": [{"name": "api", "healthy": true}, {"name": "web", "healthy": false}], "nothing": null}
}`

func TestLookup(t *testing.T) {
	t.Parallel()
	var obj map[string]any
	if err := json.Unmarshal([]byte(object), &obj); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"metadata.generation":                      "3",
		`metadata.labels["app.oam.dev/component"]`: "web",
		"spec.rules[1].host":                       "b.example.com",
		"spec.rules[2].host":                       "",
		"spec.rules.#":                             "2",
		"spec.paused":                              "false",
		"spec.empty":                               "",
		"status.services[name=web].healthy":        "false",
		"status.services[healthy=true].name":       "api",
		"status.services[name=db].healthy":         "",
		"status.nothing":                           "",
		"status.services[0]":                       `{"healthy":true,"name":"api"}`,
		".spec.rules[0]":                           `{"host":"a.example.com"}`,
	} {
		got, err := kube.Lookup(obj, path)
		if err != nil || got != want {
			t.Errorf("Lookup(%s) = %q, %v; want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"spec.rules[", "spec.rules[x]", `metadata.labels["a`, "a..b]"} {
		if got, err := kube.Lookup(obj, path); err == nil {
			t.Errorf("Lookup(%s) = %q, want an error", path, got)
		}
	}
}

func TestSelectorSums(t *testing.T) {
	t.Parallel()
	const page = `# TYPE runs_total counter
runs_total{result="success",trigger="webhook"} 3
runs_total{result="success",trigger="poll"} 2
runs_total{result="failure",trigger="webhook"} 1
# TYPE took_seconds histogram
took_seconds_bucket{le="1"} 4
took_seconds_bucket{le="+Inf"} 5
took_seconds_sum 9
took_seconds_count 5
# TYPE up gauge
up 1
`
	for text, want := range map[string]float64{
		"runs_total":                                               6,
		`runs_total{result="success"}`:                             5,
		`runs_total{result="success",trigger=~"web.*"}`:            3,
		`runs_total{result=~"success|failure", trigger="webhook"}`: 4,
		"took_seconds_count":                                       5,
		`took_seconds_bucket{le="1"}`:                              4,
		"up":                                                       1,
		"absent_total":                                             0,
	} {
		s, err := kube.ParseSelector(text)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := s.Sum(strings.NewReader(page)); err != nil || got != want {
			t.Errorf("%s = %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := kube.ParseSelector(`runs_total{result=success}`); err == nil {
		t.Error("an unquoted value was taken")
	}
}
