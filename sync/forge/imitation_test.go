package forge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// imitation is a forge with one repository, acme/config, as its product's documentation
// describes the answers. History is a line: c1 c2 c3, and x beside it.
type imitation struct {
	*httptest.Server
	mu       sync.Mutex
	pulls    []map[string]any // title, body, head, base, open
	statuses []string         // commit context state text
	calls    []string         // method and path
	answer   int              // instead of anything else
	header   http.Header      // beside it
	tokens   map[string]bool  // that were sent
}

const (
	c1 = "c100000000000000000000000000000000000000"
	c2 = "c200000000000000000000000000000000000000"
	c3 = "c300000000000000000000000000000000000000"
	cx = "cx00000000000000000000000000000000000000"
)

// mergeBase is where the histories of two commits meet.
func mergeBase(a, b string) string {
	switch {
	case a == cx || b == cx:
		return map[bool]string{true: cx, false: c1}[a == b]
	default:
		return min(a, b)
	}
}

func newImitation(tb testing.TB, kind Kind) *imitation {
	tb.Helper()
	f := &imitation{tokens: map[string]bool{}}
	mux := http.NewServeMux()
	map[Kind]func(*http.ServeMux){GitHub: f.github, GitLab: f.gitlab, Gitea: f.gitea}[kind](mux)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls = append(f.calls, r.Method+" "+r.URL.EscapedPath())
		f.tokens[r.Header.Get("Authorization")] = true
		if f.answer != 0 {
			for k, v := range f.header {
				w.Header()[k] = v
			}
			w.WriteHeader(f.answer)
			_, _ = fmt.Fprint(w, `{"message":"Resource not accessible"}`)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(f.Close)
	return f
}

func read(r *http.Request) map[string]any {
	in := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		panic(err)
	}
	return in
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// change edits a pull request by its number in the path.
func (f *imitation) change(r *http.Request, in map[string]any, names map[string]string) map[string]any {
	var n int
	_, _ = fmt.Sscan(r.PathValue("number"), &n)
	for from, to := range names {
		if v, ok := in[from]; ok {
			f.pulls[n-1][to] = v
		}
	}
	return f.pulls[n-1]
}

func hubPull(n int, p map[string]any) map[string]any {
	return map[string]any{
		"number": n, "title": p["title"], "body": p["body"], "state": "open", "html_url": fmt.Sprint("page/", n),
		"head": map[string]any{"ref": p["head"]}, "base": map[string]any{"ref": p["base"]},
	}
}

func (f *imitation) hubLike(mux *http.ServeMux, repo string, filters bool) {
	texts := map[string]string{"title": "title", "body": "body"}
	mux.HandleFunc("GET "+repo+"/pulls", func(w http.ResponseWriter, r *http.Request) {
		list := []map[string]any{}
		for i, p := range f.pulls {
			if p["closed"] == nil && (!filters || r.FormValue("head") == "acme:"+p["head"].(string) && r.FormValue("base") == p["base"]) {
				list = append(list, hubPull(i+1, p))
			}
		}
		if r.FormValue("page") > "1" {
			list = list[:0]
		}
		write(w, 200, list)
	})
	mux.HandleFunc("POST "+repo+"/pulls", func(w http.ResponseWriter, r *http.Request) {
		f.pulls = append(f.pulls, read(r))
		write(w, 201, hubPull(len(f.pulls), f.pulls[len(f.pulls)-1]))
	})
	mux.HandleFunc("PATCH "+repo+"/pulls/{number}", func(w http.ResponseWriter, r *http.Request) {
		p := f.change(r, read(r), texts)
		write(w, 201, hubPull(1, p))
	})
	mux.HandleFunc("POST "+repo+"/statuses/{sha}", func(w http.ResponseWriter, r *http.Request) {
		in := read(r)
		f.statuses = append(f.statuses, fmt.Sprint(r.PathValue("sha"), " ", in["context"], " ", in["state"], " ", in["description"]))
		write(w, 201, in)
	})
}

func (f *imitation) github(mux *http.ServeMux) {
	const repo = "/api/v3/repos/acme/config"
	f.hubLike(mux, repo, true)
	mux.HandleFunc("GET "+repo+"/compare/{range}", func(w http.ResponseWriter, r *http.Request) {
		base, head, _ := strings.Cut(r.PathValue("range"), "...")
		status := "diverged"
		switch mergeBase(base, head) {
		case head:
			status = map[bool]string{true: "identical", false: "behind"}[base == head]
		case base:
			status = "ahead"
		}
		write(w, 200, map[string]any{"status": status})
	})
}

func (f *imitation) gitea(mux *http.ServeMux) {
	const repo = "/api/v1/repos/acme/config"
	f.hubLike(mux, repo, false)
	mux.HandleFunc("GET "+repo+"/compare/{range}", func(w http.ResponseWriter, r *http.Request) {
		base, head, _ := strings.Cut(r.PathValue("range"), "...")
		write(w, 200, map[string]any{"total_commits": map[bool]int{true: 0, false: 2}[mergeBase(base, head) == head], "commits": []any{}})
	})
}

func labPull(n int, p map[string]any) map[string]any {
	return map[string]any{
		"iid": n, "title": p["title"], "description": p["body"], "state": "opened", "web_url": fmt.Sprint("page/", n),
		"source_branch": p["head"], "target_branch": p["base"],
	}
}

func (f *imitation) gitlab(mux *http.ServeMux) {
	const project = "/api/v4/projects/{project}"
	names := map[string]string{"title": "title", "description": "body", "source_branch": "head", "target_branch": "base"}
	mux.HandleFunc("GET "+project+"/merge_requests", func(w http.ResponseWriter, r *http.Request) {
		list := []map[string]any{}
		for i, p := range f.pulls {
			if p["closed"] == nil && r.FormValue("state") == "opened" && r.FormValue("source_branch") == p["head"] && r.FormValue("target_branch") == p["base"] {
				list = append(list, labPull(i+1, p))
			}
		}
		write(w, 200, list)
	})
	mux.HandleFunc("POST "+project+"/merge_requests", func(w http.ResponseWriter, r *http.Request) {
		f.pulls = append(f.pulls, map[string]any{})
		r.SetPathValue("number", fmt.Sprint(len(f.pulls)))
		write(w, 201, labPull(len(f.pulls), f.change(r, read(r), names)))
	})
	mux.HandleFunc("PUT "+project+"/merge_requests/{number}", func(w http.ResponseWriter, r *http.Request) {
		write(w, 200, labPull(1, f.change(r, read(r), names)))
	})
	mux.HandleFunc("POST "+project+"/statuses/{sha}", func(w http.ResponseWriter, r *http.Request) {
		in := read(r)
		said := fmt.Sprint(r.PathValue("sha"), " ", in["name"], " ", map[any]any{"failed": "failure"}[in["state"]], " ", in["description"])
		if in["state"] != "failed" {
			said = fmt.Sprint(r.PathValue("sha"), " ", in["name"], " ", in["state"], " ", in["description"])
		}
		if n := len(f.statuses); n > 0 && f.statuses[n-1] == said {
			write(w, 400, map[string]any{"message": `Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")`})
			return
		}
		f.statuses = append(f.statuses, said)
		write(w, 201, in)
	})
	mux.HandleFunc("GET "+project+"/repository/merge_base", func(w http.ResponseWriter, r *http.Request) {
		refs := r.URL.Query()["refs[]"]
		write(w, 200, map[string]any{"id": mergeBase(refs[0], refs[1])})
	})
}
