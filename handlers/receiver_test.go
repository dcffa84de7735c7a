package handlers

import (
	"strings"
	"testing"
	"time"
)

func TestReceiverValidate(t *testing.T) {
	t.Parallel()
	secret := func(s string) []Secret { return []Secret{NewSecret([]byte(s))} }
	later := time.Now().Add(time.Hour)
	random := "0f3a9c1d5e7b2846a0c4e8f1b3d59762"
	unsigned := func(r *Receiver) {
		r.Sender, r.Unsigned, r.Secrets, r.ID, r.Name = "generic", true, nil, random, "cron"
	}
	for _, tt := range []struct {
		name   string
		change func(*Receiver)
		want   string
	}{
		{"as it should be", func(*Receiver) {}, ""},
		{"no secret", func(r *Receiver) { r.Secrets = nil }, "receiver github/acme-config: it has no secret: make one with openssl rand -hex 32 and enter it at the sender too"},
		{"zero secret", func(r *Receiver) { r.Secrets = []Secret{{}} }, "receiver github/acme-config: the secret is empty: make one with openssl rand -hex 32 and enter it at the sender too"},
		{"empty secret", func(r *Receiver) { r.Secrets = secret("") }, "receiver github/acme-config: the secret is empty: make one with openssl rand -hex 32 and enter it at the sender too"},
		{"only a newline", func(r *Receiver) { r.Secrets = secret("\n") }, "receiver github/acme-config: the secret is empty: make one with openssl rand -hex 32 and enter it at the sender too"},
		{"blank secret", func(r *Receiver) { r.Secrets = secret(strings.Repeat(" \t", 16)) }, "receiver github/acme-config: the secret is blank: make one with openssl rand -hex 32 and enter it at the sender too"},
		{"15 bytes", func(r *Receiver) { r.Secrets = secret("123456789012345\n") }, "receiver github/acme-config: the secret has 15 bytes, at least 16 are needed: make one with openssl rand -hex 32"},
		{"16 bytes", func(r *Receiver) { r.Secrets = secret("1234567890123456\n") }, ""},
		{"previous without end", func(r *Receiver) { r.Secrets = append(r.Secrets, r.Secrets[0]) }, "receiver github/acme-config: its previous secret needs a time until which it is accepted"},
		{"previous with end", func(r *Receiver) { r.Secrets = append(r.Secrets, r.Secrets[0].Until(later)) }, ""},
		{"short previous", func(r *Receiver) { r.Secrets = append(r.Secrets, NewSecret([]byte("x")).Until(later)) }, "receiver github/acme-config: the secret has 1 bytes, at least 16 are needed: make one with openssl rand -hex 32"},
		{"current with end", func(r *Receiver) { r.Secrets[0] = r.Secrets[0].Until(later) }, "receiver github/acme-config: its first secret is the current one and cannot expire"},
		{"three secrets", func(r *Receiver) { r.Secrets = append(r.Secrets, r.Secrets[0], r.Secrets[0]) }, "receiver github/acme-config: it has 3 secrets: at most the current and the previous one"},
		{"unknown sender", func(r *Receiver) { r.Sender = "gitea" }, `receiver gitea/acme-config: sender "gitea" is not known: want one of distribution, dockerhub, generic, github, gitlab, harbor`},
		{"id with a slash", func(r *Receiver) { r.ID, r.Name = "a/b", "x" }, "receiver github/x: its id must be 1 to 128 letters, digits, - or _"},
		{"no id", func(r *Receiver) { r.ID, r.Name = "", "x" }, "receiver github/x: its id must be 1 to 128 letters, digits, - or _"},
		{"odd name", func(r *Receiver) { r.Name = "a b" }, "receiver github/a b: its name must be 1 to 63 letters, digits, dots, - or _"},
		{"no scope", func(r *Receiver) { r.Scope = nil }, "receiver github/acme-config: its scope is empty: list the repositories it may speak for, as host/path or host/org/*"},
		{"scope with a credential", func(r *Receiver) { r.Scope = []string{"https://s3cret@github.com/acme/config"} }, "receiver github/acme-config: entry 1 of its scope: it holds one of * ? @: want host/path or host/org/*"},
		{"negative body", func(r *Receiver) { r.MaxBody = -1 }, "receiver github/acme-config: its largest body must not be negative"},
		{"algorithm of github", func(r *Receiver) { r.Algorithms = []string{"sha256"} }, `receiver github/acme-config: algorithm "sha256" is not one of the sender's: []`},
		{"a sender that cannot sign", func(r *Receiver) { r.Sender = "dockerhub" }, "receiver dockerhub/acme-config: this sender cannot sign its posts: set unsigned, and a random id"},
		{"SHA-1", func(r *Receiver) { r.Sender, r.Algorithms = "generic", []string{"sha1"} }, `receiver generic/acme-config: algorithm "sha1" is not one of the sender's: ["sha256" "sha512"]`},
		{"unsigned", unsigned, ""},
		{"unsigned github", func(r *Receiver) { unsigned(r); r.Sender = "github" }, "receiver github/cron: this sender signs its posts: set a secret instead of unsigned"},
		{"unsigned with a secret", func(r *Receiver) { unsigned(r); r.Secrets = secret(testSecret) }, "receiver generic/cron: it is unsigned and has a secret: remove one of both"},
		{"unsigned with a name for id", func(r *Receiver) { unsigned(r); r.ID = "cron-job" }, "receiver generic/cron: unsigned, its id must be random: make one with openssl rand -hex 16"},
		{"unsigned with 124 bits", func(r *Receiver) { unsigned(r); r.ID = random[1:] }, "receiver generic/cron: unsigned, its id must be random: make one with openssl rand -hex 16"},
		{"unsigned with few digits", func(r *Receiver) { unsigned(r); r.ID = strings.Repeat("0123", 8) }, "receiver generic/cron: unsigned, its id must be random: make one with openssl rand -hex 16"},
		{"unsigned without name", func(r *Receiver) { unsigned(r); r.Name = "" }, "receiver generic/without a name: unsigned, it needs a name other than its id, which must not appear in logs"},
		{"unsigned, named as its id", func(r *Receiver) { unsigned(r); r.Name = r.ID }, "receiver generic/without a name: unsigned, it needs a name other than its id, which must not appear in logs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := githubReceiver()
			tt.change(&r)
			got := ""
			if err := r.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestHooksConfigValidate(t *testing.T) {
	t.Parallel()
	limits := DefaultLimits()
	limits.InFlight, limits.BodyTime = 0, 0
	for _, tt := range []struct {
		name string
		cfg  HooksConfig
		want string
	}{
		{"no publisher", HooksConfig{}, "hooks: no publisher"},
		{
			"limits", HooksConfig{Publisher: &store{}, Limits: limits},
			"hooks: limit InFlight is 0: want at least 1\nhooks: limit BodyTime is 0s: want 1s to 5m",
		},
		{
			"two of one name", HooksConfig{Publisher: &store{}, Receivers: []Receiver{githubReceiver(), githubReceiver()}},
			"receiver github/acme-config: another receiver has its id or name",
		},
		{"zero limits are the default ones", HooksConfig{Publisher: &store{}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if _, err := Hooks(tt.cfg); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
