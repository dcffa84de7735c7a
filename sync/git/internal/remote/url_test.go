package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	d := New(Config{InsecureHosts: []string{"git.local", "127.0.0.1:8080"}, RequestsAtOnce: 1})
	for raw, want := range map[string]string{
		"https://github.com/acme/config":           "@https://github.com/acme/config",
		"https://GitHub.com:443/acme/config.git/":  "@https://github.com/acme/config.git",
		"https://dev.azure.com/o/My%20Proj/_git/a": "@https://dev.azure.com/o/My%20Proj/_git/a",
		"https://bücher.example/r":                 "@https://xn--bcher-kva.example/r",
		"https://host_name.svc/r":                  "@https://host_name.svc/r",
		"https://[2606:4700::1]:8443/r":            "@https://[2606:4700::1]:8443/r",
		"http://git.local/r":                       "@http://git.local/r",
		"http://127.0.0.1:8080/r":                  "@http://127.0.0.1:8080/r",
		"ssh://git@github.com/acme/config":         "git@ssh://github.com/acme/config",
		"ssh://github.com:22/acme/config":          "git@ssh://github.com/acme/config",
		"ssh://alice@host:2222/srv/r.git":          "alice@ssh://host:2222/srv/r.git",
		"git@github.com:acme/config.git":           "git@~ssh://github.com/acme/config.git",
		"git@host:/srv/git/r.git":                  "git@ssh://host/srv/git/r.git",
	} {
		ep, err := d.Parse(raw)
		if err != nil || ep.Key() != want {
			t.Errorf("Parse(%q) = %s, %v; want %s", raw, ep.Key(), err, want)
		}
	}
	const (
		schemes = "the URL is neither https nor ssh"
		creds   = "the URL holds credentials"
		part    = "the path in the URL has a part that is . or .. or starts with -"
		control = "the URL holds a space or control character"
		host    = "the host in the URL is not a host name"
		broken  = "the URL does not parse"
	)
	for raw, want := range map[string]string{
		"":                                      "the URL is empty",
		"http://github.com/r":                   "plain http is not allowed for github.com",
		"http://127.0.0.1:8081/r":               "plain http is not allowed for 127.0.0.1",
		"git://github.com/r":                    schemes,
		"file:///etc/passwd":                    schemes,
		"file:/etc/passwd":                      schemes,
		"/srv/git/r.git":                        schemes,
		"./r.git":                               schemes,
		"ext::sh":                               schemes,
		"ftp://host/r":                          schemes,
		"git+ssh://host/r":                      schemes,
		"https:/host/r":                         schemes,
		"https:///r":                            schemes,
		`C:\repo`:                               schemes,
		"c:/repo":                               schemes,
		"https://bot@github.com/r":              creds,
		"https://bot:x@github.com/r":            creds,
		"https://:x@github.com/r":               creds,
		"ssh://git:x@github.com/r":              creds,
		"ssh://-oProxyCommand=x@host/r":         "the user name in the URL is not acceptable",
		"ssh://-oProxyCommand=x/r":              host,
		"-oProxyCommand=x@host:r":               "the user name in the URL is not acceptable",
		"git@-oProxyCommand=x:r":                host,
		"https://-host/r":                       host,
		"https://ho$t/r":                        host,
		"https://host":                          "the URL names a server but no repository",
		"https://host/":                         "the URL names a server but no repository",
		"https://host/a/../b":                   part,
		"https://host/a/%2e%2e/b":               part,
		"https://host/-x":                       part,
		"https://host/a/--upload-pack=x":        part,
		"https://host/a%00b":                    "the path in the URL holds a control character or backslash",
		"https://host/a%0ab":                    "the path in the URL holds a control character or backslash",
		"https://host/a%5cb":                    "the path in the URL holds a control character or backslash",
		"https://host/a b":                      control,
		"https://host/a\nb":                     control,
		"https://host\x00/a":                    control,
		"https://host/r?ref=main":               "the URL has a query or fragment",
		"https://host/r#main":                   "the URL has a query or fragment",
		"https://host:0/r":                      "the port in the URL is not a number from 1 to 65535",
		"https://host:99999/r":                  "the port in the URL is not a number from 1 to 65535",
		"https://host:x/r":                      broken,
		"https://host/%zz":                      broken,
		"https://fe80::1%25eth0/r":              broken,
		"https://[fe80::1%25eth0]/r":            host,
		"https://" + string(make([]byte, 3000)): "the URL is longer than 2048 bytes",
	} {
		ep, err := d.Parse(raw)
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, %v; want %s", raw, ep, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://h/r", "git@h:r", "ssh://git@h:1/r", "https://u:p@h/r", "file:///x", "https://h/%2e%2e/r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		ep, err := parseURL(raw)
		if err != nil {
			return
		}
		again, err := parseURL(ep.String())
		if err != nil {
			t.Fatalf("parseURL(%q) = %q, which is refused: %v", raw, ep, err)
		}
		again.User, again.Relative = ep.User, ep.Relative
		if again != ep {
			t.Fatalf("parseURL(%q) = %+v, then %+v", raw, ep, again)
		}
		if strings.HasPrefix(ep.Host, "-") || strings.HasPrefix(ep.User, "-") || strings.Contains(ep.Path, "/../") {
			t.Fatalf("parseURL(%q) = %+v", raw, ep)
		}
	})
}

