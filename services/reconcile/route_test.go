package reconcile

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

func source(name, url string, git map[string]any) oam.Component {
	return oam.Component{Name: name, Type: "kustomize", Properties: map[string]any{"url": url, "path": "./x", "git": git}}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	x := newIndex()
	main := map[string]any{"branch": "main"}
	x.set("app/d/main", []oam.Component{source("c", "https://github.com/Acme/Config.git", main)})
	x.set("app/d/both", []oam.Component{source("a", "https://github.com/acme/config", main), source("b", "https://github.com/acme/other", main)})
	x.set("app/d/default", []oam.Component{source("c", "ssh://git@github.com/acme/config", nil)})
	x.set("app/d/tag", []oam.Component{source("c", "https://github.com/acme/config", map[string]any{"tag": "v1"})})
	x.set("app/d/web", []oam.Component{{Name: "w", Type: "webservice"}})
	x.set("app/d/broken", []oam.Component{source("c", "", main)})
	x.set("app/d/gone", []oam.Component{source("c", "https://github.com/acme/config", main)})
	x.set("app/d/gone", nil)

	for _, tc := range []struct {
		name, repo, ref string
		want            []events.Key
	}{
		{"a branch reaches those on it and those on the default branch", "github.com/acme/config", "refs/heads/main",
			[]events.Key{"app/d/both", "app/d/default", "app/d/main"}},
		{"another branch may be the default one", "github.com/acme/config", "refs/heads/dev", []events.Key{"app/d/default"}},
		{"a tag reaches those that name it", "github.com/acme/config", "refs/tags/v1", []events.Key{"app/d/default", "app/d/tag"}},
		{"a branch called like a tag does not", "github.com/acme/config", "refs/heads/v1", []events.Key{"app/d/default"}},
		{"each component counts", "github.com/acme/other", "refs/heads/main", []events.Key{"app/d/both"}},
		{"keys are compared whole", "github.com/acme/config2", "refs/heads/main", []events.Key{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, x.match([]string{tc.repo}, tc.ref)); diff != "" {
				t.Errorf("match(%s, %s) (-want +got):\n%s", tc.repo, tc.ref, diff)
			}
		})
	}
}

func TestWakes(t *testing.T) {
	t.Parallel()
	w := newWakes()
	w.add("app/d/a", events.CauseDrift)
	w.add("app/d/a", events.CauseManual)
	w.add("app/d/a", events.CauseDrift)
	w.add("app/d/b", events.CauseDrift)
	<-w.signal
	want := map[events.Key]events.Cause{"app/d/a": events.CauseManual, "app/d/b": events.CauseDrift}
	if diff := cmp.Diff(want, w.take()); diff != "" {
		t.Errorf("take() (-want +got):\n%s", diff)
	}
	if left := w.take(); len(left) != 0 {
		t.Errorf("take() = %v after take, want nothing", left)
	}
}

func TestChildTrouble(t *testing.T) {
	t.Parallel()
	app := func(phase oam.Phase, services ...oam.Service) *oam.Application {
		return &oam.Application{Status: oam.Status{Phase: phase, Services: services}}
	}
	for _, tc := range []struct {
		name  string
		child *oam.Application
		found bool
		want  string
	}{
		{"applied a moment ago", nil, false, ""},
		{"rolling out is no trouble", app(oam.PhaseRunningWorkflow), true, ""},
		{"running", app(oam.PhaseRunning), true, ""},
		{"unhealthy names the component", app(oam.PhaseUnhealthy, oam.Service{Name: "web", Message: "Ready:0/1"}), true, "unhealthy (web: Ready:0/1)"},
		{"failed", app(oam.PhaseWorkflowFailed), true, "workflowFailed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := childTrouble(tc.child, tc.found, nil); got != tc.want {
				t.Errorf("childTrouble() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPublishedArtifacts(t *testing.T) {
	t.Parallel()
	artifact := func(url string, oci map[string]any) []oam.Component {
		return []oam.Component{{Name: "c", Type: "kustomize", Properties: map[string]any{"repoType": "oci", "url": url, "path": ".", "oci": oci}}}
	}
	r := &Reconciler{index: newIndex()}
	r.index.set("app/d/latest", artifact("oci://ghcr.io/acme/deploy", nil))
	r.index.set("app/d/tag", artifact("oci://GHCR.io/acme/deploy", map[string]any{"tag": "v1"}))
	r.index.set("app/d/range", artifact("oci://ghcr.io/acme/deploy", map[string]any{"semver": "^1"}))
	r.index.set("app/d/fixed", artifact("oci://ghcr.io/acme/deploy", map[string]any{"digest": "sha256:00"}))
	r.index.set("app/d/hub", artifact("oci://docker.io/acme/deploy", nil))
	r.index.set("app/d/git", []oam.Component{source("c", "https://ghcr.io/acme/deploy", nil)})
	if n := r.WatchingArtifact([]string{"ghcr.io/acme/deploy", "elsewhere.example.com/x"}); n != 3 {
		t.Errorf("WatchingArtifact() = %d, want the 3 that a push may move", n)
	}
	for _, tc := range []struct {
		image, tag string
		want       []events.Key
	}{
		{"ghcr.io/acme/deploy", "v1", []events.Key{"app/d/range", "app/d/tag"}},
		{"ghcr.io/acme/deploy", "latest", []events.Key{"app/d/latest", "app/d/range"}},
		{"index.docker.io/acme/deploy", "latest", []events.Key{"app/d/hub"}},
		{"ghcr.io/acme/other", "v1", nil},
		{"://", "v1", nil},
	} {
		var got []events.Key
		for _, trigger := range r.RoutePublished(events.Event{ID: "e1"}, []string{tc.image}, tc.tag) {
			if trigger.Cause != events.CauseWebhook || trigger.Event != "e1" {
				t.Errorf("trigger %+v, want one of the event e1", trigger)
			}
			got = append(got, trigger.Key)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s:%s reaches (-want +got):\n%s", tc.image, tc.tag, diff)
		}
	}
}
