package helm_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/release/common"
	rspb "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/helm"
)

// life drives a release as a Reconciler does, with Secrets in the place of a cluster.
type life struct {
	t       *testing.T
	secrets map[string]*unstructured.Unstructured
	now     time.Time
}

func newLife(t *testing.T) *life {
	t.Helper()
	return &life{t: t, secrets: map[string]*unstructured.Unstructured{}, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// look opens the release from what is stored, lets do change it, and stores it.
func (l *life) look(do func(r *helm.Release)) *helm.Release {
	l.t.Helper()
	var stored []*unstructured.Unstructured
	for _, s := range l.secrets {
		stored = append(stored, s)
	}
	r, err := helm.Open("web", "shop", "apps", stored)
	if err != nil {
		l.t.Fatal(err)
	}
	do(r)
	all, changed, err := r.Records()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, s := range changed {
		l.secrets[s.GetName()] = s
	}
	for name := range l.secrets { // as prune does
		if !slices.ContainsFunc(all, func(o *unstructured.Unstructured) bool { return o.GetName() == name }) {
			delete(l.secrets, name)
		}
	}
	return r
}

// install renders a chart, by way of the form in which it goes to another process, and
// begins a version.
func (l *life) install(r *helm.Release, c *helm.Chart, input string) {
	l.t.Helper()
	raw, err := json.Marshal(c)
	if err != nil {
		l.t.Fatal(err)
	}
	var there helm.Chart
	if err := json.Unmarshal(raw, &there); err != nil {
		l.t.Fatal(err)
	}
	values := map[string]any{"colour": input}
	out, err := helm.Render(l.t.Context(), &there, helm.Input{Name: "web", Namespace: "shop", Revision: r.NextVersion(), Upgrade: r.Upgrades(), Values: values})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := r.Install(c, out, input, values, l.now); err != nil {
		l.t.Fatal(err)
	}
}

// try makes one attempt at input; version is the chart's.
func (l *life) try(input, version string, well bool) {
	l.t.Helper()
	l.look(func(r *helm.Release) {
		if next := r.Wants(input, 1); next != helm.Begin {
			l.t.Fatalf("%s: next is %s", input, next)
		}
		l.install(r, chartFiles(version, nil).chart(l.t), input)
	})
	l.look(func(r *helm.Release) { // another process, in the middle
		if next := r.Wants(input, 1); next != helm.Keep {
			l.t.Errorf("%s, pending: next is %s", input, next)
		}
		if well {
			r.Done()
		} else {
			r.Fail("no")
		}
	})
}

func (l *life) next(input string) (next helm.Next) {
	l.look(func(r *helm.Release) { next = r.Wants(input, 1) })
	return next
}

// versions reads the records as Helm's documentation describes them.
func (l *life) versions() []*rspb.Release {
	l.t.Helper()
	var out []*rspb.Release
	for _, o := range l.secrets {
		text, _, _ := unstructured.NestedString(o.Object, "data", "release")
		inner, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			l.t.Fatal(err)
		}
		packed, err := base64.StdEncoding.DecodeString(string(inner))
		if err != nil {
			l.t.Fatal(err)
		}
		unzipped, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			l.t.Fatal(err)
		}
		var r rspb.Release
		if err := json.NewDecoder(unzipped).Decode(&r); err != nil {
			l.t.Fatal(err)
		}
		want := map[string]string{"owner": "helm", "name": "web", "status": r.Info.Status.String(), "version": strconv.Itoa(r.Version)}
		for key, value := range want {
			if got := o.GetLabels()[key]; got != value {
				l.t.Errorf("%s: label %s is %q, want %q", o.GetName(), key, got, value)
			}
		}
		if kind, _, _ := unstructured.NestedString(o.Object, "type"); kind != "helm.sh/release.v1" || o.GetNamespace() != "apps" {
			l.t.Errorf("%s is a %s in %s", o.GetName(), kind, o.GetNamespace())
		}
		out = append(out, &r)
	}
	slices.SortFunc(out, func(a, b *rspb.Release) int { return a.Version - b.Version })
	return out
}

// history is the state of every version, as "helm history" prints it.
func (l *life) history() []string {
	l.t.Helper()
	var out []string
	for _, r := range l.versions() {
		out = append(out, fmt.Sprintf("%d %s %s-%s %s", r.Version, r.Info.Status, r.Chart.Name(), r.Chart.Metadata.Version, r.Info.Description))
	}
	return out
}

