package bump

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

// newBot is a world whose components have a token.
func newBot(tb testing.TB, files gittest.Files) *world {
	tb.Helper()
	w := newWorld(tb, files)
	w.apps.secrets["default/bot"] = map[string][]byte{"username": []byte("bot"), "password": []byte("secret")}
	return w
}

func proposed(a map[string]any) { a["push"] = map[string]any{"branch": "images", "pullRequest": true} }

// on makes looks that of another branch.
func (w *world) on(branch string) {
	w.tb.Helper()
	name, _ := w.key.Branch()
	repo, _, _ := strings.Cut(name, "@")
	w.key = events.BranchKey(repo, branch)
}

func TestPullRequest(t *testing.T) {
	t.Parallel()
	w := newBot(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
	w.on("images")
	w.tags.push(shop, "1.0.0")
	w.app("shop", shop, ".", proposed)
	w.must(events.CauseManual)
	if len(w.forge.proposed) != 0 {
		t.Fatalf("proposed before there was anything: %+v", w.forge.proposed)
	}
	w.announce(shop, "1.1.0")
	w.must(events.CauseImage)
	want := forge.Proposal{
		Branch: "images", Into: "main", Title: "Update " + shop + " to 1.1.0",
		Body: "Newer images that the policies of their components choose.\n\n- `" + shop + "` from `1.0.0` to `1.1.0` (shop of default/shop)\n",
	}
	if diff := cmp.Diff([]forge.Proposal{want}, w.forge.proposed); diff != "" {
		t.Error(diff)
	}
	if got := w.file("a.yaml") + "\n"; got != marked("shop", shop, "1.0.0") {
		t.Errorf("main was written to:\n%s", got)
	}
	i := w.image("shop")
	if i.PullRequest != "https://forge.example/pulls/1" || i.Reason != "PullRequestOpen" || i.Current != "1.0.0" || i.Latest != "1.1.0" || i.Committed != "1.1.0" {
		t.Errorf("state %+v", i)
	}
	// While it is open the forge is not asked again, and after a newer tag once.
	w.must(events.CauseImage)
	w.announce(shop, "1.2.0")
	w.must(events.CauseImage)
	if len(w.forge.proposed) != 2 || w.image("shop").Current != "1.0.0" || !strings.Contains(w.image("shop").Message, "1.2.0") {
		t.Errorf("%d proposals, %+v", len(w.forge.proposed), w.image("shop"))
	}
	if diff := cmp.Diff([]string{"ImageCommitted", "ImageCommitted"}, w.queue.reasons()); diff != "" {
		t.Error(diff)
	}
	// Somebody merges.
	w.repo.Git(t, nil, "update-ref", "refs/heads/main", "refs/heads/images")
	repo, _, _ := strings.Cut(strings.TrimPrefix(string(w.key), "branch/"), "@")
	data, err := json.Marshal(events.SourcePushed{Repos: []string{repo}, Ref: "refs/heads/main", After: w.repo.Head(t, "main")})
	if err != nil {
		t.Fatal(err)
	}
	triggers, err := w.Route(t.Context(), events.Event{ID: "merge", Type: events.TypeSourcePushed, Source: "/hooks/github/x", Data: data})
	if err != nil || len(triggers) != 1 || triggers[0].Key != w.key {
		t.Fatalf("the merge is routed to %v, %v", triggers, err)
	}
	w.must(events.CauseWebhook)
	if i := w.image("shop"); i.PullRequest != "" || i.Reason != "" || i.Current != "1.2.0" {
		t.Errorf("after the merge: %+v", i)
	}
}

func TestPullRequestRefused(t *testing.T) {
	t.Parallel()
	w := newBot(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
	w.on("images")
	w.tags.push(shop, "1.0.0", "1.1.0")
	w.app("shop", shop, ".", proposed)
	w.forge.err = &forge.Error{Op: "opening a pull request", Host: "forge.example", Status: 403}
	w.must(events.CauseManual)
	if i := w.image("shop"); i.Reason != "FailedPullRequest" || i.Current != "1.0.0" || !strings.Contains(i.Message, "scope api") {
		t.Errorf("state %+v", i)
	}
	w.must(events.CausePoll)
	if diff := cmp.Diff([]string{"ImageCommitted", "FailedPullRequest"}, w.queue.reasons()); diff != "" {
		t.Error(diff)
	}
	w.forge.err = &forge.Error{Op: "opening a pull request", Host: "forge.example", Status: 502}
	if err := w.look(events.CausePoll); err == nil {
		t.Error("a forge that is away is not tried again")
	}
	w.forge.err = nil
	w.must(events.CausePoll)
	if i := w.image("shop"); i.Reason != "PullRequestOpen" || len(w.forge.proposed) != 1 || w.repo.Git(t, nil, "rev-list", "--count", "images") != "2" {
		t.Errorf("state %+v after %d proposals", i, len(w.forge.proposed))
	}

	// Without a token there is nothing to try.
	w = newWorld(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
	w.on("images")
	w.tags.push(shop, "1.0.0", "1.1.0")
	w.app("shop", shop, ".", proposed)
	w.must(events.CauseManual)
	if i := w.image("shop"); i.Reason != "FailedPullRequest" || i.Message != "there is no token for the forge (name a Secret with a token under imageRepository.tokenSecretRef)" {
		t.Errorf("state %+v", i)
	}
}

const (
	old   = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	newer = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestRerunOfAnOldJob(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		built   map[string]string
		history []string
		source  func(repo string) string
		warned  bool
	}{
		{"an ancestor", map[string]string{"1.0.0": newer, "1.1.0": old}, []string{old, newer}, same, true},
		{"a descendant", map[string]string{"1.0.0": old, "1.1.0": newer}, []string{old, newer}, same, false},
		{"the same commit", map[string]string{"1.0.0": old, "1.1.0": old}, []string{old, newer}, same, false},
		{"nothing in common", map[string]string{"1.0.0": newer, "1.1.0": old}, []string{newer}, same, false},
		{"no label", map[string]string{"1.0.0": newer}, []string{old, newer}, same, false},
		{"source at another host", map[string]string{"1.0.0": newer, "1.1.0": old}, []string{old, newer}, func(string) string { return "https://evil.example/a/b" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newBot(t, gittest.Files{"a.yaml": marked("shop", shop, "1.0.0")})
			w.tags.built, w.tags.source, w.forge.history = test.built, test.source(w.repo.URL), test.history
			w.tags.push(shop, "1.0.0")
			w.app("shop", shop, ".", nil)
			w.must(events.CauseManual)
			w.announce(shop, "1.1.0")
			w.must(events.CauseImage)
			i := w.image("shop")
			if i.Current != "1.1.0" || (i.Warning != "") != test.warned || i.Revision != test.built["1.1.0"] {
				t.Errorf("state %+v", i)
			}
			want := []string{"ImageCommitted"}
			if test.warned {
				want = append(want, "OlderThanRunning")
			}
			if diff := cmp.Diff(want, w.queue.reasons()); diff != "" {
				t.Error(diff)
			}
			asked := w.tags.origins
			w.must(events.CauseImage)
			if w.image("shop").Warning != i.Warning || w.tags.origins != asked {
				t.Errorf("another look: %+v after %d questions more", w.image("shop"), w.tags.origins-asked)
			}
		})
	}
}

func same(repo string) string { return repo }
