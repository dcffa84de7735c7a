package cli

import (
	"strings"
	"testing"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// imageApps follow four images, each in another state.
func imageApps() []*oam.Application {
	at := created(27, 17, 1, 43)
	states := []oam.Image{
		{
			Component: "apps", Image: "ghcr.io/fogdong/test-fog", Policy: "numerical asc of $ts", Current: "master-7f5ecb30-1632733303",
			Latest: "master-7f5ecb30-1632733303", Commit: commit, Committed: "master-7f5ecb30-1632733303", CommittedAt: &at,
		},
		{
			Component: "proposed", Image: "r.example/proposed", Current: "1.0.0", Latest: "1.1.0", Commit: commit, Committed: "1.1.0",
			PullRequest: "https://forge.example/acme/config/pull/7", Reason: "PullRequestOpen",
			Message: "1.1.0 waits to be merged: https://forge.example/acme/config/pull/7",
		},
		{
			Component: "rerun", Image: "r.example/rerun", Current: "1.1.0", Latest: "1.1.0", Committed: "1.1.0",
			Warning: "1.1.0 was built from aaaaaaa, an ancestor of bbbbbbb that 1.0.0 was built from: an old CI job may have run again",
		},
		{Component: "held", Image: "nginx", Current: "1.27.0", Latest: "1.27.1", Reason: "ImageHeld", Message: "1.27.1 was taken out of Git again; held until there is a newer tag"},
		{Component: "away", Image: "r.example/x", Current: "1.0.0", Reason: "FailedScan", Message: "listing tags of r.example/x: registry unavailable (502)"},
	}
	apps := seedApps()
	components := []oam.Component{{Name: "plain", Type: "kustomize"}}
	for _, s := range append(states, oam.Image{Component: "new", Image: "r.example/new"}) {
		components = append(components, oam.Component{Name: s.Component, Type: "kustomize", Properties: map[string]any{
			"imageRepository": map[string]any{"image": s.Image},
		}})
	}
	apps[1].Spec.Components, apps[1].Status.Images = components, states
	return apps
}

func TestImages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		shelf shelf
		args  []string
	}{
		{"images", shelf{apps: imageApps()}, nil},
		{"images-wide", shelf{apps: imageApps()}, []string{"-A", "-o", "wide"}},
		{"images-json", shelf{apps: imageApps()}, []string{"-o", "json"}},
		{"images-no-headers", shelf{apps: imageApps()}, []string{"--no-headers"}},
		{"images-none", shelf{apps: seedApps()}, nil},
		{"images-none-all", shelf{}, []string{"-A"}},
		{"images-bad-output", shelf{}, []string{"-o", "name"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"images"}, tt.args...)
			p, code := look(t, tt.shelf, nil, args...)
			golden(t, tt.name, p.transcript(args, code))
			if strings.Contains(p.out.String(), "secret") {
				t.Error("a credential is shown")
			}
		})
	}
}
