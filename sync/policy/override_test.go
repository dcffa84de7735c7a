package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
)

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var out T
	raw, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := utiljson.Unmarshal(raw, &out); err != nil { // whole numbers stay whole
		t.Fatal(err)
	}
	return out
}

func set(t *testing.T, policies string) (*policy.Set, error) {
	t.Helper()
	return policy.Parse(oam.Spec{Policies: parse[[]oam.Policy](t, policies)}.Defaulted().Policies, nil)
}

// TestOverride is section 5.3 of the reference, row by row.
func TestOverride(t *testing.T) {
	t.Parallel()
	const web = `- {name: web, type: webservice, properties: {image: a, cpu: "1", env: [{name: A}], size: {x: 1, w: 2}}}`
	tests := []struct{ name, base, patch, want string }{
		{"no name, no type: every component",
			`[{name: web, type: webservice}, {name: db, type: worker}]`, `components: [{properties: {cpu: "1"}}]`,
			`[{name: web, type: webservice, properties: {cpu: "1"}}, {name: db, type: worker, properties: {cpu: "1"}}]`},
		{"no name, a type: components of that type",
			`[{name: web, type: webservice}, {name: db, type: worker}]`, `components: [{type: worker, properties: {cpu: "1"}}]`,
			`[{name: web, type: webservice}, {name: db, type: worker, properties: {cpu: "1"}}]`},
		{"a name matches anywhere in the name",
			`[{name: my-web-2, type: webservice}, {name: db, type: worker}]`, `components: [{name: web, properties: {cpu: "1"}}]`,
			`[{name: my-web-2, type: webservice, properties: {cpu: "1"}}, {name: db, type: worker}]`},
		{"a star stands for anything, an expression works",
			`[{name: my-web-2, type: webservice}, {name: my-db, type: worker}]`, `components: [{name: "my-*-2"}, {name: "^my-d.$", properties: {cpu: "1"}}]`,
			`[{name: my-web-2, type: webservice}, {name: my-db, type: worker, properties: {cpu: "1"}}]`},
		{"a name and the same type: merged",
			web, `components: [{name: web, type: webservice, properties: {cpu: "2"}}]`,
			`- {name: web, type: webservice, properties: {image: a, cpu: "2", env: [{name: A}], size: {x: 1, w: 2}}}`},
		{"a name and another type: replaced, under its own name",
			`[{name: web-1, type: webservice, properties: {image: a}, traits: [{type: scaler}]}]`, `components: [{name: "web*", type: worker, properties: {cmd: [x]}, traits: [{type: env, disable: true}, {type: labels}]}]`,
			`[{name: web-1, type: worker, properties: {cmd: [x]}, traits: [{type: labels}]}]`},
		{"a name that matches nothing: added",
			`[{name: web, type: webservice}]`, `components: [{name: cache, type: worker, properties: {image: r}, traits: [{type: scaler, properties: {replicas: 2}}]}]`,
			`[{name: web, type: webservice}, {name: cache, type: worker, properties: {image: r}, traits: [{type: scaler, properties: {replicas: 2}}]}]`},
		{"a pattern that matches nothing: nothing",
			`[{name: web, type: webservice}]`, `components: [{name: "db*", type: worker}]`, `[{name: web, type: webservice}]`},
		{"objects are merged deep, lists replaced",
			web, `components: [{properties: {size: {w: 3, z: {q: 1}}, env: [{name: B}]}}]`,
			`- {name: web, type: webservice, properties: {image: a, cpu: "1", env: [{name: B}], size: {x: 1, w: 3, z: {q: 1}}}}`},
		{"zero values override",
			`[{name: web, type: w, properties: {n: 1, b: true, s: x, l: [1], o: {a: 1}}}]`, `components: [{properties: {n: 0, b: false, s: "", l: [], o: {}}}]`,
			`[{name: web, type: w, properties: {n: 0, b: false, s: "", l: [], o: {a: 1}}}]`},
		{"null is stored", `[{name: web, type: w, properties: {n: 1}}]`, `components: [{properties: {n: null}}]`, `[{name: web, type: w, properties: {n: null}}]`},
		{"an empty object changes nothing", `[{name: web, type: w, properties: {n: 1}}]`, `components: [{properties: {}}]`, `[{name: web, type: w, properties: {n: 1}}]`},
		{"of differing kinds the patch wins",
			`[{name: web, type: w, properties: {a: {x: 1}, b: 1}}]`, `components: [{properties: {a: 1, b: {x: 1}}}]`, `[{name: web, type: w, properties: {a: 1, b: {x: 1}}}]`},
		{"traits are merged by type, new ones appended",
			`[{name: web, type: w, traits: [{type: a, properties: {x: 1, w: 1}}, {type: b}]}]`,
			`components: [{traits: [{type: c}, {type: a, properties: {w: 2}}]}]`,
			`[{name: web, type: w, traits: [{type: a, properties: {x: 1, w: 2}}, {type: b}, {type: c}]}]`},
		{"disable removes a trait",
			`[{name: web, type: w, traits: [{type: a}, {type: b}]}]`, `components: [{traits: [{type: a, disable: true}]}]`, `[{name: web, type: w, traits: [{type: b}]}]`},
		{"of two traits of one type the last stands twice",
			`[{name: web, type: w, traits: [{type: a, properties: {x: 1}}, {type: a, properties: {x: 2}}]}]`, `components: [{traits: [{type: a, properties: {w: 3}}]}]`,
			`[{name: web, type: w, traits: [{type: a, properties: {x: 2, w: 3}}, {type: a, properties: {x: 2, w: 3}}]}]`},
		{"the selector keeps those it names, added ones too",
			`[{name: web, type: w}, {name: db, type: w}]`, "components: [{name: cache, type: w}]\nselector: [cache, db]", `[{name: db, type: w}, {name: cache, type: w}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := set(t, "- {name: o, type: override, properties: {"+flow(tt.patch)+"}}")
			if err != nil {
				t.Fatal(err)
			}
			base := parse[[]oam.Component](t, tt.base)
			before := parse[[]oam.Component](t, tt.base)
			got, err := s.Deploy([]string{"o"}, base)
			if err != nil {
				t.Fatal(err)
			}
			var components []oam.Component
			for _, i := range got {
				components = append(components, i.Component)
			}
			if diff := cmp.Diff(parse[[]oam.Component](t, tt.want), components); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(before, base); diff != "" {
				t.Errorf("the components given were changed (-before +after)\n%s", diff)
			}
		})
	}
}

// flow joins the lines of a block into the inside of a flow mapping.
func flow(block string) string { return strings.ReplaceAll(block, "\n", ", ") }

func TestOverridesAreAppliedInTheOrderListed(t *testing.T) {
	t.Parallel()
	s, err := set(t, `
- {name: one, type: override, properties: {components: [{properties: {v: 1, one: true}}]}}
- {name: two, type: override, properties: {components: [{properties: {v: 2}}]}}
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		order []string
		want  int64
	}{{[]string{"one", "two"}, 2}, {[]string{"two", "one"}, 1}} {
		got, err := s.Deploy(tt.order, []oam.Component{{Name: "web", Type: "w"}})
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		if v := got[0].Properties["v"]; v != tt.want {
			t.Errorf("%v: v is %v, want %d", tt.order, v, tt.want)
		}
	}
}
