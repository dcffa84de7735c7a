package git_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

// What we sign, git itself verifies.
func TestSigner(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Fatal("git needs ssh-keygen to verify what was signed with an SSH key")
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	prime, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"ed25519": edwards, "rsa": prime} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("open"))
			if err != nil {
				t.Fatal(err)
			}
			public, err := ssh.ParsePrivateKeyWithPassphrase(pem.EncodeToMemory(block), []byte("open"))
			if err != nil {
				t.Fatal(err)
			}
			signer, err := git.SignerFromSecret(map[string][]byte{"identity": pem.EncodeToMemory(block), "password": []byte("open")})
			if err != nil {
				t.Fatal(err)
			}
			s := gittest.NewServer(t)
			r := pushRepo(t, s)
			r.Commit(t, "main", gittest.Files{"a.yaml": "1\n"})
			m, src := newMirrors(t, s.Host()), git.Source{URL: r.URL}
			on, err := m.Fetch(t.Context(), src, git.Ref{Branch: "main"})
			if err != nil {
				t.Fatal(err)
			}
			e := edit(map[string][]byte{"a.yaml": []byte("2\n")})
			e.Signer = signer
			if _, err := m.Commit(t.Context(), src, on, e); err != nil {
				t.Fatal(err)
			}
			allowed := filepath.Join(t.TempDir(), "allowed")
			line := bot.Email + " " + string(ssh.MarshalAuthorizedKey(public.PublicKey()))
			if err := os.WriteFile(allowed, []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
			r.Git(t, nil, "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", "main")
		})
	}
}

func TestSignerFromSecret(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]map[string][]byte{
		"it has neither the key identity":                 {},
		"identity is not an SSH private key":              {"identity": []byte("nonsense")},
		"git.asc is not an armored GPG private key":       {"git.asc": []byte("nonsense")},
		"it has both identity and git.asc: leave out one": {"git.asc": []byte("a"), "identity": []byte("b")},
	} {
		if _, err := git.SignerFromSecret(data); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}
