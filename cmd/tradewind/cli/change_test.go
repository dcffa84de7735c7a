package cli

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// shop is an Application at its fourth revision: the third failed, and what came of the
// first was not recorded.
func shop() (*oam.Application, []apply.Revision) {
	spec := func(image string) oam.Spec {
		return oam.Spec{Components: []oam.Component{{Name: "web", Type: "webservice", Properties: map[string]any{"image": image}}}}
	}
	revision := func(n int64, name, image string, ended *apply.Delivery) apply.Revision {
		return apply.Revision{
			Revision: oam.Revision{Name: name, N: n, Hash: oam.SpecHash(spec(image))}, Size: 700 + 300*int(n), Ended: ended,
			Application: &oam.Application{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "prod"}, Spec: spec(image)},
		}
	}
	app := &oam.Application{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "prod", ResourceVersion: "7"}, Spec: spec("web:4"),
		Status: oam.Status{
			Phase: oam.PhaseRunningWorkflow, LatestRevision: &oam.Revision{Name: "shop-v4", N: 4, Hash: oam.SpecHash(spec("web:4"))},
			Workflow: &oam.WorkflowStatus{
				AppRevision: "shop-v4", Mode: "StepByStep-DAG", Phase: oam.WorkflowExecuting, StartTime: new(created(28, 9, 0, 0)),
				Steps: []oam.StepStatus{{Name: "web", Phase: oam.StepSucceeded}, {Name: "check", Phase: oam.StepFailed}},
			},
		},
	}
	revisions := []apply.Revision{
		revision(4, "shop-v4", "web:4", nil),
		revision(3, "shop-v3", "web:3", &apply.Delivery{Revision: "shop-v3", Phase: oam.WorkflowFailed, Begun: new(created(27, 9, 0, 0))}),
		revision(2, "shop-v2", "web:2", &apply.Delivery{Revision: "shop-v2", Phase: oam.WorkflowSucceeded, Begun: new(created(26, 9, 0, 0))}),
		revision(1, "shop-v1", "web:1", nil),
	}
	revisions[1].Application.Annotations = map[string]string{oam.AnnotationPublishVersion: "beta"}
	return app, revisions
}

func TestHistory(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"history": {"history", "prod/shop"}, "history-json": {"history", "prod/shop", "-o", "json"}, "history-name": {"history", "prod/shop", "-o", "name"},
	} {
		app, revisions := shop()
		p, code := at(t, &lab{shelf: shelf{apps: []*oam.Application{app}}, revisions: revisions}, nil, args...)
		golden(t, name, p.transcript(args, code))
	}
	args := []string{"history", "my-app"}
	p, code := at(t, &lab{shelf: shelf{apps: seedApps()}}, nil, args...)
	golden(t, "history-empty", p.transcript(args, code))
}

func TestRollback(t *testing.T) {
	t.Parallel()
	fromGit := func(app *oam.Application, l *lab) {
		app.Labels = map[string]string{oam.LabelSource: "default.apps"}
		parent := seedApps()[1]
		parent.Spec.Components[0].Properties = map[string]any{
			"repoType": "git", "url": "https://bot:secret@git.example.com/acme/config.git", "path": "./apps", "git": map[string]any{"branch": "main"},
		}
		l.apps = append(l.apps, parent)
	}
	tests := []struct {
		name  string
		args  []string
		setup func(*oam.Application, *lab)
		did   string
	}{
		{name: "rollback", args: []string{"rollback", "prod/shop", "--yes"}, did: "spec of shop: web:2, dry run false"},
		{name: "rollback-to", args: []string{"rollback", "prod/shop", "--to", "v1", "-y"}, did: "spec of shop: web:1, dry run false"},
		{name: "rollback-dry-run", args: []string{"rollback", "prod/shop", "--dry-run"}, did: "spec of shop: web:2, dry run true"},
		{name: "rollback-unconfirmed", args: []string{"rollback", "prod/shop"}},
		{name: "rollback-same", args: []string{"rollback", "prod/shop", "--to", "shop-v4", "--yes"}},
		{name: "rollback-unknown", args: []string{"rollback", "prod/shop", "--to", "shop-v9", "--yes"}},
		{name: "rollback-nothing", args: []string{"rollback", "prod/shop", "--yes"}, setup: func(_ *oam.Application, l *lab) { l.revisions = l.revisions[:2] }},
		{name: "rollback-git", args: []string{"rollback", "prod/shop"}, setup: fromGit},
		{name: "rollback-forbidden", args: []string{"rollback", "prod/shop", "--yes"}, did: "spec of shop: web:2, dry run false",
			setup: func(_ *oam.Application, l *lab) { l.fail = apierrors.NewForbidden(resource, "shop", errors.New("no")) }},
		{name: "workflow-rollback-running", args: []string{"workflow", "rollback", "prod/shop", "--yes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app, revisions := shop()
			l := &lab{shelf: shelf{apps: []*oam.Application{app}}, revisions: revisions}
			if tt.setup != nil {
				tt.setup(app, l)
			}
			p, code := at(t, l, nil, tt.args...)
			golden(t, tt.name, p.transcript(tt.args, code))
			if did := strings.Join(l.did, "; "); did != tt.did {
				t.Errorf("did %q, want %q", did, tt.did)
			}
		})
	}
}

