package render_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tradewind-dev/tradewind/sync/render"
)

var conditionVars = map[string]any{
	"status": map[string]any{
		"build": map[string]any{"phase": "succeeded", "succeeded": true, "failed": false},
		"a-b":   map[string]any{"phase": "failed", "succeeded": false, "failed": true, "message": "no"},
	},
	"inputs":    map[string]any{"replicas": int64(3), "name": "web-1"},
	"context":   map[string]any{"name": "shop", "appLabels": map[string]any{"team": "web"}},
	"parameter": map[string]any{"image": "x:1"},
}

func TestCondition(t *testing.T) {
	t.Parallel()
	r := render.New(render.Config{})
	for _, test := range []struct {
		expr  string
		want  bool
		wrong string // part of the error
	}{
		{expr: `status["a-b"].failed`, want: true},
		{expr: `status.build.succeeded`, want: true},
		{expr: `status.build.phase == "failed"`},
		{expr: `status["a-b"].message == "no" && !status.build.failed`, want: true},
		{expr: `inputs.replicas > 2`, want: true},
		{expr: `inputs["name"] =~ "^web-[0-9]$"`, want: true},
		{expr: `context.appLabels.team != "web"`},
		{expr: `context.appLabels.owner == _|_`, want: true},
		{expr: `parameter.image == "x:1" || status.nobody.failed`, wrong: "nobody"},
		{expr: `strings.HasPrefix(context.name, "sh")`, want: true},
		{expr: "import \"strings\"\nstrings.HasSuffix(context.name, \"op\")", want: true},
		{expr: `status.nobody.failed`, wrong: "nobody"},
		{expr: `inputs.replicas`, wrong: "it gives 3: want true or false"},
		{expr: `inputs.name`, wrong: "it gives a string"},
		{expr: `stauts.build.failed`, wrong: "there are: context, inputs, parameter, status"},
		{expr: ``, wrong: "empty"},
		{expr: `true)`, wrong: "expected"},
		{expr: "true\nfalse", wrong: "two expressions"},
		{expr: "status: build: failed: true\ntrue", wrong: "expected"},
		{expr: `bool`, wrong: "bool"},
		{expr: strings.Repeat("(", 9000) + "true" + strings.Repeat(")", 9000), wrong: "at most"},
	} {
		got, err := r.Condition(t.Context(), test.expr, conditionVars)
		name := fmt.Sprintf("%.60q", test.expr)
		switch {
		case test.wrong == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
			t.Errorf("%s: error %v: want %q", name, err, test.wrong)
		case got != test.want:
			t.Errorf("%s gives %t: want %t", name, got, test.want)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`status["a-b"].failed`, `status.build.phase == "x"`, `len(inputs.name) > 3`, `[for k, v in status {v.failed}][0]`,
		`{a: b, b: a}.a`, `"\(context.name)" == "shop"`, `import "strings"`, `_|_`, `{`, `let x = x, x`, "0x", `~(a,b)`,
	} {
		f.Add(seed)
	}
	r := render.New(render.Config{})
	f.Fuzz(func(t *testing.T, expr string) {
		first, err := r.Condition(t.Context(), expr, conditionVars)
		if err != nil && strings.Contains(err.Error(), "panicked") {
			return // CUE's own mistakes are contained, which is all we promise
		}
		second, again := r.Condition(t.Context(), expr, conditionVars)
		if first != second || (err == nil) != (again == nil) {
			t.Errorf("%q gives %t, %v and then %t, %v", expr, first, err, second, again)
		}
	})
}
