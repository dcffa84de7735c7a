package git_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/git/gittest"
)

// gpgKeys makes a key and returns its armored halves.
func gpgKeys(tb testing.TB, passphrase string, config *packet.Config) (private, public []byte) {
	tb.Helper()
	entity, err := openpgp.NewEntity(bot.Name, "", bot.Email, config)
	if err != nil {
		tb.Fatal(err)
	}
	write := func(kind string, serialize func(w *bytes.Buffer) error) []byte {
		var raw, out bytes.Buffer
		if err := serialize(&raw); err != nil {
			tb.Fatal(err)
		}
		w, err := armor.Encode(&out, kind, nil)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(raw.Bytes()); err != nil {
			tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
		return out.Bytes()
	}
	public = write(openpgp.PublicKeyType, func(w *bytes.Buffer) error { return entity.Serialize(w) })
	if passphrase != "" {
		if err := entity.EncryptPrivateKeys([]byte(passphrase), config); err != nil {
			tb.Fatal(err)
		}
	}
	private = write(openpgp.PrivateKeyType, func(w *bytes.Buffer) error { return entity.SerializePrivateWithoutSigning(w, config) })
	return private, public
}

// What we sign with a GPG key, gpg itself verifies where it is installed, and the library
// everywhere.
func TestGPGSigner(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]*packet.Config{
		"ed25519": {Algorithm: packet.PubKeyAlgoEdDSA}, "rsa": {Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			private, public := gpgKeys(t, "open sesame", config)
			for _, wrong := range []map[string][]byte{
				{"git.asc": private}, {"git.asc": private, "passphrase": []byte("close sesame")}, {"git.asc": public},
			} {
				if _, err := git.SignerFromSecret(wrong); err == nil || !strings.Contains(err.Error(), "git.asc is not an armored GPG private key") {
					t.Errorf("a key that does not open: %v", err)
				}
			}
			signer, err := git.SignerFromSecret(map[string][]byte{"git.asc": private, "passphrase": []byte("open sesame")})
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
			r.Git(t, nil, "fsck", "--strict")
			verify(t, r.Git(t, nil, "cat-file", "commit", "main"), public)
			verifyByGPG(t, r, public)
		})
	}
}

// verify takes a commit apart as git does.
func verify(t *testing.T, commit string, public []byte) {
	t.Helper()
	keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(public))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(commit, "gpgsig ")
	if !ok {
		t.Fatalf("the commit has no signature:\n%s", commit)
	}
	signature, body, _ := strings.Cut(rest, "-----END PGP SIGNATURE-----\n")
	signature = strings.ReplaceAll(signature, "\n ", "\n") + "-----END PGP SIGNATURE-----\n"
	for _, text := range []string{head + body, head + body + "\n"} { // what printed it may have cut its end
		if _, err = openpgp.CheckArmoredDetachedSignature(keys, strings.NewReader(text), strings.NewReader(signature), nil); err == nil {
			return
		}
	}
	t.Errorf("the signature is not good: %v\n%s", err, commit)
}

func verifyByGPG(t *testing.T, r *gittest.Repo, public []byte) {
	t.Helper()
	program, err := exec.LookPath("gpg")
	if err != nil {
		t.Log("gpg is not installed; the library verified the signature alone")
		return
	}
	home, err := os.MkdirTemp("", "gpg") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The agent that gpg may have started ends when its home is gone, or is told so.
		_ = exec.CommandContext(context.WithoutCancel(t.Context()), "gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	add := exec.CommandContext(t.Context(), program, "--homedir", home, "--batch", "--no-autostart", "--import")
	add.Stdin = bytes.NewReader(public)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("gpg --import: %v\n%s", err, out)
	}
	script := home + "/gpg"
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+program+" --homedir "+home+" --batch --no-autostart \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.Git(t, nil, "-c", "gpg.program="+script, "verify-commit", "main")
}
