package git_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

func TestRedirects(t *testing.T) {
	t.Parallel()
	srv, evil := gittest.NewServer(t), gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	evil.NewRepo(t, "r.git").Commit(t, "main", gittest.Files{"a": "evil\n"})
	target := ""
	srv.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/old"); ok {
			http.Redirect(w, r, target+rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
			return true
		}
		return false
	})
	m := newMirrors(t, srv.Host(), evil.Host())
	src := git.Source{URL: srv.URL + "/old/r.git", Auth: git.Auth{Username: "bot", Password: "s3cret"}}

	// A forge that renamed a repository: same server, another path.
	tree, err := m.Fetch(t.Context(), src, git.Ref{})
	if err != nil || read(t, tree, "a") != "1\n" {
		t.Fatalf("redirect at home: %v, %v", tree, err)
	}

	target = evil.URL
	src.URL = srv.URL + "/old//r.git"
	_, err = m.Fetch(t.Context(), src, git.Ref{})
	want := fmt.Sprintf("fetching %s: the server redirects to %s//r.git/info/refs", src.URL, evil.URL)
	if !errors.Is(err, git.ErrRefused) || err.Error() != want {
		t.Errorf("redirect to another host: %v, want %s", err, want)
	}
	if got := evil.Requests(); len(got) != 0 {
		t.Errorf("the other host saw %v", got)
	}

	// The pack request itself is never redirected.
	srv.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, srv.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	src.URL = repo.URL
	_, err = m.Fetch(t.Context(), src, git.Ref{})
	want = fmt.Sprintf("fetching %s: the server redirects to %s/git-upload-pack", repo.URL, repo.URL)
	if err == nil || err.Error() != want {
		t.Errorf("redirect of the pack request: %v, want %s", err, want)
	}
}

func TestCredentialsAreSentAndKeepMirrorsApart(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	srv.Require("bot", "right")
	repo := srv.NewRepo(t, "r.git")
	commit := repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	m := newMirrors(t, srv.Host())
	right := git.Source{URL: repo.URL, Auth: git.Auth{Username: "bot", Password: "right"}}
	if _, err := m.Fetch(t.Context(), right, git.Ref{}); err != nil {
		t.Fatal(err)
	}
	// The commit is in a mirror; a wrong credential must not get it from there.
	for _, auth := range []git.Auth{{}, {Username: "bot", Password: "wrong"}} {
		if _, err := m.Tree(t.Context(), git.Source{URL: repo.URL, Auth: auth}, git.Commit(commit)); !errors.Is(err, git.ErrAuth) {
			t.Errorf("another credential got %v, want a refusal", err)
		}
	}
}

// Callers that come together share listings, but none gets one that began before it
// came: what was pushed before the call is seen by the call.
func TestSharingNeverServesThePast(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"n": "0\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	var pushed atomic.Pointer[string]
	first := repo.Head(t, "main")
	pushed.Store(&first)
	order := map[string]int{first: 0}
	var mu sync.Mutex // guards order

	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 30 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := *pushed.Load()
				tree, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got, known := order[string(tree.Commit())]
				if known && got < order[before] {
					t.Errorf("fetched push %d although push %d was there before", got, order[before])
				}
				mu.Unlock()
			}
		})
	}
	for i := range 20 {
		commit := repo.Commit(t, "main", gittest.Files{"n": fmt.Sprint(i + 1)})
		mu.Lock()
		order[commit] = i + 1
		mu.Unlock()
		pushed.Store(&commit)
	}
	close(stop)
	wg.Wait()
}

func TestManyCallersOneRequest(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	srv.Before(func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { arrived <- struct{}{}; <-release })
		return false
	})
	var wg sync.WaitGroup
	fetch := func() {
		if _, err := m.Fetch(t.Context(), src, git.Ref{}); err != nil {
			t.Error(err)
		}
	}
	wg.Go(fetch)
	<-arrived
	for range 100 {
		wg.Go(fetch)
	}
	git.AwaitWaiting(m, 101)
	close(release)
	wg.Wait()
	if got := methods(srv); got != "GET POST GET" {
		t.Errorf("101 callers made requests %q, want a clone and one listing for all who waited", got)
	}
}

