package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
)

func TestMistakesNamePolicyAndField(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, policies, want string }{
		{"unknown type", `[{name: x, type: topologie, properties: {}}]`, `policy "x": type "topologie" is not known`},
		{"two of one name", `[{name: x, type: topology, properties: {}}, {name: x, type: read-only}]`, `policy "x": there are two of that name`},
		{"topology without properties", `[{name: x, type: topology}]`, `policy "x": properties are missing`},
		{"override without properties", `[{type: override}]`, `policy "override-auto-gen-0": properties are missing`},
		{"replication without keys", `[{name: x, type: replication, properties: {}}]`, `policy "x": properties.keys is missing: want one key for each copy`},
		{"replication with a key twice", `[{name: x, type: replication, properties: {keys: [a, a]}}]`, `policy "x": properties.keys[1]: "a": want a key that no other has`},
		{"another cluster", `[{name: x, type: topology, properties: {clusters: [local, eu]}}]`,
			`policy "x": properties.clusters[1]: cluster "eu" is not known yet: only "local", the cluster Tradewind runs in, is`},
		{"labels that no cluster has", `[{name: x, type: topology, properties: {clusterLabelSelector: {r: eu}}}]`,
			`policy "x": properties.clusterLabelSelector: no cluster has these labels; set allowEmpty if that is meant`},
		{"wrong kind of value", `[{name: x, type: override, properties: {components: [{name: 3, properties: a}]}}]`,
			`policy "x": properties.components[0].name: number given, string wanted; properties.components[0].properties: string given, object wanted`},
		{"no regular expression", `[{name: x, type: override, properties: {components: [{name: "a("}]}}]`,
			`policy "x": properties.components[0].name: "a(" is no regular expression: error parsing regexp: missing closing ): ` + "`a(`"},
		{"trait without type", `[{name: x, type: override, properties: {components: [{traits: [{disable: true}]}]}}]`, `policy "x": properties.components[0].traits[0].type is missing`},
		{"collect strategy", `[{name: x, type: garbage-collect, properties: {rules: [{strategy: later}]}}]`,
			`policy "x": properties.rules[0].strategy: "later" given, one of ["onAppUpdate" "onAppDelete" "never"] wanted`},
		{"collect order", `[{name: x, type: garbage-collect, properties: {order: random}}]`, `policy "x": properties.order: "random" given, one of ["dependency"] wanted`},
		{"revision limit", `[{name: x, type: garbage-collect, properties: {applicationRevisionLimit: 0}}]`, `policy "x": properties.applicationRevisionLimit: 0 given, at least 1 wanted`},
		{"update op", `[{name: x, type: resource-update, properties: {rules: [{strategy: {op: put}}]}}]`,
			`policy "x": properties.rules[0].strategy.op: "put" given, one of ["patch" "replace"] wanted`},
		{"once without path", `[{name: x, type: apply-once, properties: {enable: true, rules: [{selector: {}}]}}]`,
			`policy "x": properties.rules[0].strategy.path is missing: want the fields whose live value stays, or "*"`},
		{"once affects", `[{name: x, type: apply-once, properties: {enable: true, rules: [{strategy: {affect: now, path: ["*"]}}]}}]`,
			`policy "x": properties.rules[0].strategy.affect: "now" given, one of ["onUpdate" "onStateKeep" "always"] wanted`},
		{"once path", `[{name: x, type: apply-once, properties: {enable: true, rules: [{strategy: {path: ["spec..x"]}}]}}]`,
			`policy "x": properties.rules[0].strategy.path[0]: "..x" is not a path: want names and [index], such as env[0].value`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := set(t, tt.policies)
			if got := fmt.Sprint(err); got != tt.want {
				t.Errorf("error\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestCustomAndIgnoredTypes(t *testing.T) {
	t.Parallel()
	policies := parse[[]oam.Policy](t, `[{name: a, type: debug}, {name: b, type: health, properties: {probeInterval: 3}}, {name: c, type: quota}]`)
	s, err := policy.Parse(policies, func(name string) bool { return name == "quota" })
	if err != nil || len(s.Custom) != 1 || s.Custom[0].Name != "c" {
		t.Errorf("custom %v, error %v", s, err)
	}
}

func TestDeploy(t *testing.T) {
	t.Parallel()
	s, err := set(t, `
- {name: here, type: topology, properties: {}}
- {name: prod, type: topology, properties: {clusters: [local], namespace: prod}}
- {name: none, type: topology, properties: {clusterSelector: {r: eu}, allowEmpty: true}}
- {name: shards, type: replication, properties: {keys: [a, b], selector: [db]}}
- {name: all, type: replication, properties: {keys: [z]}}
- {name: only-web, type: override, properties: {selector: [web]}}
- {name: rules, type: read-only}
`)
	if err != nil {
		t.Fatal(err)
	}
	components := []oam.Component{{Name: "web", Type: "w"}, {Name: "db", Type: "w"}}
	tests := []struct {
		name     string
		policies []string
		want     string
	}{
		{"none: here", nil, "local/app/web local/app/db"},
		{"a topology without namespace", []string{"here"}, "local/app/web local/app/db"},
		{"a namespace", []string{"prod"}, "local/prod/web local/prod/db"},
		{"two places", []string{"here", "prod", "here"}, "local/app/web local/app/db local/prod/web local/prod/db"},
		{"no place", []string{"none"}, ""},
		{"replicated", []string{"shards"}, "local/app/web local/app/a/db local/app/b/db"},
		{"all replicated", []string{"all"}, "local/app/z/web local/app/z/db"},
		{"override before replication, wherever they stand", []string{"all", "prod", "only-web"}, "local/prod/z/web"},
		{"a policy of another type", []string{"rules"}, "local/app/web local/app/db"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := s.Deploy(tt.policies, components)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, i := range got {
				ids = append(ids, i.ID("app"))
			}
			if got := strings.Join(ids, " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestSelector(t *testing.T) {
	t.Parallel()
	workload := policy.Object{Component: "web", ComponentType: "webservice", OAMType: "WORKLOAD", Kind: "Deployment", Name: "web"}
	service := policy.Object{Component: "web", OAMType: "TRAIT", TraitType: "expose", Kind: "Service", Name: "web"}
	tests := []struct {
		selector          string
		workload, service bool
	}{
		{`{}`, false, false},
		{`{componentNames: [web]}`, true, true},
		{`{componentNames: [db, web]}`, true, true},
		{`{componentNames: [db]}`, false, false},
		{`{componentTypes: [webservice]}`, true, false},
		{`{oamTypes: [TRAIT]}`, false, true},
		{`{traitTypes: [expose]}`, false, true},
		{`{resourceTypes: [Deployment, StatefulSet]}`, true, false},
		{`{resourceNames: [web], resourceTypes: [Service]}`, false, true},
		{`{componentNames: [web], traitTypes: [gateway]}`, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.selector, func(t *testing.T) {
			t.Parallel()
			s := parse[policy.Selector](t, tt.selector)
			if w, v := s.Matches(workload), s.Matches(service); w != tt.workload || v != tt.service {
				t.Errorf("workload %t, service %t; want %t, %t", w, v, tt.workload, tt.service)
			}
		})
	}
}

func TestRule(t *testing.T) {
	t.Parallel()
	web := policy.Object{Component: "web", Kind: "Deployment", Name: "web"}
	job := policy.Object{Component: "job", Kind: "Job", Name: "job"}
	tests := []struct {
		name, policies string
		object         policy.Object
		stage          policy.Stage
		want           policy.Rule
	}{
		{"nothing", `[]`, web, policy.OnUpdate, policy.Rule{}},
		{"selectors", `
- {type: read-only, properties: {rules: [{selector: {componentNames: [web]}}]}}
- {type: take-over, properties: {rules: [{selector: {resourceTypes: [Deployment]}}]}}
- {type: shared-resource, properties: {rules: [{selector: {resourceNames: [other]}}, {selector: {resourceNames: [web]}}]}}
`, web, policy.OnUpdate, policy.Rule{ReadOnly: true, TakeOver: true, Shared: true}},
		{"others are not selected", `[{type: read-only, properties: {rules: [{selector: {componentNames: [web]}}]}}]`, job, policy.OnUpdate, policy.Rule{}},
		{"apply once: a step applies", `[{type: apply-once, properties: {enable: true}}]`, web, policy.OnUpdate, policy.Rule{}},
		{"apply once: nothing is kept", `[{type: apply-once, properties: {enable: true}}]`, web, policy.OnStateKeep, policy.Rule{Once: true}},
		{"apply once is off", `[{type: apply-once, properties: {rules: [{selector: {componentNames: [web]}, strategy: {path: ["*"]}}]}}]`, web, policy.OnStateKeep, policy.Rule{}},
		{"paths", `[{type: apply-once, properties: {enable: true, rules: [{selector: {componentNames: [web]}, strategy: {path: [spec.replicas]}}]}}]`,
			web, policy.OnUpdate, policy.Rule{Kept: []string{"spec.replicas"}}},
		{"paths of another stage", `[{type: apply-once, properties: {enable: true, rules: [{selector: {componentNames: [web]}, strategy: {affect: onStateKeep, path: [spec.replicas]}}]}}]`,
			web, policy.OnUpdate, policy.Rule{}},
		{"the first rule that matches", `[{type: resource-update, properties: {rules: [
  {selector: {resourceTypes: [Job]}, strategy: {recreateFields: [spec.template]}}, {selector: {componentNames: [job]}, strategy: {op: replace}}]}}]`,
			job, policy.OnUpdate, policy.Rule{Recreate: []string{"spec.template"}}},
		{"replace", `[{type: resource-update, properties: {rules: [{selector: {resourceTypes: [Deployment]}, strategy: {op: replace}}]}}]`,
			web, policy.OnUpdate, policy.Rule{Replace: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := set(t, tt.policies)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.Rule(tt.object, tt.stage)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestCollect(t *testing.T) {
	t.Parallel()
	s, err := set(t, `
- type: garbage-collect
  properties:
    applicationRevisionLimit: 3
    continueOnFailure: true
    order: dependency
    rules:
    - {selector: {componentNames: [db]}, strategy: never}
    - {selector: {resourceTypes: [Job]}, strategy: onAppDelete, propagation: orphan}
    - {selector: {resourceTypes: [Pod]}, propagation: cascading}
`)
	if err != nil {
		t.Fatal(err)
	}
	if g := s.Collect; g.RevisionLimit != 3 || !g.ContinueOnFailure || !g.Dependency || g.KeepLegacy {
		t.Errorf("%+v", g)
	}
	for _, tt := range []struct {
		object policy.Object
		life   policy.Lifetime
		orphan bool
	}{
		{policy.Object{Component: "web", Kind: "Deployment"}, policy.OnAppUpdate, false},
		{policy.Object{Component: "db", Kind: "Job"}, policy.Never, false},
		{policy.Object{Component: "web", Kind: "Job"}, policy.OnAppDelete, true},
		{policy.Object{Component: "web", Kind: "Pod"}, policy.OnAppUpdate, false},
	} {
		if life, orphan := s.Collect.Rule(tt.object); life != tt.life || orphan != tt.orphan {
			t.Errorf("%+v: %s %t, want %s %t", tt.object, life, orphan, tt.life, tt.orphan)
		}
	}
	kept, err := set(t, `[{type: garbage-collect, properties: {keepLegacyResource: true}}]`)
	if err != nil {
		t.Fatal(err)
	}
	if life, _ := kept.Collect.Rule(policy.Object{Component: "web"}); life != policy.OnAppDelete {
		t.Errorf("kept legacy: %s", life)
	}
}
