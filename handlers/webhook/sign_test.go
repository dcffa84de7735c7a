package webhook

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
)

const (
	secret = "tw-secret"
	signed = `{"ref":"refs/heads/main"}`

	sum1   = "81b906a26f4ad10b3cfddd75a6833b1f582df4fa"
	sum256 = "c7d7d771beedec7e3f2e189efc1a0c379255a7117e7f4fd0a09f27228fd72667"
	sum512 = "8199932d1f355d679e03381fbcff7e56c742deacaec28bc7ffca12a82cab4e2218ea39ea2648c65b9b8e49df1fef23afe69fcfcbb47774b4aedc952f13e11f9e"
)

// Known answers: GitHub's documentation has the first, openssl gives the others.
func TestVerify(t *testing.T) {
	t.Parallel()
	both := []string{"sha256", "sha512"}
	for _, tt := range []struct {
		name, sender, header, value, secret, body string
		algorithms                                []string
		want                                      error
	}{
		{
			"github's own example", "github", "X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
			"It's a Secret to Everybody", "Hello, World!", nil, nil,
		},
		{"github", "github", "X-Hub-Signature-256", "sha256=" + sum256, secret, signed, nil, nil},
		{
			"github form", "github", "X-Hub-Signature-256", "sha256=6e86c53f8a25f8e1dbcb10e9d4c6fb29a321fc11ced4c3af27c68fe77eff462b",
			secret, "payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D", nil, nil,
		},
		{"upper-case digits", "github", "X-Hub-Signature-256", "sha256=" + strings.ToUpper(sum256), secret, signed, nil, nil},
		{"none", "github", "X-Other", "sha256=" + sum256, secret, signed, nil, ErrUnsigned},
		{"SHA-1 in its own header", "github", "X-Hub-Signature", "sha1=" + sum1, secret, signed, nil, ErrUnsigned},
		{"SHA-1 in the newer header", "github", "X-Hub-Signature-256", "sha1=" + sum1, secret, signed, nil, ErrSignature},
		{"SHA-512 from github", "github", "X-Hub-Signature-256", "sha512=" + sum512, secret, signed, both, ErrSignature},
		{"other secret", "github", "X-Hub-Signature-256", "sha256=" + sum256, secret + "x", signed, nil, ErrSignature},
		{"other spacing", "github", "X-Hub-Signature-256", "sha256=" + sum256, secret, `{"ref": "refs/heads/main"}`, nil, ErrSignature},
		{"empty secret", "github", "X-Hub-Signature-256", SignGitHub(nil, []byte(signed)), "", signed, nil, ErrSignature},
		{"no digits", "github", "X-Hub-Signature-256", "sha256=", secret, signed, nil, ErrSignature},
		{"no prefix", "github", "X-Hub-Signature-256", sum256, secret, signed, nil, ErrSignature},
		{"short", "github", "X-Hub-Signature-256", "sha25", secret, signed, nil, ErrSignature},
		{"odd number of digits", "github", "X-Hub-Signature-256", "sha256=" + sum256[1:], secret, signed, nil, ErrSignature},
		{"a byte less", "github", "X-Hub-Signature-256", "sha256=" + sum256[2:], secret, signed, nil, ErrSignature},
		{"a digit more", "github", "X-Hub-Signature-256", "sha256=" + sum256 + "0", secret, signed, nil, ErrSignature},
		{"a byte more", "github", "X-Hub-Signature-256", "sha256=" + sum256 + "00", secret, signed, nil, ErrSignature},
		{"no hex", "github", "X-Hub-Signature-256", "sha256=" + strings.Repeat("g", 64), secret, signed, nil, ErrSignature},
		{"trailing space", "github", "X-Hub-Signature-256", "sha256=" + sum256 + " ", secret, signed, nil, ErrSignature},
		{"prefix in upper case", "github", "X-Hub-Signature-256", "SHA256=" + sum256, secret, signed, nil, ErrSignature},
		{"generic", "generic", "X-Signature", "sha256=" + sum256, secret, signed, nil, nil},
		{"generic, SHA-512 not allowed", "generic", "X-Signature", "sha512=" + sum512, secret, signed, nil, ErrSignature},
		{"generic, SHA-512 allowed", "generic", "X-Signature", "sha512=" + sum512, secret, signed, both, nil},
		{"generic, SHA-256 not allowed", "generic", "X-Signature", "sha256=" + sum256, secret, signed, both[1:], ErrSignature},
		{"generic, SHA-1", "generic", "X-Signature", "sha1=" + sum1, secret, signed, []string{"sha1"}, ErrSignature},
		{"gitlab", "gitlab", "X-Gitlab-Token", secret, secret, signed, nil, nil},
		{"gitlab, another token", "gitlab", "X-Gitlab-Token", secret + "x", secret, signed, nil, ErrSignature},
		{"gitlab, shorter", "gitlab", "X-Gitlab-Token", secret[:4], secret, signed, nil, ErrSignature},
		{"gitlab, no token", "gitlab", "X-Other", secret, secret, signed, nil, ErrUnsigned},
		{"gitlab, no secret", "gitlab", "X-Gitlab-Token", "x", "", signed, nil, ErrSignature},
		{"harbor", "harbor", "Authorization", secret, secret, signed, nil, nil},
		{"harbor, with a scheme", "harbor", "Authorization", "Bearer " + secret, secret, signed, nil, nil},
		{"harbor, scheme in the secret", "harbor", "Authorization", "Bearer " + secret, "Bearer " + secret, signed, nil, nil},
		{"harbor, basic", "harbor", "Authorization", "Basic " + secret, secret, signed, nil, ErrSignature},
		{"distribution", "distribution", "Authorization", "Bearer " + secret, secret, signed, nil, nil},
		{"distribution, none", "distribution", "X-Gitlab-Token", secret, secret, signed, nil, ErrUnsigned},
		{"dockerhub never", "dockerhub", "Authorization", secret, secret, signed, nil, ErrUnsigned},
		{"generic, header of github", "generic", "X-Hub-Signature-256", "sha256=" + sum256, secret, signed, nil, ErrUnsigned},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, ok := Lookup(tt.sender)
			if !ok {
				t.Fatal("no such sender")
			}
			h := http.Header{}
			h.Set(tt.header, tt.value)
			if err := s.Verify(h, inPieces(tt.body), []byte(tt.secret), tt.algorithms); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// inPieces cuts a body where nothing ends.
func inPieces(body string) Body {
	b := []byte(body)
	return Body{b[:len(b)/3], nil, b[len(b)/3:]}
}

func TestSign(t *testing.T) {
	t.Parallel()
	if got, want := SignGitHub([]byte(secret), []byte(signed)), "sha256="+sum256; got != want {
		t.Errorf("SignGitHub = %s, want %s", got, want)
	}
	if got, err := SignGeneric("sha512", []byte(secret), []byte(signed)); err != nil || got != "sha512="+sum512 {
		t.Errorf("SignGeneric = %s, %v", got, err)
	}
	if _, err := SignGeneric("sha1", nil, nil); err == nil || err.Error() != "the algorithm is neither sha256 nor sha512" {
		t.Errorf("SignGeneric(sha1): %v", err)
	}
}

// What we send, our own receiver reads as meant.
func TestGitHubPush(t *testing.T) {
	t.Parallel()
	const a, b = "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"
	for _, tt := range []struct {
		name, url, before, after string
		key                      string
		deleted                  bool
	}{
		{"moved", "https://github.com/Acme/Config", a, b, "github.com/acme/config", false},
		{"new", "git@git.example.com:team/app.git", "", b, "git.example.com/team/app", false},
		{"deleted", "http://127.0.0.1:3000/acme/config.git", a, "", "127.0.0.1:3000/acme/config", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body, header := GitHubPush(tt.url, "refs/heads/main", tt.before, tt.after)
			header.Set("X-Hub-Signature-256", SignGitHub([]byte(secret), body))
			if err := github.Verify(header, Body{body}, []byte(secret), nil); err != nil {
				t.Error(err)
			}
			d, err := github.Parse(header, body)
			if err != nil || len(d.Changes) != 1 {
				t.Fatalf("%+v, %v", d, err)
			}
			c := d.Changes[0]
			if keys := c.Keys(nil, true); len(keys) == 0 || keys[0] != tt.key {
				t.Errorf("keys %q, want %q first", keys, tt.key)
			}
			if c.Push.Before != tt.before || c.Push.After != tt.after || c.Push.Deleted != tt.deleted || c.Ignored != (Ignored{}) {
				t.Errorf("change %+v", c)
			}
			if github.DeliveryID(header) == "" || github.Event(header) != "push" || !bytes.Contains(body, []byte("clone_url")) {
				t.Errorf("header %v", header)
			}
		})
	}
}
