package oam

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	now := metav1.NewTime(time.Date(2026, 11, 27, 1, 2, 3, 4, time.UTC))
	document := func() *Application {
		app := &Application{}
		app.Labels, app.DeletionTimestamp = map[string]string{"a": "1"}, &now
		app.Spec.Components = []Component{{
			Name: "web", DependsOn: []string{"db"},
			Properties: map[string]any{"image": "web:1", "ports": []any{map[string]any{"port": int64(80)}}, "none": nil},
		}}
		app.Status.Workflow = &WorkflowStatus{Steps: []StepStatus{{Name: "a", SubSteps: []StepStatus{{Name: "b"}}}}}
		app.Status.Conditions = []metav1.Condition{{Type: "Ready", LastTransitionTime: now}}
		return app
	}
	given := document()
	copied := given.DeepCopy()
	if diff := cmp.Diff(document(), copied); diff != "" {
		t.Errorf("the copy differs (-want +got):\n%s", diff)
	}
	copied.Labels["a"] = "2"
	copied.DeletionTimestamp.Time = time.Time{}
	c := &copied.Spec.Components[0]
	c.DependsOn[0] = "other"
	c.Properties["image"] = "web:2"
	c.Properties["ports"].([]any)[0].(map[string]any)["port"] = int64(81)
	copied.Status.Workflow.Steps[0].SubSteps[0].Name = "c"
	copied.Status.Conditions[0].Type = "Healthy"
	now = metav1.NewTime(time.Date(2026, 11, 27, 1, 2, 3, 4, time.UTC))
	if diff := cmp.Diff(document(), given); diff != "" {
		t.Errorf("what was copied has changed with the copy (-want +got):\n%s", diff)
	}
	if (*Status)(nil).DeepCopy() != nil {
		t.Error("a copy of nothing is something")
	}
}