// TestRecords are in the form that Helm reads; a story has Helm itself read them.
func TestRecords(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.try("a", "1.0.0", true)
	if diff := cmp.Diff([]string{"1 deployed web-1.0.0 Install complete"}, l.history()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	l.try("b", "1.1.0", true)
	want := []string{"1 superseded web-1.0.0 Install complete", "2 deployed web-1.1.0 Upgrade complete"}
	if diff := cmp.Diff(want, l.history()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r := l.versions()[1]
	if r.Namespace != "shop" || r.Config["colour"] != "b" || !strings.Contains(r.Manifest, "# Source: web/templates/cm.yaml") || r.Info.Status != common.StatusDeployed {
		t.Errorf("got %+v", r)
	}
	if l.next("b") != helm.Keep {
		t.Error("an unchanged release is not kept")
	}
}

// TestUpgradeThatFails is rolled back, tried again as often as retries says, and then
// left at the version that was well.
func TestUpgradeThatFails(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.try("a", "1.0.0", true)
	for range 2 {
		l.try("b", "2.0.0", false)
		if next := l.next("b"); next != helm.RollBack {
			t.Fatalf("next is %s", next)
		}
		l.look(func(r *helm.Release) { r.Return("b", l.now) })
		if next := l.next("b"); next != helm.Keep {
			t.Fatalf("while it is rolled back next is %s", next)
		}
		l.look(func(r *helm.Release) { r.Done() })
	}
	if next := l.next("b"); next != helm.GiveUp {
		t.Errorf("next is %s", next)
	}
	l.look(func(r *helm.Release) {
		if why, failed := r.Failed("b"); !failed || !strings.Contains(why, "Upgrade of web 2.0.0 failed: no (rolled back to version 3)") {
			t.Errorf("failed: %v, %s", failed, why)
		}
		if _, failed := r.Failed("a"); failed || r.Wants("a", 1) != helm.Keep {
			t.Error("what is there is not good enough when it is wanted again")
		}
		if r.Chart() != "web-1.0.0" {
			t.Errorf("the chart is %s", r.Chart())
		}
	})
	want := []string{
		"1 superseded web-1.0.0 Install complete", "2 failed web-2.0.0 Upgrade of web 2.0.0 failed: no", "3 superseded web-1.0.0 Rollback to 1",
		"4 failed web-2.0.0 Upgrade of web 2.0.0 failed: no", "5 deployed web-1.0.0 Rollback to 3",
	}
	if diff := cmp.Diff(want, l.history()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	l.try("c", "3.0.0", true)
	if got := l.history(); len(got) != 5 || got[0][0] != '2' {
		t.Errorf("five versions are kept, got %q", got)
	}
}

// TestManyTries are counted although old records are dropped.
func TestManyTries(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	chart := chartFiles("2.0.0", nil).chart(t)
	l.try("a", "1.0.0", true)
	tried := 0
	for range 50 {
		gaveUp := false
		l.look(func(r *helm.Release) {
			switch r.Wants("b", 6) {
			case helm.Begin:
				tried++
				l.install(r, chart, "b")
				r.Fail("no")
			case helm.RollBack:
				r.Return("b", l.now)
				r.Done()
			case helm.GiveUp:
				gaveUp = true
			}
		})
		if gaveUp {
			break
		}
	}
	if got := l.history(); tried != 7 || len(got) != 5 || !strings.HasPrefix(got[4], "15 deployed web-1.0.0 Rollback to 13") {
		t.Errorf("%d tries, %q", tried, got)
	}
	// A way back that fails, and then what it leads to is wanted again.
	l.try("c", "3.0.0", false)
	l.look(func(r *helm.Release) { r.Return("c", l.now); r.Fail("no") })
	if next := l.next("a"); next != helm.Begin {
		t.Errorf("next is %s", next)
	}
}

// TestInstallThatFails is tried again where it is: there is nothing to go back to.
func TestInstallThatFails(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.try("a", "1.0.0", false)
	l.try("a", "1.0.0", false)
	if next := l.next("a"); next != helm.GiveUp {
		t.Errorf("next is %s", next)
	}
	l.try("b", "1.0.1", true)
	if got := l.history(); !strings.Contains(got[2], "3 deployed web-1.0.1 Install complete") {
		t.Errorf("got %q", got)
	}
}

// TestWantsChangeInTheMiddle closes what was begun and begins anew.
func TestWantsChangeInTheMiddle(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.look(func(r *helm.Release) {
		l.install(r, chartFiles("1.0.0", nil).chart(t), "a")
	})
	l.try("b", "1.1.0", true)
	if got := l.history(); !strings.HasPrefix(got[0], "1 failed web-1.0.0 Superseded") || !strings.HasPrefix(got[1], "2 deployed") {
		t.Errorf("got %q", got)
	}
}

func TestHooksRunInOrder(t *testing.T) {
	t.Parallel()
	hook := func(name, events, weight, policy string) string {
		return fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: %s\n  annotations: {helm.sh/hook: %q, helm.sh/hook-weight: %q, helm.sh/hook-delete-policy: %q}\n", name, events, weight, policy)
	}
	chart := chartFiles("1.0.0", files{
		"templates/a.yaml": hook("late", "pre-install", "5", ""), "templates/b.yaml": hook("early", "pre-install,post-upgrade", "-5", "hook-succeeded"),
		"templates/c.yaml": hook("after", "post-install", "0", ""), "templates/d.yaml": hook("test", "test", "0", ""),
		"templates/e.yaml": hook("delete", "pre-delete", "0", ""),
	}).chart(t)
	l := newLife(t)
	r := l.look(func(r *helm.Release) {
		l.install(r, chart, "a")
	})
	names := func(before bool) (out []string) {
		hooks, err := r.Hooks(before)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hooks {
			out = append(out, h.Object.GetName())
		}
		return out
	}
	if diff := cmp.Diff([]string{"early", "late"}, names(true)); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"after"}, names(false)); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"pre-delete"}, r.Unrun()); diff != "" {
		t.Errorf("not run (-want +got):\n%s", diff)
	}
	l.look(func(r *helm.Release) {
		hooks, err := r.Hooks(true)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hooks {
			h.Started(l.now)
			h.Ended(l.now, true)
		}
	})
	r = l.look(func(*helm.Release) {}) // as another process reads it
	hooks, err := r.Hooks(true)
	if err != nil || !hooks[0].Passed() || !hooks[1].Passed() {
		t.Errorf("what ran is not known any more: %v", err)
	}
	if ran := r.Ran(); len(ran) != 1 || ran[0].GetName() != "late" {
		t.Errorf("what stays: %v", ran)
	}
	if _, objects, err := r.Objects(); err != nil || len(objects) != 1 || objects[0].GetKind() != "ConfigMap" || objects[0].GetAnnotations()["meta.helm.sh/release-name"] != "web" {
		t.Errorf("objects: %v, %v", objects, err)
	}
}

