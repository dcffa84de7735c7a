package bump

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

func TestPushedTagBecomesOneCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Files{"apps/a.yaml": marked("shop", shop, "1.0.0"), "other/a.yaml": marked("shop", shop, "1.0.0")})
	w.tags.push(shop, "1.0.0", "latest")
	w.app("shop", shop, "./apps", nil)
	w.must(events.CauseManual)
	if w.commits() != "1" {
		t.Fatalf("%s commits before anything was pushed", w.commits())
	}
	if heads, lists := w.tags.asked(); heads != 0 || lists != 1 {
		t.Errorf("the first look: %d questions and %d listings, want one listing", heads, lists)
	}
	w.announce(shop, "1.1.0")
	w.must(events.CauseImage)
	if heads, lists := w.tags.asked(); heads != 1 || lists != 0 {
		t.Errorf("a pushed tag: %d questions and %d listings, want one question", heads, lists)
	}
	want := "Update image automatically.\nImage: " + shop + ":1.1.0"
	if got := w.repo.Git(t, nil, "log", "-1", "--format=%B", "main"); strings.TrimRight(got, "\n") != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if got := w.file("apps/a.yaml") + "\n"; got != marked("shop", shop, "1.1.0") {
		t.Errorf("the file holds\n%s", got)
	}
	if got := w.file("other/a.yaml") + "\n"; got != marked("shop", shop, "1.0.0") {
		t.Errorf("a file outside of the path was changed:\n%s", got)
	}
	head := w.repo.Head(t, "main")
	i := w.image("shop")
	i.CommittedAt = nil
	wantState := oam.Image{
		Component: "shop", Image: shop, Policy: i.Policy, Current: "1.1.0", Latest: "1.1.0", Commit: head, Committed: "1.1.0", Previous: "1.0.0",
	}
	if diff := cmp.Diff(wantState, i); diff != "" || i.Policy == "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ImageCommitted"}, w.queue.reasons()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if len(w.queue.published) != 1 {
		t.Fatalf("%d events", len(w.queue.published))
	}
	ev := w.queue.published[0]
	push, err := ev.Pushed()
	if err != nil || push.After != head || push.Ref != "refs/heads/main" || ev.Source != "/bump" {
		t.Errorf("event %+v, %v", ev, err)
	}
	// Neither our own event nor the webhook that follows it causes another look at the
	// branch, and a look changes nothing.
	ev.Source = "/hooks/github/x"
	for _, ev := range []events.Event{w.queue.published[0], ev} {
		if triggers, err := w.Route(t.Context(), ev); err != nil || len(triggers) != 0 {
			t.Errorf("own push routed to %v, %v", triggers, err)
		}
	}
	w.hear(shop, "1.1.0", "1.0.0")
	w.must(events.CauseImage)
	if w.commits() != "2" {
		t.Errorf("%s commits after the announcement came again", w.commits())
	}
}

func TestForgedTagChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
	w.tags.push(shop, "1.0.0")
	w.app("shop", shop, ".", nil)
	w.must(events.CauseManual)
	w.hear(shop, "9.0.0")
	err := w.look(events.CauseImage)
	if verdict, delay := events.Judge(err); verdict != events.Retry || delay != soon {
		t.Errorf("a tag that is not there: %v, want another look soon", err)
	}
	// It does not keep a true one waiting.
	w.announce(shop, "1.0.1")
	if err := w.look(events.CauseImage); err == nil || w.image("shop").Current != "1.0.1" {
		t.Errorf("beside a forged tag: %v, %+v", err, w.image("shop"))
	}
	w.now = func() time.Time { return time.Now().Add(time.Minute) }
	w.must(events.CauseImage)
	w.tags.asked()
	w.must(events.CauseImage)
	if heads, _ := w.tags.asked(); heads != 0 {
		t.Errorf("a forged tag is asked for %d times although it was given up", heads)
	}
	if w.commits() != "2" || w.image("shop").Latest != "1.0.1" {
		t.Errorf("%s commits, %+v", w.commits(), w.image("shop"))
	}
}

// A tag that is announced a moment before the registry has it is not lost.
func TestTagThatComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
	w.tags.push(shop, "1.0.0")
	w.app("shop", shop, ".", nil)
	w.must(events.CauseManual)
	w.hear(shop, "1.1.0")
	if err := w.look(events.CauseImage); err == nil {
		t.Fatal("no further look is asked for")
	}
	w.tags.push(shop, "1.1.0")
	w.must(events.CauseImage)
	if w.image("shop").Current != "1.1.0" {
		t.Errorf("state %+v", w.image("shop"))
	}
}

func TestRevertIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0"), "b.yaml": marked("shop", shop, "1.0.0")})
	w.tags.push(shop, "1.0.0")
	w.app("shop", shop, ".", nil)
	w.must(events.CauseManual)
	w.announce(shop, "1.1.0")
	w.must(events.CauseImage)
	w.queue.reasons()
	w.repo.Commit(t, "main", gittest.Files{"a.yaml": marked("shop", shop, "1.0.0"), "b.yaml": marked("shop", shop, "1.0.0")})
	for range 2 {
		w.must(events.CauseWebhook)
	}
	i := w.image("shop")
	if w.commits() != "3" || i.Reason != "ImageHeld" || i.Current != "1.0.0" || i.Latest != "1.1.0" {
		t.Errorf("%s commits, state %+v", w.commits(), i)
	}
	if diff := cmp.Diff([]string{"ImageHeld"}, w.queue.reasons()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	w.announce(shop, "1.2.0")
	w.must(events.CauseImage)
	if i := w.image("shop"); w.commits() != "4" || i.Reason != "" || i.Current != "1.2.0" {
		t.Errorf("a newer tag: %s commits, state %+v", w.commits(), i)
	}
	// Something else than a step back is not a revert: the policy is authoritative.
	w.repo.Commit(t, "main", gittest.Files{"a.yaml": marked("shop", shop, "2.0.0"), "b.yaml": marked("shop", shop, "1.0.0")})
	w.must(events.CauseWebhook)
	if w.image("shop").Current != "1.2.0" || w.file("a.yaml")+"\n" != marked("shop", shop, "1.2.0") {
		t.Errorf("a newer tag by hand: %+v", w.image("shop"))
	}
}

func TestManyImagesInOneCommit(t *testing.T) {
	t.Parallel()
	files := gittest.Files{}
	for n := range 20 {
		files[fmt.Sprintf("apps/%02d.yaml", n)] = marked(fmt.Sprintf("app-%02d", n), fmt.Sprintf("r.example/acme/i%02d", n), "1.0.0")
	}
	w := newWorld(t, files)
	for n := range 20 {
		image := fmt.Sprintf("r.example/acme/i%02d", n)
		w.tags.push(image, "1.0.0")
		w.app(fmt.Sprintf("app-%02d", n), image, "./apps", nil)
		w.announce(image, "1.1.0")
	}
	w.must(events.CauseImage)
	if w.commits() != "2" {
		t.Errorf("%s commits", w.commits())
	}
	message := w.repo.Git(t, nil, "log", "-1", "--format=%B", "main")
	if !strings.HasPrefix(message, "Update image automatically.\nImage: r.example/acme/i00:1.1.0\nr.example/acme/i01:1.1.0\n") {
		t.Errorf("message %q", message)
	}
	if diff := w.repo.Git(t, nil, "diff", "--numstat", "main^", "main"); strings.Count(diff, "1\t1\t") != 20 {
		t.Errorf("changed:\n%s", diff)
	}
}

func TestLostRaceIsRunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
	w.tags.push(shop, "1.0.0", "1.1.0")
	w.app("shop", shop, ".", nil)
	races := 0
	w.cfg.Repositories = racer{w.cfg.Repositories, func() {
		if races++; races <= 3 {
			w.repo.Commit(t, "main", gittest.Files{fmt.Sprintf("theirs-%d", races): "x"})
		}
	}}
	w.must(events.CauseManual)
	if races != 4 || w.commits() != "5" || w.image("shop").Current != "1.1.0" {
		t.Errorf("%d tries, %s commits, state %+v", races, w.commits(), w.image("shop"))
	}
	races = -1000
	w.announce(shop, "1.2.0")
	if err := w.look(events.CauseImage); !errors.Is(err, git.ErrMoved) {
		t.Errorf("races lost for ever: %v", err)
	}
	if i := w.image("shop"); races != -1000+5 || i.Reason != "FailedCommit" || i.Current != "1.1.0" {
		t.Errorf("%d tries, state %+v", races+1000, i)
	}
}

// racer lets somebody push between fetch and commit.
type racer struct {
	Repositories
	before func()
}

func (r racer) Commit(ctx context.Context, src git.Source, on *git.Tree, e git.Edit) (*git.Tree, error) {
	r.before()
	return r.Repositories.Commit(ctx, src, on, e)
}