func TestWorkflow(t *testing.T) {
	t.Parallel()
	suspended := func(w *oam.WorkflowStatus) { w.Suspend, w.Phase = true, oam.WorkflowSuspending }
	finished := func(w *oam.WorkflowStatus) { w.Finished, w.Phase = true, oam.WorkflowFailed }
	tests := []struct {
		name  string
		args  []string
		setup func(*oam.WorkflowStatus)
		op    string // sent, with its step
	}{
		{"workflow-suspend", []string{"suspend"}, nil, "suspend "},
		{"workflow-suspend-twice", []string{"suspend"}, suspended, ""},
		{"workflow-suspend-finished", []string{"suspend"}, finished, ""},
		{"workflow-resume", []string{"resume"}, suspended, "resume "},
		{"workflow-resume-running", []string{"resume"}, nil, ""},
		{"workflow-terminate", []string{"terminate"}, suspended, "terminate "},
		{"workflow-terminate-finished", []string{"terminate"}, finished, ""},
		{"workflow-restart", []string{"restart"}, finished, "restart "},
		{"workflow-restart-step", []string{"restart", "-s", "check"}, finished, "restart check"},
		{"workflow-restart-good-step", []string{"restart", "-s", "web"}, finished, ""},
		{"workflow-restart-no-step", []string{"restart", "-s", "wob"}, finished, ""},
		{"workflow-dry-run", []string{"suspend", "--dry-run"}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app, _ := shop()
			if tt.setup != nil {
				tt.setup(app.Status.Workflow)
			}
			l := &lab{shelf: shelf{apps: []*oam.Application{app}}}
			args := append([]string{"workflow", tt.args[0], "prod/shop"}, tt.args[1:]...)
			p, code := at(t, l, nil, args...)
			golden(t, tt.name, p.transcript(args, code))
			checkRequest(t, strings.Join(l.did, ""), tt.op)
		})
	}
	app, _ := shop()
	app.Status.Workflow = nil
	args := []string{"workflow", "suspend", "prod/shop"}
	p, code := at(t, &lab{shelf: shelf{apps: []*oam.Application{app}}}, nil, args...)
	golden(t, "workflow-not-begun", p.transcript(args, code))
}

func TestWorkflowAnswers(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]*lab{
		"workflow-refused": {refuses: `suspend: step "web" is not running`}, "workflow-unanswered": {idle: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			app, _ := shop()
			l.apps = []*oam.Application{app}
			args := []string{"workflow", "suspend", "prod/shop", "-s", "web"}
			p, code := at(t, l, nil, args...)
			golden(t, name, p.transcript(args, code))
		})
	}
	app, _ := shop()
	args := []string{"workflow", "suspend", "prod/shop", "--timeout", "0s"}
	p, code := at(t, &lab{shelf: shelf{apps: []*oam.Application{app}}, idle: true}, nil, args...)
	golden(t, "workflow-not-awaited", p.transcript(args, code))
}

// checkRequest reads the annotation that a worker will read.
func checkRequest(t *testing.T, did, want string) {
	t.Helper()
	if want == "" || did == "" {
		if want != did {
			t.Errorf("did %q, want %q", did, want)
		}
		return
	}
	raw := regexp.MustCompile(`\{.*\}`).FindString(did)
	var r workflowRequest
	if err := json.Unmarshal([]byte(raw), &r); err != nil || r.Op+" "+r.Step != want || len(r.ID) < 20 || r.At != "2026-03-02T12:00:00Z" {
		t.Errorf("%s: %v, %+v; want %q", did, err, r, want)
	}
	if !strings.HasPrefix(did, "annotate prod/shop map[tradewind.dev/workflow:{") {
		t.Errorf("did %s", did)
	}
}

