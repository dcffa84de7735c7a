package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// shelf is a cluster that holds these Applications, or answers everything with err.
type shelf struct {
	apps []*oam.Application
	err  error
	read func() // called before each read of one; nil for nothing
}

var resource = schema.GroupResource{Group: oam.Group, Resource: "applications"}

func (s shelf) ListApplications(_ context.Context, namespace string) ([]*oam.Application, error) {
	var out []*oam.Application
	for _, app := range s.apps {
		if namespace == "" || app.Namespace == namespace {
			out = append(out, app)
		}
	}
	return out, s.err
}

func (s shelf) GetApplication(_ context.Context, namespace, name string) (*oam.Application, error) {
	if s.read != nil {
		s.read()
	}
	for _, app := range s.apps {
		if app.Namespace == namespace && app.Name == name {
			return app, s.err
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return nil, apierrors.NewNotFound(resource, name)
}

// look runs one of the commands that read Applications.
func look(t *testing.T, s shelf, environ []string, args ...string) (*process, int) {
	t.Helper()
	p := newProcess(environ...)
	connect := func(clusterFlags) (applications, error) { return s, nil }
	root := newRootCmd(p.env)
	for _, cmd := range root.Commands() {
		if cmd.Name() == "ls" || cmd.Name() == "images" || cmd.Name() == "status" {
			root.RemoveCommand(cmd)
		}
	}
	root.AddCommand(lsCmd(p.env, connect), imagesCmd(p.env, connect), statusCmd(p.env, connect, nil))
	root.SetArgs(args)
	return p, p.exit(root.ExecuteContext(t.Context()))
}

var china = time.FixedZone("CST", 8*60*60)

func created(day, hour, minute, second int) metav1.Time {
	return metav1.NewTime(time.Date(2021, 9, day, hour, minute, second, 0, china))
}

const commit = "7f5ecb3a5bd4c8e1f20d9b6a7c3e4f5061728394"

// seedApps are the Applications of the example, as it shows them.
func seedApps() []*oam.Application {
	apps := &oam.Application{
		ObjectMeta: metav1.ObjectMeta{Name: "apps", Namespace: "default", CreationTimestamp: created(27, 16, 55, 53)},
		Spec:       oam.Spec{Components: []oam.Component{{Name: "apps", Type: "kustomize"}}},
		Status: oam.Status{
			Phase: oam.PhaseRunning, Services: []oam.Service{{Name: "apps", Healthy: true}},
			LatestRevision: &oam.Revision{Name: "apps-v1", N: 1},
			Sources:        []oam.Source{{Component: "apps", URL: "https://bot:secret@git.example.com/acme/config.git", Ref: "refs/heads/main", Commit: commit}},
		},
	}
	infra := &oam.Application{
		ObjectMeta: metav1.ObjectMeta{Name: "infra", Namespace: "default", CreationTimestamp: created(26, 20, 48, 9), Labels: map[string]string{"team": "blue"}},
		Spec:       oam.Spec{Components: []oam.Component{{Name: "database-config", Type: "kustomize"}}},
		Status:     oam.Status{Phase: oam.PhaseRunning, Services: []oam.Service{{Name: "database-config", Healthy: true}}},
	}
	mysql := &oam.Application{
		ObjectMeta: metav1.ObjectMeta{Name: "mysql", Namespace: "default", CreationTimestamp: created(26, 20, 48, 11)},
		Spec:       oam.Spec{Components: []oam.Component{{Name: "mysql-controller", Type: "helm"}, {Name: "mysql-cluster", Type: "raw"}}},
		Status: oam.Status{Phase: oam.PhaseRunning, Services: []oam.Service{
			{Name: "mysql-controller", Healthy: true}, {Name: "mysql-cluster", Healthy: true},
		}},
	}
	return []*oam.Application{mysql, apps, infra, myApp()}
}

func myApp() *oam.Application {
	return &oam.Application{
		ObjectMeta: metav1.ObjectMeta{Name: "my-app", Namespace: "default", CreationTimestamp: created(27, 16, 55, 55)},
		Spec: oam.Spec{Components: []oam.Component{
			{Name: "my-server", Type: "webservice", Traits: []oam.Trait{{Type: "ingress"}}},
		}},
		Status: oam.Status{
			Phase: oam.PhaseRunning,
			Services: []oam.Service{{
				Name: "my-server", Namespace: "default", Cluster: "local", Healthy: true, Message: "Ready:1/1",
				Traits: []oam.TraitStatus{{Type: "ingress", Healthy: true, Message: "Visiting URL: testsvc.example.com, IP: 10.0.0.7"}},
			}},
			Workflow: &oam.WorkflowStatus{Mode: "DAG-DAG", Phase: oam.WorkflowSucceeded, Finished: true, Steps: []oam.StepStatus{
				{ID: "5h3q1bq2x7", Name: "my-server", Type: "apply-component", Phase: oam.StepSucceeded},
			}},
		},
	}
}

// otherApps are the ones that are not well.
func otherApps() []*oam.Application {
	long := myApp()
	long.Name, long.Namespace = "shop", "prod"
	long.CreationTimestamp = metav1.NewTime(time.Date(2026, 3, 2, 11, 0, 0, 0, time.UTC))
	long.Spec.Components = []oam.Component{
		{Name: "web", Type: "webservice", Traits: []oam.Trait{{Type: "gateway"}, {Type: "scaler"}}},
		{Name: "worker", Type: "webservice"},
		{Name: "缓存", Type: "raw"},
	}
	long.Status = oam.Status{
		Phase: oam.PhaseUnhealthy,
		Services: []oam.Service{
			{Name: "web", Message: "Ready:0/2 ImagePullBackOff: failed to pull ghcr.io/fogdong/test-fog@sha256:" + strings.Repeat("0123456789abcdef", 4) + "\nand \x1b[31mmore\x1b[0m\u202e"},
			{Name: "worker", Healthy: true},
		},
	}
	empty := &oam.Application{
		ObjectMeta: metav1.ObjectMeta{Name: "empty", Namespace: "prod"},
		Spec:       oam.Spec{Components: []oam.Component{}},
		Status:     oam.Status{Phase: oam.PhaseStarting},
	}
	return []*oam.Application{long, empty}
}

func TestLs(t *testing.T) {
	t.Parallel()
	both := append(seedApps(), otherApps()...)
	tests := []struct {
		name string
		apps []*oam.Application
		args []string
	}{
		{"ls", both, []string{"ls"}},
		{"ls-all", both, []string{"ls", "-A"}},
		{"ls-wrapped", both, []string{"ls", "-n", "prod"}},
		{"ls-wide", both, []string{"ls", "-A", "-o", "wide"}},
		{"ls-no-headers", both, []string{"ls", "--no-headers"}},
		{"ls-selector", both, []string{"ls", "-l", "team in (blue)"}},
		{"ls-name", both, []string{"ls", "-A", "-o", "name"}},
		{"ls-json", both[2:3], []string{"ls", "-o", "json"}},
		{"ls-yaml", both[2:3], []string{"list", "-o", "yaml"}},
		{"ls-empty", nil, []string{"ls", "-n", "prod"}},
		{"ls-empty-all", nil, []string{"ls", "-A", "-l", "team=red"}},
		{"ls-empty-json", nil, []string{"ls", "-o", "json"}},
		{"ls-bad-selector", nil, []string{"ls", "-l", "team in"}},
		{"ls-bad-output", nil, []string{"ls", "-o", "csv"}},
		{"ls-bad-argument", nil, []string{"ls", "my-app"}},
		{"ls-bad-flag", nil, []string{"ls", "--namespaces"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, code := look(t, shelf{apps: tt.apps}, nil, tt.args...)
			golden(t, tt.name, p.transcript(tt.args, code))
		})
	}
}

func TestLsDoesNotChangeWhatItReads(t *testing.T) {
	t.Parallel()
	apps := seedApps()
	apps[0].ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	p, code := look(t, shelf{apps: apps}, nil, "ls", "-o", "json")
	if code != 0 || strings.Contains(p.out.String(), "managedFields") {
		t.Errorf("exit %d, output %s", code, &p.out)
	}
	if apps[0].Name != "mysql" || apps[0].ManagedFields == nil {
		t.Errorf("the caller's Applications changed: %s, %v", apps[0].Name, apps[0].ManagedFields)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	failing := seedApps()[1]
	failing.Status.Conditions = []metav1.Condition{
		{Type: oam.ConditionParsed, Status: metav1.ConditionTrue, Reason: "Available"},
		{Type: oam.ConditionFetched, Status: metav1.ConditionFalse, Reason: "FailedFetch", Message: "fetching refs/heads/release: not found"},
		{Type: oam.ConditionReady, Status: metav1.ConditionFalse, Reason: "ReconcileError", Message: "fetching refs/heads/release: not found"},
	}
	stalled := otherApps()[1]
	stalled.Status.Phase = oam.PhaseRendering
	stalled.Status.Conditions = []metav1.Condition{
		{Type: oam.ConditionReady, Status: metav1.ConditionFalse, Reason: "FailedRender", Message: "apps/broken.yaml:3: did not find expected ',' or '}'\nin \x1b]0;owned\x07flow"},
		{Type: oam.ConditionStalled, Status: metav1.ConditionTrue, Reason: "FailedParse", Message: "waiting for a change"},
	}
	running := otherApps()[0]
	running.Status.Phase = oam.PhaseRunningWorkflow
	running.Status.Services[0].Traits = []oam.TraitStatus{
		{Type: "gateway", Pending: true, Message: "⏳ Waiting for component to be healthy"}, {Type: "scaler", Healthy: true}, {Type: "hpa"},
	}
	running.Status.Workflow = &oam.WorkflowStatus{Mode: "StepByStep-DAG", Suspend: true, Steps: []oam.StepStatus{
		{ID: "aaaaaaaaaa", Name: "first", Type: "step-group", Phase: oam.StepFailed, Reason: "Timeout", SubSteps: []oam.StepStatus{
			{ID: "bbbbbbbbbb", Name: "web", Type: "apply-component", Phase: oam.StepFailed, Message: "wait healthy"},
			{ID: "cccccccccc", Name: "worker", Type: "apply-component", Phase: oam.StepSkipped},
		}},
		{ID: "dddddddddd", Name: "gate", Type: "suspend", Phase: oam.StepSuspending},
	}}
	failed := myApp()
	failed.Status.Phase = oam.PhaseWorkflowFailed

	tests := []struct {
		name string
		app  *oam.Application
		args []string
	}{
		{"status", myApp(), []string{"status", "my-app"}},
		{"status-source", seedApps()[1], []string{"status", "default/apps"}},
		{"status-fetch-fails", failing, []string{"status", "apps"}},
		{"status-stalled", stalled, []string{"status", "empty", "-n", "prod"}},
		{"status-running", running, []string{"status", "prod/shop"}},
		{"status-color", running, []string{"status", "prod/shop", "--color", "always"}},
		{"status-color-failed", failed, []string{"status", "my-app", "--color", "always"}},
		{"status-json", failed, []string{"status", "my-app", "-o", "json"}},
		{"status-not-found", myApp(), []string{"status", "my-ap"}},
		{"status-not-found-at-all", myApp(), []string{"status", "shop/web"}},
		{"status-two-namespaces", myApp(), []string{"status", "shop/my-app", "-n", "prod"}},
		{"status-bad-name", myApp(), []string{"status", "a/b/c"}},
		{"status-bad-color", myApp(), []string{"status", "my-app", "--color", "blue"}},
		{"status-no-name", myApp(), []string{"status"}},
		{"status-bad-output", myApp(), []string{"status", "my-app", "-o", "wide"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, code := look(t, shelf{apps: []*oam.Application{tt.app}}, nil, tt.args...)
			golden(t, tt.name, p.transcript(tt.args, code))
		})
	}
}

// TestStatusIsKubeVelas holds the page of the reference, byte for byte.
func TestStatusIsKubeVelas(t *testing.T) {
	t.Parallel()
	want := `About:

  Name:      	my-app
  Namespace: 	default
  Created at:	2021-09-27 16:55:55 +0800 CST
  Healthy:   	✅
  Details:   	running

Workflow:

  mode: DAG-DAG
  finished: true
  Suspend: false
  Terminated: false
  Steps
  - id: 5h3q1bq2x7
    name: my-server
    type: apply-component
    phase: succeeded

Services:

  - Name: my-server
    Cluster: local
    Namespace: default
    Type: webservice
    Health: ✅
      Message: Ready:1/1
    Traits:
      Type: ingress
      Health: ✅
        Message: Visiting URL: testsvc.example.com, IP: 10.0.0.7
`
	p, code := look(t, shelf{apps: seedApps()}, nil, "status", "my-app")
	if p.out.String() != want || code != 0 || p.err.Len() > 0 {
		t.Errorf("exit %d, stderr %q, stdout\n%s\nwant\n%s", code, &p.err, &p.out, want)
	}
}

// TestStatusOfADocumentThatDoesNotFit shows what there is, and why it is not more.
func TestStatusOfADocumentThatDoesNotFit(t *testing.T) {
	t.Parallel()
	app := myApp()
	app.Spec = oam.Spec{}
	app.Status.Workflow, app.Status.Phase = nil, oam.PhaseRendering
	args := []string{"status", "my-app"}
	p, code := look(t, shelf{apps: []*oam.Application{app}, err: errors.New("parsing Application my-app: spec.components: string given, list wanted")}, nil, args...)
	golden(t, "status-misfit", p.transcript(args, code))
}

func TestColourIsForTerminals(t *testing.T) {
	t.Parallel()
	for _, environ := range [][]string{nil, {"NO_COLOR=1"}, {"TERM=dumb"}} {
		p, _ := look(t, shelf{apps: seedApps()}, environ, "status", "my-app")
		if strings.Contains(p.out.String(), "\x1b") {
			t.Errorf("environment %v: colour in a pipe", environ)
		}
	}
}

func TestLookErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		args []string
	}{
		{"forbidden", apierrors.NewForbidden(resource, "", errors.New("no")), []string{"ls"}},
		{"unauthorized", apierrors.NewUnauthorized("who are you"), []string{"status", "my-app"}},
		{"not-installed", apierrors.NewNotFound(resource, ""), []string{"ls"}},
		{"not-installed", apierrors.NewNotFound(resource, ""), []string{"status", "my-app"}},
		{"unreachable", errors.New("listing Applications: connection refused"), []string{"ls"}},
	}
	for _, tt := range tests {
		t.Run(tt.name+"-"+tt.args[0], func(t *testing.T) {
			t.Parallel()
			p, code := look(t, shelf{err: tt.err}, nil, tt.args...)
			golden(t, "look-"+tt.name+"-"+tt.args[0], p.transcript(tt.args, code))
		})
	}
}

func TestTableWrap(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text  string
		limit int
		want  string
	}{
		{"short", 10, "short"},
		{"one two three", 7, "one two|three"},
		{"one two three", 8, "one two|three"},
		{"one two three", 3, "one|two|thr|ee"},
		{"exactly ten", 10, "exactly|ten"},
		{"a  b", 2, "a|b"},
		{"two\nlines", 10, "two|lines"},
		{"", 10, ""},
		{"缓存缓存", 4, "缓存|缓存"},
		{"缓存缓存", 5, "缓存|缓存"},
		{"缓", 1, "缓|"}, // no limit is too narrow to end
		{"anything goes", 0, "anything goes"},
	}
	for _, tt := range tests {
		if got := strings.Join(wrapText(tt.text, tt.limit), "|"); got != tt.want {
			t.Errorf("wrapText(%q, %d) = %s, want %s", tt.text, tt.limit, got, tt.want)
		}
	}
}
