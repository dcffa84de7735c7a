package git_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

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
