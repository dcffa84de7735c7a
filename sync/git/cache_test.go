package git_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

// Superseded commits do not pile up, and trees that are in use stay whole.
func TestOldObjectsGo(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	// in memory, each version 2 MiB in 100 files that share nothing
	version := func(n int) gittest.Files {
		files := gittest.Files{}
		for i := range 100 {
			files[fmt.Sprintf("d%d/f", i)] = strings.Repeat(fmt.Sprintf("%d-%d ", n, i), 20<<10/8)
		}
		return files
	}
	repo.Commit(t, "main", version(0))
	first, err := m.Fetch(t.Context(), src, git.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	one := git.MirrorMemory(m)
	var last *git.Tree
	for n := range 12 {
		repo.Commit(t, "main", version(n+1))
		if last, err = m.Fetch(t.Context(), src, git.Ref{}); err != nil {
			t.Fatal(err)
		}
	}
	if now := git.MirrorMemory(m); now > 3*one+(10<<20) {
		t.Errorf("after 12 versions of %d bytes the mirror takes %d", one, now)
	}
	if got, want := read(t, last, "d7/f")[:5], "12-7 "; got != want {
		t.Errorf("newest reads %q", got)
	}
	if got, want := read(t, first, "d7/f")[:4], "0-7 "; got != want {
		t.Errorf("oldest reads %q", got)
	}
	srv.Requests()
	if _, err := m.Fetch(t.Context(), src, git.Ref{}); err != nil || methods(srv) != "GET" {
		t.Errorf("the head was not kept: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	m := git.NewMirrors(git.Config{
		InsecureHosts: []string{srv.Host()}, AllowedHosts: []string{srv.Host()}, CacheBytes: 300 << 10,
		Limits: git.Limits{RequestsPerSecond: 1000},
	})
	for i := range 6 {
		repo := srv.NewRepo(t, fmt.Sprintf("r%d.git", i))
		repo.Commit(t, "main", gittest.Files{"a": strings.Repeat("x", 100<<10)})
		tree, err := m.Fetch(t.Context(), git.Source{URL: repo.URL}, git.Ref{})
		if err != nil {
			t.Fatal(err)
		}
		if now := git.MirrorMemory(m); now > 300<<10 {
			t.Errorf("after %d repositories: %d bytes", i+1, now)
		}
		if len(read(t, tree, "a")) != 100<<10 {
			t.Error("the tree lost a file")
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	m := git.NewMirrors(git.Config{InsecureHosts: []string{srv.Host()}, AllowedHosts: []string{srv.Host()}, Registerer: reg})
	for range 2 {
		if _, err := m.Fetch(t.Context(), git.Source{URL: repo.URL}, git.Ref{}); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = m.Fetch(t.Context(), git.Source{URL: srv.URL + "/none"}, git.Ref{})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			name := f.GetName()
			for _, l := range metric.GetLabel() {
				name += " " + l.GetValue()
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			if value > 0 {
				got[name] = value
			}
		}
	}
	for _, name := range []string{"tradewind_git_fetched_bytes_total", "tradewind_git_cache_size_bytes"} {
		if got[name] < 100 {
			t.Errorf("%s = %v", name, got[name])
		}
		delete(got, name)
	}
	want := map[string]float64{
		"tradewind_git_cache_requests_total hit": 1, "tradewind_git_cache_requests_total miss": 1,
		"tradewind_git_operation_duration_seconds list success": 2, "tradewind_git_operation_duration_seconds list failure": 1,
		"tradewind_git_operation_duration_seconds clone success": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}