func TestAuthFromSecret(t *testing.T) {
	t.Parallel()
	type data = map[string]string
	for _, test := range []struct {
		data data
		want Auth
		err  string
	}{
		{data{"username": "u", "password": "p\n"}, Auth{Username: "u", Password: "p"}, ""},
		{data{"bearerToken": "t\r\n"}, Auth{BearerToken: "t"}, ""},
		{data{"identity": "i", "known_hosts": "k", "identity.pub": "x"}, Auth{Identity: []byte("i"), KnownHosts: []byte("k")}, ""},
		{data{"identity": "i", "known_hosts": "k", "password": "p"}, Auth{Identity: []byte("i"), KnownHosts: []byte("k"), Password: "p"}, ""},
		{data{"ca.crt": "c"}, Auth{CA: []byte("c")}, ""},
		{data{"caFile": "c", "username": "u", "password": "p"}, Auth{CA: []byte("c"), Username: "u", Password: "p"}, ""},
		{data{"username": "u"}, Auth{}, "key password is missing (username is there)"},
		{data{"password": "p"}, Auth{}, "key username is missing (password is there; most servers accept any name with a token)"},
		{data{"identity": "i"}, Auth{}, "key known_hosts is missing (identity is there; the server's key is always verified)"},
		{data{"known_hosts": "k"}, Auth{}, "key identity is missing (known_hosts is there)"},
		{data{"tls.crt": "c"}, Auth{}, "key tls.crt or tls.key is missing (the other one is there)"},
		{data{"githubAppID": "1"}, Auth{}, "GitHub App credentials are not supported"},
		{data{"other": "x"}, Auth{}, "no usable key"},
		{data{}, Auth{}, "no usable key"},
	} {
		in := map[string][]byte{}
		for k, v := range test.data {
			in[k] = []byte(v)
		}
		got, err := AuthFromSecret(in)
		if text := fmt.Sprint(err); err != nil && text != test.err || err == nil && test.err != "" {
			t.Errorf("%v: %v, want %s", test.data, err, test.err)
		}
		if got.ID() != test.want.ID() {
			t.Errorf("%v: not the credential that is wanted", test.data)
		}
		if err != nil {
			var a *AuthError
			if !errors.As(err, &a) || a.Hint() != "the secret "+AuthNeeds {
				t.Errorf("%v: hint %q", test.data, a.Hint())
			}
		}
	}
}

func TestAuthIsNeverPrinted(t *testing.T) {
	t.Parallel()
	a := Auth{Username: "planted", Password: "planted", BearerToken: "planted", Identity: []byte("planted")}
	encoded, err := json.Marshal(map[string]any{"auth": a})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %q %x %s %s", a, a, a, a, a, a, struct{ A Auth }{a}, encoded)
	if strings.Contains(all, "planted") || strings.Contains(all, fmt.Sprintf("%x", "planted")) {
		t.Errorf("printed: %s", all)
	}
	if diff := cmp.Diff(true, a.ID() != (Auth{}).ID()); diff != "" {
		t.Error(diff)
	}
}
