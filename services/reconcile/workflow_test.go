package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/policy"
	"github.com/tradewind-dev/tradewind/sync/render"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	var got []string
	for n := 1; n <= 14; n++ {
		got = append(got, backoff(n, 5*time.Minute).String())
	}
	want := "1s 1s 1s 1s 1s 3s 6s 12s 25s 51s 1m42s 3m24s 5m0s 5m0s"
	if got := strings.Join(got, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := backoff(1000, time.Minute); got != time.Minute {
		t.Errorf("after many times %s", got)
	}
}

func TestRestartDue(t *testing.T) {
	t.Parallel()
	start := metav1.NewTime(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC))
	w := &oam.WorkflowStatus{StartTime: &start}
	tests := []struct {
		value, due string
		again      bool
		err        string
	}{
		{"true", "0001-01-01T00:00:00Z", false, "<nil>"},
		{"2026-03-03T08:00:00Z", "2026-03-03T08:00:00Z", false, "<nil>"},
		{"24h", "2026-03-03T12:00:00Z", true, "<nil>"},
		{"yes", "0001-01-01T00:00:00Z", false, `annotation app.oam.dev/restart-workflow: "yes" given, true, a time (RFC 3339) or a duration wanted`},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			t.Parallel()
			due, again, err := restartDue(tt.value, w)
			if due.Format(time.RFC3339) != tt.due || again != tt.again || fmt.Sprint(err) != tt.err {
				t.Errorf("restartDue(%q) = %s, %t, %v", tt.value, due.Format(time.RFC3339), again, err)
			}
		})
	}
}

func TestDepths(t *testing.T) {
	t.Parallel()
	got := depths([]oam.Component{{Name: "web", DependsOn: []string{"db", "cache"}}, {Name: "cache"}, {Name: "db", DependsOn: []string{"disk"}}, {Name: "disk"}})
	if diff := cmp.Diff(map[string]int{"web": 2, "db": 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnfinished(t *testing.T) {
	t.Parallel()
	steps := []oam.StepStatus{
		{Name: "a", Phase: oam.StepSucceeded}, {Name: "g", Phase: oam.StepRunning, SubSteps: []oam.StepStatus{{Name: "x", Phase: oam.StepPending}, {Name: "y", Phase: oam.StepSuspending}}},
	}
	if got := unfinished(steps); got != "y" {
		t.Errorf("got %q", got)
	}
	if got := unfinished(steps[:1]); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestEditedWorkflow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		w    *oam.WorkflowStatus
		want bool
	}{
		{"none", nil, false},
		{"runs", &oam.WorkflowStatus{Phase: oam.WorkflowExecuting}, false},
		{"suspended by us", &oam.WorkflowStatus{Phase: oam.WorkflowSuspending, Suspend: true}, false},
		{"suspended by another", &oam.WorkflowStatus{Phase: oam.WorkflowExecuting, Suspend: true}, true},
		{"resumed by another", &oam.WorkflowStatus{Phase: oam.WorkflowSuspending}, true},
		{"terminated by another", &oam.WorkflowStatus{Phase: oam.WorkflowExecuting, Terminated: true}, true},
		{"terminated by us", &oam.WorkflowStatus{Phase: oam.WorkflowTerminated, Terminated: true, Finished: true}, false},
	} {
		if got := editedWorkflow(tt.w); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestStagedAndPostponed(t *testing.T) {
	t.Parallel()
	object := func(name, trait, stage string) render.Object {
		o := render.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{}}, Trait: trait, Stage: stage}
		o.SetName(name)
		return o
	}
	names := func(objects []render.Object) string {
		var out []string
		for _, o := range objects {
			out = append(out, o.GetName())
		}
		return strings.Join(out, " ")
	}
	before, usual, after := staged([]render.Object{
		object("web", "", ""), object("job", "migrate", render.StagePre), object("svc", "expose", render.StagePost), object("hpa", "hpa", render.StageDefault),
	})
	if got := names(before) + "|" + names(usual) + "|" + names(after); got != "job|web hpa|svc" {
		t.Errorf("staged %s", got)
	}
	service := oam.Service{Traits: []oam.TraitStatus{{Type: "hpa", Healthy: true}, {Type: "expose", Healthy: true}}}
	postpone(&service, after)
	want := []oam.TraitStatus{{Type: "hpa", Healthy: true}, {Type: "expose", Pending: true, Message: "⏳ Waiting for component to be healthy"}}
	if diff := cmp.Diff(want, service.Traits); diff != "" {
		t.Error(diff)
	}
}

func TestDependenciesDelivered(t *testing.T) {
	t.Parallel()
	here, there := policy.Placement{Cluster: policy.Local}, policy.Placement{Cluster: policy.Local, Namespace: "prod"}
	web := &part{Instance: policy.Instance{Component: oam.Component{Name: "web", DependsOn: []string{"db", "elsewhere"}}, Placement: here}}
	db := &part{Instance: policy.Instance{Component: oam.Component{Name: "db"}, Placement: here}}
	other := &part{Instance: policy.Instance{Component: oam.Component{Name: "db"}, Placement: there}}
	all := []*part{web, db, other}
	if dependenciesDelivered(web, all) {
		t.Error("db was not looked at yet")
	}
	db.service = &oam.Service{}
	if dependenciesDelivered(web, all) {
		t.Error("db is not healthy")
	}
	db.service.Healthy = true // the one in the other place does not matter
	if !dependenciesDelivered(web, all) {
		t.Error("db is healthy")
	}
}

func TestCallsThatMayBeMadeAgain(t *testing.T) {
	t.Parallel()
	for call, want := range map[string]bool{
		"kube read": true, "kube list": true, "kube apply": false, "kube delete": false, "http do": false, "email send": false,
		"query listResourcesInApp": true, "oam load": true, "oam component-apply": false, "multicluster deploy": false,
	} {
		provider, function, _ := strings.Cut(call, " ")
		if got := reads(render.Call{Provider: provider, Function: function}); got != want {
			t.Errorf("reads(%s) = %t", call, got)
		}
	}
}

func TestWhatIsWrittenDownHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	secret := map[string]any{"kind": "Secret", "data": map[string]any{"password": "cGFzcw=="}, "metadata": map[string]any{"name": "s"}}
	config := map[string]any{"kind": "ConfigMap", "data": map[string]any{"a": "b"}}
	got := withoutSecrets(map[string]any{"value": []any{secret, config}, "statusCode": int64(200)})
	want := map[string]any{"statusCode": int64(200), "value": []any{map[string]any{"kind": "Secret", "metadata": map[string]any{"name": "s"}}, config}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if secret["data"] == nil {
		t.Error("the answer itself was changed")
	}
}