func TestTroubleIsTold(t *testing.T) {
	t.Parallel()
	image, err := registry.ParseImage(shop)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*world, map[string]any)
		reason string
		in     string
		retry  bool
	}{
		{"registry away", func(w *world, _ map[string]any) {
			w.tags.fail(&registry.Error{Kind: registry.Unavailable, Op: "listing tags of", Image: image, Status: http.StatusBadGateway})
		}, "FailedScan", "registry unavailable", true},
		{"refused", func(w *world, _ map[string]any) {
			w.tags.fail(&registry.Error{Kind: registry.Unauthorized, Op: "listing tags of", Image: image, Status: http.StatusUnauthorized})
		}, "FailedScan", "authentication refused", false},
		{"nothing to choose", func(w *world, _ map[string]any) { w.tags.known[shop] = []string{"latest"} }, "FailedScan", "", false},
		{"no secret", func(_ *world, a map[string]any) { a["secretRef"] = "nobody" }, "FailedScan", "secret default/nobody", true},
		{"template", func(_ *world, a map[string]any) { a["commitMessage"] = "{{.Nope}}" }, "FailedCommit", "Nope", true},
		{"suspended", func(_ *world, a map[string]any) { a["suspend"] = true }, "Suspended", "imageRepository is suspended", false},
		{"bad policy", func(_ *world, a map[string]any) { a["policy"] = map[string]any{} }, "FailedScan", "policy", false},
		{"no signing key", func(_ *world, a map[string]any) { a["signingKey"] = map[string]any{"secretRef": "nobody"} }, "FailedCommit", "secret default/nobody", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
			w.tags.push(shop, "1.0.0", "1.1.0")
			w.app("shop", shop, ".", func(a map[string]any) { tt.change(w, a) })
			if tt.name == "pull request" { // another branch, another key
				w.key = events.Key(strings.TrimSuffix(string(w.key), "main") + "images")
			}
			err := w.look(events.CauseManual)
			if (err != nil) != tt.retry {
				t.Errorf("verdict %v, want another try %t", err, tt.retry)
			}
			if i := w.image("shop"); i.Reason != tt.reason || !strings.Contains(i.Message, tt.in) {
				t.Errorf("state %+v", i)
			}
			if w.commits() != "1" {
				t.Error("something was committed")
			}
			if w.queue.timer.IsZero() && tt.name != "bad policy" && tt.name != "pull request" {
				t.Error("no further look is planned")
			}
		})
	}
}

func TestNoMarkerIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Files{"a.yaml": "image: x\n", "apps/b.yaml": marked("other", shop, "1.0.0")})
	w.tags.push(shop, "1.0.0")
	w.app("shop", shop, "./apps", nil)
	w.must(events.CauseManual)
	want := `no marker below ./apps names it: write # {"$imagepolicy": "default:shop"} behind the image`
	if i := w.image("shop"); i.Message != want || i.Latest != "1.0.0" || i.Current != "" {
		t.Errorf("state %+v", i)
	}
}

func TestDigestsAndOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
	w.tags.push(shop, "1.0.0", "1.1.0")
	w.app("shop", shop, ".", func(a map[string]any) {
		a["digestReflectionPolicy"], a["skipCI"] = "Always", true
		a["push"] = map[string]any{"branch": "images/main"}
	})
	w.key = events.BranchKey(strings.TrimSuffix(strings.TrimPrefix(string(w.key), "branch/"), "@main"), "images/main")
	w.must(events.CauseManual)
	text := w.repo.Git(t, nil, "show", "images/main:a.yaml")
	if !strings.Contains(text, shop+":1.1.0@sha256:") || w.commits() != "1" {
		t.Errorf("%s commits on main, and on the other branch\n%s", w.commits(), text)
	}
	if message := w.repo.Git(t, nil, "log", "-1", "--format=%B", "images/main"); !strings.Contains(message, "\n[skip ci]") {
		t.Errorf("message %q", message)
	}
	w.must(events.CausePoll)
	if n := w.repo.Git(t, nil, "rev-list", "--count", "images/main"); n != "2" {
		t.Errorf("%s commits on the other branch after a second look", n)
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Files{"a.yaml": "x"})
	w.app("shop", shop, ".", nil)
	w.images.of(shop + " ")
	image := func(tag string) events.Event {
		return events.Event{ID: "1", Type: events.TypeArtifactPublished, Source: "/hooks/x/y", Data: fmt.Appendf(nil, `{"images":["x.example/y","`+shop+`"],"tag":%q}`, tag)}
	}
	for tag, want := range map[string]int{"1.2.3": 1, "latest": 0, "1": 0} {
		if triggers, err := w.Route(t.Context(), image(tag)); err != nil || len(triggers) != want {
			t.Errorf("%s: %v, %v, want %d", tag, triggers, err, want)
		}
	}
	if w.WatchingImage([]string{shop}) != 1 || w.WatchingImage([]string{"r.example/acme/other"}) != 0 {
		t.Error("watching is wrong")
	}
	repo := strings.TrimSuffix(strings.TrimPrefix(string(w.key), "branch/"), "@main")
	push := func(ref string) events.Event {
		return events.Event{ID: "2", Type: events.TypeSourcePushed, Source: "/poll", Data: fmt.Appendf(nil, `{"repos":[%q],"ref":%q,"after":"x"}`, repo, ref)}
	}
	for ref, want := range map[string]int{"refs/heads/main": 1, "refs/heads/other": 0, "refs/tags/main": 0} {
		if triggers, err := w.Route(t.Context(), push(ref)); err != nil || len(triggers) != want {
			t.Errorf("%s: %v, %v, want %d", ref, triggers, err, want)
		}
	}
	app, _, _ := w.apps.Application("default", "shop")
	w.OnApplication(app, nil)
	if triggers, _ := w.Route(t.Context(), image("1.2.3")); len(triggers) != 0 {
		t.Errorf("an Application that is gone: %v", triggers)
	}
	if len(w.images.known) != 0 {
		t.Errorf("%d images are remembered for nobody", len(w.images.known))
	}
}