// A server that announces one commit and sends another, or damaged data, is not
// believed, and nothing of the old state is lost.
func TestServerThatLies(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	commit := repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	good, err := m.Fetch(t.Context(), src, git.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	second := repo.Commit(t, "main", gittest.Files{"a": "2\n"})

	rewrite := func(change func(r *http.Request, body []byte) []byte) {
		srv.Before(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost || r.Header.Get("X-Inner") != "" {
				return false
			}
			body, _ := io.ReadAll(r.Body)
			req, _ := http.NewRequestWithContext(r.Context(), r.Method, srv.URL+r.URL.Path, bytes.NewReader(change(r, body)))
			req.Header = r.Header.Clone()
			req.Header.Set("X-Inner", "1")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return true
			}
			defer resp.Body.Close()
			answer, _ := io.ReadAll(resp.Body)
			w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
			_, _ = w.Write(change(nil, answer))
			return true
		})
	}
	for name, test := range map[string]struct {
		change func(r *http.Request, body []byte) []byte
		want   string
	}{
		"sends another commit": {func(r *http.Request, body []byte) []byte {
			if r != nil {
				return bytes.ReplaceAll(body, []byte(second), []byte(commit))
			}
			return body
		}, "the server's answer is incomplete: commit " + second + " was not sent"},
		"cuts off": {func(r *http.Request, body []byte) []byte {
			if r == nil {
				return body[:len(body)-30]
			}
			return body
		}, "the server's answer is incomplete: the pack is damaged: it is cut off"},
	} {
		repo.Git(t, nil, "config", "uploadpack.allowAnySHA1InWant", "true")
		rewrite(test.change)
		fresh := newMirrors(t, srv.Host())
		_, err := fresh.Fetch(t.Context(), src, git.Ref{})
		want := "fetching " + repo.URL + ": " + test.want
		if !errors.Is(err, git.ErrUnreachable) || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if _, err := m.Fetch(t.Context(), src, git.Ref{}); err == nil {
			t.Errorf("%s: the mirror believed it", name)
		}
	}
	srv.Before(nil)
	if got := read(t, good, "a"); got != "1\n" {
		t.Errorf("the tree from before reads %q", got)
	}
	if tree, err := m.Fetch(t.Context(), src, git.Ref{}); err != nil || string(tree.Commit()) != second {
		t.Errorf("after the server came to its senses: %v, %v", tree, err)
	}
}

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