func TestWorkflowList(t *testing.T) {
	t.Parallel()
	app, _ := shop()
	for name, args := range map[string][]string{"workflow-list": {"workflow", "list"}, "workflow-list-all": {"workflow", "list", "-A"}} {
		p, code := at(t, &lab{shelf: shelf{apps: append(seedApps(), app)}}, nil, args...)
		golden(t, name, p.transcript(args, code))
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	paused := func(l *lab) { l.apps[3].Labels = map[string]string{oam.LabelPause: "true"} }
	tests := []struct {
		name  string
		args  []string
		setup func(*lab)
		did   string
	}{
		{"reconcile", []string{"reconcile", "my-app"}, nil, "annotate default/my-app map[tradewind.dev/requested-at:2026-03-02T12:00:00Z]"},
		{"reconcile-dry-run", []string{"reconcile", "my-app", "--dry-run"}, nil, ""},
		{"reconcile-suspended", []string{"reconcile", "my-app"}, paused, ""},
		{"suspend", []string{"suspend", "my-app"}, nil, "label default/my-app map[controller.core.oam.dev/pause:true]"},
		{"suspend-twice", []string{"suspend", "my-app"}, paused, ""},
		{"resume", []string{"resume", "my-app"}, paused, "label default/my-app map[controller.core.oam.dev/pause:]"},
		{"resume-twice", []string{"resume", "my-app"}, nil, ""},
		{"delete", []string{"delete", "my-app", "--yes"}, nil, "delete my-app, orphan false, dry run false"},
		{"delete-orphan", []string{"delete", "my-app", "--yes", "--orphan"}, nil, "delete my-app, orphan true, dry run false"},
		{"delete-dry-run", []string{"delete", "my-app", "--dry-run"}, nil, "delete my-app, orphan false, dry run true"},
		{"delete-unconfirmed", []string{"delete", "my-app"}, nil, ""},
		{"delete-from-git", []string{"delete", "my-app", "--yes"},
			func(l *lab) { l.apps[3].Labels = map[string]string{oam.LabelSource: "default.apps"} }, "delete my-app, orphan false, dry run false"},
		{"unknown-command", []string{"rolback", "my-app"}, nil, ""},
		{"unknown-subcommand", []string{"workflow", "resum", "my-app"}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &lab{shelf: shelf{apps: seedApps()}}
			l.entries, _ = entriesOf("v1 Service default/my-server", "apps/v1 Deployment default/my-server")
			if tt.setup != nil {
				tt.setup(l)
			}
			p, code := at(t, l, nil, tt.args...)
			golden(t, tt.name, p.transcript(tt.args, code))
			if did := strings.Join(l.did, "; "); did != tt.did {
				t.Errorf("did %q, want %q", did, tt.did)
			}
		})
	}
}

// TestWait runs on virtual time: the Application changes while it is waited for.
func TestWait(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		args   []string
		change func(*oam.Application)
	}{
		{"wait", []string{"wait", "my-app"}, func(app *oam.Application) { app.Status.Phase = oam.PhaseRunning }},
		{"wait-timeout", []string{"wait", "my-app", "--timeout", "1m"}, func(app *oam.Application) {
			app.Status.Services[0].Healthy, app.Status.Services[0].Message = false, "Ready:0/1"
		}},
		{"wait-commit", []string{"wait", "my-app", "--commit", commit[:9]}, func(app *oam.Application) {
			app.Status.Phase, app.Status.Sources = oam.PhaseRunning, []oam.Source{{Component: "my-server", Commit: commit}}
		}},
		{"wait-old-generation", []string{"wait", "my-app", "--timeout", "10s"}, func(app *oam.Application) {
			app.Status.Phase, app.Generation = oam.PhaseRunning, 2
		}},
		{"wait-bad-for", []string{"wait", "my-app", "--for", "lunch"}, nil},
		{"wait-short-commit", []string{"wait", "my-app", "--commit", "7f5"}, nil},
		{"wait-unknown", []string{"wait", "my-ap"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &lab{shelf: shelf{apps: []*oam.Application{myApp()}}}
				l.apps[0].Status.Phase = oam.PhaseRunningWorkflow
				begun := time.Now()
				l.read = func() {
					if tt.change != nil && time.Since(begun) >= 3500*time.Millisecond {
						tt.change(l.apps[0])
					}
				}
				p, code := at(t, l, nil, tt.args...)
				golden(t, tt.name, p.transcript(tt.args, code))
			})
		})
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{"my": "my-app,mysql", "default/my-": "default/my-app", "x": ""} {
		p, code := at(t, &lab{shelf: shelf{apps: seedApps()}}, nil, "__complete", "tree", typed)
		var got []string
		for line := range strings.Lines(p.out.String()) {
			if !strings.HasPrefix(line, ":") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		slices.Sort(got)
		if code != 0 || strings.Join(got, ",") != want {
			t.Errorf("%s: exit %d, %v, want %s", typed, code, got, want)
		}
	}
	if p, code := at(t, &lab{}, nil, "completion", "bash"); code != 0 || !strings.Contains(p.out.String(), "__complete") {
		t.Errorf("completion bash: exit %d, %s", code, &p.err)
	}
}
