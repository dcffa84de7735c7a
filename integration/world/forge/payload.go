package forge

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"
)

// pushPayload is the body GitHub posts for one moved ref: its field names and shapes,
// its nulls, and its unix times inside repository.
func (s *Server) pushPayload(ctx context.Context, r *repo, m move) ([]byte, error) {
	const none = "0000000000000000000000000000000000000000"
	commits, err := r.commits(ctx, m)
	if err != nil {
		return nil, err
	}
	var head any
	if len(commits) > 0 {
		head = commits[len(commits)-1]
	}
	if m.before == "" || strings.HasPrefix(m.ref, "refs/tags/") {
		commits = nil // GitHub lists commits only where a branch grew
	}
	forced := false
	if m.before != "" && m.after != "" {
		_, err := Git(ctx, r.dir, "merge-base", "--is-ancestor", m.before, m.after)
		forced = err != nil
	}
	owner, name, _ := strings.Cut(r.name, "/")
	page := s.URL + "/" + r.name
	user := map[string]any{"login": owner, "name": owner, "id": 1, "type": "Organization"}
	return json.Marshal(map[string]any{
		"ref": m.ref, "before": cmp.Or(m.before, none), "after": cmp.Or(m.after, none),
		"created": m.before == "", "deleted": m.after == "", "forced": forced, "base_ref": nil,
		"compare":     page + "/compare/" + short(m.before) + "..." + short(m.after),
		"head_commit": head, "commits": append([]map[string]any{}, commits...),
		"pusher": map[string]any{"name": "ada", "email": "ada@example.com"},
		"sender": map[string]any{"login": "ada", "id": 2, "type": "User"},
		"repository": map[string]any{
			"id": r.id, "name": name, "full_name": r.name, "private": r.user != nil, "fork": false,
			"owner": user, "html_url": page, "url": page, "clone_url": page + ".git",
			"git_url": "git://" + strings.TrimPrefix(page, "http://") + ".git",
			"ssh_url": "git@" + strings.TrimPrefix(s.URL, "http://") + ":" + r.name + ".git", "svn_url": page, "mirror_url": nil,
			"default_branch": "main", "master_branch": "main",
			"created_at": time.Now().Unix(), "pushed_at": time.Now().Unix(),
		},
	})
}

func short(id string) string { return id[:min(12, len(id))] }

// commits lists what a push brought, oldest first; of a new ref only what it points to.
func (r *repo) commits(ctx context.Context, m move) ([]map[string]any, error) {
	if m.after == "" {
		return nil, nil
	}
	span := []string{m.before + ".." + m.after}
	if m.before == "" {
		span = []string{"-1", m.after}
	}
	args := []string{
		"-c", "core.quotePath=false", "log", "--reverse", "--no-renames", "--name-status", "--max-count=2048",
		"--format=%x01%H%x02%T%x02%cI%x02%an%x02%ae%x02%s",
	}
	out, err := Git(ctx, r.dir, append(args, span...)...)
	if err != nil {
		return nil, err
	}
	var commits []map[string]any
	for _, entry := range strings.Split(out, "\x01")[1:] {
		commits = append(commits, commitPayload(entry))
	}
	return commits, nil
}

func commitPayload(entry string) map[string]any {
	header, files, _ := strings.Cut(entry, "\n")
	f := strings.Split(header, "\x02")
	changed := map[string][]string{"A": {}, "M": {}, "D": {}}
	for line := range strings.Lines(files) {
		if kind, path, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			changed[kind] = append(changed[kind], path)
		}
	}
	author := map[string]any{"name": f[3], "email": f[4]}
	return map[string]any{
		"id": f[0], "tree_id": f[1], "timestamp": f[2], "distinct": true, "message": f[5],
		"author": author, "committer": author,
		"added": changed["A"], "modified": changed["M"], "removed": changed["D"],
	}
}