func TestCancelAndDeadline(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	hang := make(chan struct{})
	srv.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hang:
			return false
		case <-r.Context().Done():
			return true
		}
	})
	m := git.NewMirrors(git.Config{InsecureHosts: []string{srv.Host()}, AllowedHosts: []string{srv.Host()}, Timeout: 100 * time.Millisecond})
	src := git.Source{URL: repo.URL}
	_, err := m.Fetch(t.Context(), src, git.Ref{})
	if want := "fetching " + repo.URL + ": the server did not answer in time"; !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
		t.Errorf("deadline: %v, want %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Fetch(ctx, src, git.Ref{})
	if want := "fetching " + repo.URL + ": canceled"; !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("cancel: %v, want %s", err, want)
	}
	close(hang)
	if _, err := m.Fetch(t.Context(), src, git.Ref{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestBranchDeleted(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	repo.Commit(t, "side", gittest.Files{"a": "side\n"})
	m, src := newMirrors(t, srv.Host()), git.Source{URL: repo.URL}
	tree, err := m.Fetch(t.Context(), src, git.Ref{Branch: "side"})
	if err != nil {
		t.Fatal(err)
	}
	repo.Git(t, nil, "branch", "-D", "side")
	if _, err := m.Fetch(t.Context(), src, git.Ref{Branch: "side"}); !errors.Is(err, git.ErrRefNotFound) {
		t.Errorf("deleted branch: %v", err)
	}
	if got := read(t, tree, "a"); got != "side\n" {
		t.Errorf("the last good tree reads %q", got)
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

func BenchmarkFetch(b *testing.B) {
	for _, apps := range []int{2, 500} {
		b.Run(fmt.Sprintf("one-commit-of-%d-files", apps*5), func(b *testing.B) {
			srv := gittest.NewServer(b)
			repo := srv.NewRepo(b, "r.git")
			files := gittest.Files{"README.md": "r\n"}
			for i := range apps {
				for _, f := range []string{"deployment", "service", "configmap", "serviceaccount", "kustomization"} {
					files[fmt.Sprintf("apps/app-%03d/%s.yaml", i, f)] = fmt.Sprintf("# %d\n%s", i, strings.Repeat("key: value\n", 60))
				}
			}
			repo.Commit(b, "main", files)
			m, src := newMirrors(b, srv.Host()), git.Source{URL: repo.URL}
			if _, err := m.Fetch(b.Context(), src, git.Ref{Branch: "main"}); err != nil {
				b.Fatal(err)
			}
			n := 0
			var own time.Duration
			for b.Loop() {
				b.StopTimer()
				n++
				repo.Commit(b, "main", gittest.Files{"apps/app-001/configmap.yaml": fmt.Sprintf("n: %d\n", n)})
				before := cpu(b)
				b.StartTimer()
				if _, err := m.Fetch(b.Context(), src, git.Ref{Branch: "main"}); err != nil {
					b.Fatal(err)
				}
				own += cpu(b) - before
			}
			b.ReportMetric(float64(own.Microseconds())/1000/float64(n), "cpu-ms/op")
		})
	}
	b.Run("clone-of-2500-files", func(b *testing.B) {
		srv := gittest.NewServer(b)
		repo := srv.NewRepo(b, "r.git")
		files := gittest.Files{}
		for i := range 2500 {
			files[fmt.Sprintf("apps/app-%03d/f%d.yaml", i/5, i%5)] = fmt.Sprintf("# %d\n%s", i, strings.Repeat("key: value\n", 60))
		}
		repo.Commit(b, "main", files)
		for b.Loop() {
			m := newMirrors(b, srv.Host())
			if _, err := m.Fetch(b.Context(), git.Source{URL: repo.URL}, git.Ref{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known-head", func(b *testing.B) {
		srv := gittest.NewServer(b)
		repo := srv.NewRepo(b, "r.git")
		repo.Commit(b, "main", gittest.Files{"a": "1\n"})
		m := newMirrors(b, srv.Host())
		for b.Loop() {
			if _, err := m.Fetch(b.Context(), git.Source{URL: repo.URL}, git.Ref{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTree(b *testing.B) {
	files := gittest.Files{}
	for i := range 500 {
		files[fmt.Sprintf("apps/app-%03d/web.yaml", i)] = strings.Repeat("key: value\n", 60)
	}
	tree := fetch(b, files)
	b.Run("walk-500-files", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			err := fs.WalkDir(tree.FS(), ".", func(p string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					_, err = fs.ReadFile(tree.FS(), p)
				}
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// 500 Applications of 4 files each, and a commit that touches one of them.
func BenchmarkUnchanged(b *testing.B) {
	srv := gittest.NewServer(b)
	repo := srv.NewRepo(b, "r.git")
	files := gittest.Files{"README.md": "r\n"}
	names := []string{"deployment.yaml", "service.yaml", "configmap.yaml", "serviceaccount.yaml"}
	for i := range 500 {
		for _, f := range names {
			files[fmt.Sprintf("apps/app-%03d/%s", i, f)] = fmt.Sprintf("# %d\n", i)
		}
	}
	repo.Commit(b, "main", files)
	m, src := newMirrors(b, srv.Host()), git.Source{URL: repo.URL}
	tree, err := m.Fetch(b.Context(), src, git.Ref{})
	if err != nil {
		b.Fatal(err)
	}
	var sets []git.ReadSet
	for i := range 500 {
		reads := git.Trace(tree)
		dir := fmt.Sprintf("apps/app-%03d", i)
		for _, k := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
			_, _ = fs.Stat(reads.FS(), dir+"/"+k)
		}
		entries, err := fs.ReadDir(reads.FS(), dir)
		if err != nil || len(entries) != 4 {
			b.Fatal(entries, err)
		}
		for _, e := range entries {
			_, _ = fs.ReadFile(reads.FS(), dir+"/"+e.Name())
		}
		sets = append(sets, reads.Set())
	}
	repo.Commit(b, "main", gittest.Files{"apps/app-250/service.yaml": "new\n"})
	after, err := m.Fetch(b.Context(), src, git.Ref{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		changed := 0
		for _, s := range sets {
			if !s.Unchanged(after) {
				changed++
			}
		}
		if changed != 1 {
			b.Fatalf("%d of 500 changed, want 1", changed)
		}
	}
}
