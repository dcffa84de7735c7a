package git_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

func TestFetchOverSSH(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "acme/config.git")
	first := repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	sshd := srv.NewSSH(t)
	m := newMirrors(t, sshd.Addr)
	src := git.Source{
		URL:  "ssh://git@" + sshd.Addr + "/acme/config.git",
		Auth: git.Auth{Identity: sshd.Identity, KnownHosts: sshd.KnownHosts()},
	}
	tree, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
	if err != nil || string(tree.Commit()) != first || read(t, tree, "a") != "1\n" {
		t.Fatalf("Fetch = %v, %v", tree, err)
	}
	second := repo.Commit(t, "main", gittest.Files{"a": "2\n"})
	for range 2 {
		tree, err = m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
		if err != nil || string(tree.Commit()) != second || read(t, tree, "a") != "2\n" {
			t.Fatalf("Fetch = %v, %v", tree, err)
		}
	}
	if n := sshd.Sessions.Load(); n != 3 {
		t.Errorf("three fetches made %d sessions", n)
	}

	none := src
	none.URL = "ssh://git@" + sshd.Addr + "/acme/none.git"
	_, err = m.Fetch(t.Context(), none, git.Ref{})
	if want := fmt.Sprintf("fetching ssh://%s/acme/none.git: repository not found", sshd.Addr); !errors.Is(err, git.ErrRepoNotFound) || err.Error() != want {
		t.Errorf("missing repository: %v, want %s", err, want)
	}
}

func TestSSHVerifiesBothSides(t *testing.T) {
	t.Parallel()
	srv := gittest.NewServer(t)
	repo := srv.NewRepo(t, "r.git")
	repo.Commit(t, "main", gittest.Files{"a": "1\n"})
	sshd := srv.NewSSH(t)
	other := gittest.NewServer(t).NewSSH(t)
	host, port, _ := net.SplitHostPort(sshd.Addr)
	foreign := strings.Replace(string(other.KnownHosts()), "["+host+"]:"+portOf(other.Addr), "["+host+"]:"+port, 1)
	good := git.Auth{Identity: sshd.Identity, KnownHosts: sshd.KnownHosts()}
	hashed := good
	hashed.KnownHosts = hashedKnownHosts(t, sshd)
	m := newMirrors(t, sshd.Addr)
	for _, test := range []struct {
		name, reason string
		auth         git.Auth
	}{
		{"all right", "", good},
		{"hashed known_hosts", "", hashed},
		{"no key", "the URL is for SSH but there is no SSH key", git.Auth{Username: "u", Password: "p"}},
		{"key is not let in", "the server does not accept the SSH key", git.Auth{Identity: other.Identity, KnownHosts: sshd.KnownHosts()}},
		{"key is not a key", "identity is not a private key, or password does not unlock it", git.Auth{Identity: []byte("x"), KnownHosts: sshd.KnownHosts()}},
		{"host is not known", "known_hosts has no key for [127.0.0.1]:" + port, git.Auth{Identity: sshd.Identity, KnownHosts: other.KnownHosts()}},
		{"host shows another key", fmt.Sprintf("the server shows a key (%s) that is not in known_hosts for %s", ssh.FingerprintSHA256(sshd.HostKey), sshd.Addr),
			git.Auth{Identity: sshd.Identity, KnownHosts: []byte(foreign)}},
		{"host key is revoked", "the server shows a key that known_hosts revokes",
			git.Auth{Identity: sshd.Identity, KnownHosts: []byte("@revoked " + string(sshd.KnownHosts()) + "\n" + foreign)}},
	} {
		_, err := m.Fetch(t.Context(), git.Source{URL: "ssh://git@" + sshd.Addr + "/r.git", Auth: test.auth}, git.Ref{})
		if test.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		want := "fetching ssh://" + sshd.Addr + "/r.git: " + test.reason
		if !errors.Is(err, git.ErrAuth) || err.Error() != want {
			t.Errorf("%s: %v, want %s", test.name, err, want)
		}
		if e, ok := errors.AsType[*git.Error](err); !ok || e.Hint() == "" {
			t.Errorf("%s: no hint", test.name)
		}
	}
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func hashedKnownHosts(t *testing.T, sshd *gittest.SSH) []byte {
	t.Helper()
	_, line, _ := strings.Cut(string(sshd.KnownHosts()), " ")
	host, port, _ := net.SplitHostPort(sshd.Addr)
	return []byte("# comment\n\n" + knownhosts.HashHostname("["+host+"]:"+port) + " " + line)
}

// A server that never answers costs the deadline, not the worker.
func TestSSHDeadline(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	srv := gittest.NewServer(t).NewSSH(t)
	known := "[127.0.0.1]:" + portOf(silent.Addr().String()) + " " + string(ssh.MarshalAuthorizedKey(srv.HostKey))
	m := git.NewMirrors(git.Config{AllowedHosts: []string{"127.0.0.1"}, Timeout: 50 * time.Millisecond})
	_, err = m.Resolve(t.Context(), git.Source{URL: "ssh://git@" + silent.Addr().String() + "/r", Auth: git.Auth{Identity: srv.Identity, KnownHosts: []byte(known)}}, git.Ref{})
	want := "listing ssh://" + silent.Addr().String() + "/r: the server did not answer in time"
	if !errors.Is(err, git.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
		t.Errorf("silent server: %v, want %s", err, want)
	}
}
