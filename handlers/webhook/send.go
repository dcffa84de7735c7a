package webhook

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/events"
)

const zeroID = "0000000000000000000000000000000000000000"

// GitHubPush is the body that GitHub would post, as JSON, for a push to the repository at
// url, and the header beside it but for the signature, which is
//
//	header.Set("X-Hub-Signature-256", SignGitHub(secret, body))
//
// An empty before means that the ref is new, an empty after that it was deleted. Two
// bodies made in one second are alike, so the second counts as a duplicate.
func GitHubPush(url, ref, before, after string) ([]byte, http.Header) {
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "GitHub-Hookshot/tradewind")
	header.Set("X-GitHub-Event", "push")
	header.Set("X-GitHub-Delivery", newUUID())
	header.Set("X-GitHub-Hook-Installation-Target-Type", "repository")
	now := time.Now().UTC().Truncate(time.Second)
	commits, head := []any{}, any(nil)
	if after != "" {
		person := map[string]any{"name": "tradewind", "email": "tradewind@example.com", "username": "tradewind"}
		head = map[string]any{
			"id": after, "distinct": true, "message": "sent by tradewind", "timestamp": now, "author": person,
			"committer": person, "added": []string{}, "removed": []string{}, "modified": []string{},
		}
		commits = append(commits, head)
	}
	body, err := json.Marshal(map[string]any{
		"ref": ref, "before": cmp.Or(before, zeroID), "after": cmp.Or(after, zeroID), "base_ref": nil,
		"created": before == "", "deleted": after == "", "forced": false,
		"head_commit": head, "commits": commits, "repository": githubRepositoryAt(url, now),
		"pusher": map[string]any{"name": "tradewind"}, "sender": map[string]any{"login": "tradewind", "id": 1, "type": "User"},
	})
	if err != nil {
		panic(err) // texts, numbers and lists always marshal
	}
	return body, header
}

// githubRepositoryAt keeps the URL as given: what the receiver makes of it is the
// receiver's to say.
func githubRepositoryAt(url string, now time.Time) map[string]any {
	page := strings.TrimSuffix(strings.TrimSuffix(url, "/"), ".git")
	repo := map[string]any{
		"id": 1, "clone_url": url, "html_url": page, "url": page, "private": true, "fork": false, "mirror_url": nil,
		"default_branch": "main", "master_branch": "main", "created_at": now.Unix(), "pushed_at": now.Unix(),
	}
	key, err := events.RepoKey(url)
	if err != nil {
		return repo
	}
	host, name, _ := strings.Cut(key, "/")
	owner, short, _ := strings.Cut(name, "/")
	repo["full_name"], repo["name"] = name, cmp.Or(short, name)
	repo["owner"] = map[string]any{"name": owner, "login": owner}
	repo["ssh_url"] = fmt.Sprintf("ssh://git@%s/%s.git", host, name)
	return repo
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
