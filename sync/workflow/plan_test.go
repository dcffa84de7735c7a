package workflow_test

import (
	"testing"

	"github.com/tradewind-dev/tradewind/sync/workflow"
)

func TestNewPlanRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, spec, want string }{
		{"a referred workflow", "components: []\nworkflow: {ref: rollout}",
			`spec.workflow.ref "rollout": Workflow objects are not supported yet; write the steps in the Application`},
		{"an unknown type", steps("\n\t\t- {name: a, type: request}\n"),
			`workflow step "a": type "request" is not known; known types: apply-component, job, step-group, suspend`},
		{"an unknown type inside a group", steps("\n\t\t- {type: step-group, subSteps: [{type: request}]}\n"),
			`workflow step "step-0-0": type "request" is not known; known types: apply-component, job, step-group, suspend`},
		{"placement policies", "components: [{name: web, type: webservice}]\npolicies: [{type: topology}]",
			"policies of type topology and override are not supported yet: remove them, or write a workflow"},
		{"a bad duration", steps("\n\t\t- {name: a, type: suspend, properties: {duration: 1d}}\n"),
			`workflow step "a": properties.duration: "1d" is not a duration: want numbers with ms, s, m or h, such as 90s or 1h30m`},
		{"an unknown dependency", steps("\n\t\t- {name: a, type: job, dependsOn: [x]}\n"),
			`workflow step "a" depends on step "x", which does not exist`},
		{"a component that no step applies",
			"components: [{name: web, type: w, dependsOn: [db]}, {name: db, type: w}]\nworkflow: {steps: [{type: apply-component, properties: {component: web}}]}",
			`workflow step "step-0" depends on component "db", which no step applies`},
		{"an input from nowhere", "components: [{name: web, type: w, inputs: [{from: host}]}]",
			`workflow step "web": input from "host", which no step puts out`},
		{"a circle", dag("\n\t\t- {name: a, type: job, dependsOn: [b]}\n\t\t- {name: b, type: job, dependsOn: [a]}\n"),
			"workflow steps wait for each other in a circle: a → b → a"},
		{"a circle of inputs", "components: [{name: a, type: w, inputs: [{from: x}], outputs: [{name: y, valueFrom: v}]}, {name: b, type: w, inputs: [{from: y}], outputs: [{name: x, valueFrom: v}]}]",
			"workflow steps wait for each other in a circle: a → b → a"},
		{"waiting for a later step, one by one", steps("\n\t\t- {name: a, type: job, dependsOn: [b]}\n\t\t- {name: b, type: job}\n"),
			"workflow steps wait for each other in a circle: a → b → a"},
		{"a sub-step waiting for its group", dag("\n\t\t- {name: g, type: step-group, subSteps: [{name: x, type: job, dependsOn: [g]}]}\n"),
			"workflow steps wait for each other in a circle: g → x → g"},
		{"a sub-step waiting for what waits for its group",
			dag("\n\t\t- {name: g, type: step-group, subSteps: [{name: x, type: job, dependsOn: [b]}]}\n\t\t- {name: b, type: job, dependsOn: [g]}\n"),
			"workflow steps wait for each other in a circle: g → x → b → g"},
		{"a group waiting for what waits for its sub-step",
			dag("\n\t\t- {name: g, type: step-group, dependsOn: [b], subSteps: [{name: x, type: job}]}\n\t\t- {name: b, type: job, dependsOn: [x]}\n"),
			"workflow steps wait for each other in a circle: b → x → b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := workflow.NewPlan(application(t, tt.spec), workflow.TypeApplyComponent, anyType)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestNewPlanKnowsOnlyApplyComponentUnlessTold(t *testing.T) {
	t.Parallel()
	_, err := workflow.NewPlan(application(t, steps("\n\t\t- {name: a, type: job}\n")))
	want := `workflow step "a": type "job" is not known; known types: apply-component, step-group, suspend`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestNewPlanLeavesTheApplicationAlone(t *testing.T) {
	t.Parallel()
	app := application(t, "components: [{name: web, type: w, dependsOn: [db]}, {name: db, type: w}]\n"+
		"workflow: {mode: {steps: DAG}, steps: [{type: step-group, subSteps: [{type: apply-component, properties: {component: web}}]}, {type: apply-component, properties: {component: db}}]}")
	p, err := workflow.NewPlan(app)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Steps[0].SubSteps[0]; got.Name != "step-0-0" || len(got.DependsOn) != 1 || got.DependsOn[0] != "step-1" {
		t.Errorf("planned sub-step %+v", got)
	}
	if got := app.Spec.Workflow.Steps[0]; got.Name != "" || got.SubSteps[0].Name != "" || got.SubSteps[0].DependsOn != nil {
		t.Errorf("the Application's own step became %+v", got)
	}
}