func TestHookEnd(t *testing.T) {
	t.Parallel()
	job := func(kind, status string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"kind": "Job", "metadata": map[string]any{"name": "j"}, "status": map[string]any{
			"conditions": []any{map[string]any{"type": kind, "status": status, "reason": "BackoffLimitExceeded", "message": "too often"}},
		}}}
	}
	pod := func(phase string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"kind": "Pod", "metadata": map[string]any{"name": "p"}, "status": map[string]any{"phase": phase}}}
	}
	for _, c := range []struct {
		live       *unstructured.Unstructured
		over, well bool
		message    string
	}{
		{job("Complete", "True"), true, true, ""}, {job("Complete", "False"), false, false, "Job j is running"},
		{job("Failed", "True"), true, false, "Job j failed: too often (BackoffLimitExceeded)"},
		{pod("Running"), false, false, ""}, {pod("Succeeded"), true, true, ""}, {pod("Failed"), true, false, "Pod p is Failed"},
		{&unstructured.Unstructured{Object: map[string]any{"kind": "ConfigMap"}}, true, true, ""},
	} {
		over, well, message := helm.End(c.live)
		if over != c.over || well != c.well || !strings.Contains(message, c.message) {
			t.Errorf("%v: got %v %v %q", c.live.Object, over, well, message)
		}
	}
}

func TestFailedContainer(t *testing.T) {
	t.Parallel()
	ended := func(name string, code int64) map[string]any {
		return map[string]any{"name": name, "state": map[string]any{"terminated": map[string]any{"exitCode": code, "reason": "Error"}}}
	}
	pod := func(statuses ...any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"spec":   map[string]any{"containers": []any{map[string]any{"name": "one"}, map[string]any{"name": "two"}}},
			"status": map[string]any{"containerStatuses": statuses},
		}}
	}
	if name, how := helm.FailedContainer(pod(ended("one", 0), ended("two", 3))); name != "two" || how != "ended with code 3 Error" {
		t.Errorf("got %q %q", name, how)
	}
	if name, how := helm.FailedContainer(pod()); name != "one" || how != "" {
		t.Errorf("got %q %q", name, how)
	}
}

func TestRecordsThatAreDamaged(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "!", "aGVsbG8=", "YUdWc2JHOD0="} {
		o := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"release": text}}}
		if _, err := helm.Open("web", "shop", "apps", []*unstructured.Unstructured{o}); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
