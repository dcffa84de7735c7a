package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

// receiver verifies what is posted the way the gateway does.
func receiver(t *testing.T, secret string) (address string, got chan webhook.Delivery) {
	t.Helper()
	got = make(chan webhook.Delivery, 1)
	github, _ := webhook.Lookup("github")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch r.URL.Path {
		case "/hooks/github/main":
			if err := github.Verify(r.Header, webhook.Body{body}, []byte(secret), github.Algorithms); err != nil {
				http.Error(w, `{"error":"the signature is missing or does not fit"}`, http.StatusUnauthorized)
				return
			}
			delivery, err := github.Parse(r.Header, body)
			if err != nil {
				t.Error(err)
			}
			got <- delivery
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprintln(w, `{"status":"accepted"}`)
		case "/hooks/github/moved":
			http.Redirect(w, r, "/hooks/github/main", http.StatusPermanentRedirect)
		case "/hooks/github/silent":
			w.WriteHeader(http.StatusNoContent)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const sent = "0123456789abcdef0123456789abcdef"

func TestSendGitHubPush(t *testing.T) {
	t.Parallel()
	address, got := receiver(t, sent)
	p := newProcess()
	code := run(t.Context(), []string{
		"send", "github", "push", "--url", address + "/hooks/github/main", "--secret-file", secretFile(t, sent+"\n"),
		"--repo", "https://git.example.com/acme/config.git", "--ref", "refs/heads/prod", "--before", commit, "--after", strings.Repeat("ab", 20),
	}, p.env)
	if want := "202 Accepted\n{\"status\":\"accepted\"}\n"; code != 0 || p.out.String() != want || p.err.Len() > 0 {
		t.Fatalf("exit %d, stdout %q, stderr %q", code, &p.out, &p.err)
	}
	delivery := <-got
	if len(delivery.Changes) != 1 || len(delivery.Changes[0].URLs) == 0 {
		t.Fatalf("the receiver understood %+v", delivery)
	}
	raw, err := json.Marshal(delivery.Changes[0].Push)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"ref":"refs/heads/prod"`, `"before":"` + commit + `"`, `"after":"` + strings.Repeat("ab", 20) + `"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the receiver read %s, want %s in it", raw, want)
		}
	}
	if url := delivery.Changes[0].URLs[0]; url != "https://git.example.com/acme/config.git" {
		t.Errorf("repository %q", url)
	}
}

func TestSendMakesUpCommits(t *testing.T) {
	t.Parallel()
	address, got := receiver(t, sent)
	args := []string{
		"send", "github", "push", "--url", address + "/hooks/github/main", "--secret-file", secretFile(t, sent),
		"--repo", "https://git.example.com/acme/config.git",
	}
	seen := map[string]bool{}
	for range 2 {
		if p := newProcess(); run(t.Context(), args, p.env) != 0 {
			t.Fatalf("stderr %s", &p.err)
		}
		push := (<-got).Changes[0].Push
		if push.Ref != "refs/heads/main" || push.Deleted || push.After == "" || seen[push.After] {
			t.Errorf("push %+v after %v", push, seen)
		}
		seen[push.After] = true
	}
	if p := newProcess(); run(t.Context(), append(args, "--after", strings.Repeat("0", 40)), p.env) != 0 {
		t.Fatalf("stderr %s", &p.err)
	}
	if push := (<-got).Changes[0].Push; !push.Deleted {
		t.Errorf("push %+v is no deletion", push)
	}
}

func TestSendRefusals(t *testing.T) {
	t.Parallel()
	address, _ := receiver(t, sent)
	good, wrong, empty := secretFile(t, sent), secretFile(t, "another-secret-of-32-characters"), secretFile(t, "\n")
	repo := "https://git.example.com/acme/config.git"
	tests := []struct {
		name, path, secret, repo string
		more                     []string
		code                     int
		stdout, stderr           string
	}{
		{"a wrong secret", "/hooks/github/main", wrong, repo, nil, 1, "401 Unauthorized\n{\"error\":\"the signature is missing or does not fit\"}\n", ""},
		{"an unknown receiver", "/hooks/github/other", good, repo, nil, 1, "404 Not Found\n404 page not found\n", ""},
		{"a redirect", "/hooks/github/moved", good, repo, nil, 1, "308 Permanent Redirect\n", ""},
		{"no words", "/hooks/github/silent", good, repo, nil, 0, "204 No Content\n", ""},
		{"no repository", "/hooks/github/main", good, "", nil, 2, "", "tradewind: --repo is missing\n"},
		{"no secret", "/hooks/github/main", "", repo, nil, 2, "", "tradewind: --secret-file is missing\n"},
		{"an empty secret", "/hooks/github/main", empty, repo, nil, 2, "", "tradewind: reading --secret-file: " + empty + " is empty\n"},
		{"no such secret", "/hooks/github/main", "/none", repo, nil, 2, "", "tradewind: reading --secret-file: open /none: no such file or directory\n"},
		{"credentials", "/hooks/github/main", good, "https://bot:pass@git.example.com/a/b", nil, 2, "", "tradewind: --repo: leave the credentials out, they would be posted\n"},
		{"a branch", "/hooks/github/main", good, repo, []string{"--ref", "main"}, 2, "", "tradewind: --ref \"main\": want the full name, such as refs/heads/main\n"},
		{"a short commit", "/hooks/github/main", good, repo, []string{"--after", "7f5ecb3"}, 2, "",
			"tradewind: --after \"7f5ecb3\": want a full commit id, 40 or 64 lower-case hex digits\n"},
		{"another scheme", "/hooks/github/main", good, repo, []string{"--url", "ftp://x"}, 2, "", "tradewind: --url: want http:// or https:// and the address of the receiver\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProcess()
			args := append([]string{"send", "github", "push", "--url", address + tt.path, "--secret-file", tt.secret, "--repo", tt.repo}, tt.more...)
			code := run(t.Context(), args, p.env)
			if tt.name == "a redirect" { // its body is the server's
				status, _, _ := strings.Cut(p.out.String(), "\n")
				p.out.Reset()
				p.out.WriteString(status + "\n")
			}
			if code != tt.code || p.out.String() != tt.stdout || p.err.String() != tt.stderr {
				t.Errorf("exit %d, stdout %q, stderr %q; want %d, %q, %q", code, &p.out, &p.err, tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}

func TestSendToNobody(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	p := newProcess()
	code := run(t.Context(), []string{
		"send", "github", "push", "--url", server.URL, "--secret-file", secretFile(t, sent), "--repo", "https://git.example.com/a/b",
	}, p.env)
	if code != 1 || !strings.HasPrefix(p.err.String(), "tradewind: posting the webhook: ") ||
		!strings.HasSuffix(p.err.String(), "hint: is tradewind serve running there, and is this its hooks address?\n") {
		t.Errorf("exit %d, stderr %q", code, &p.err)
	}
}
