package webhook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tradewind-dev/tradewind/events"
)

var update = flag.Bool("update", false, "rewrite golden files")

// payload is one file of testdata: a body as posted, and its header.
type payload struct {
	sender, path string
	header       http.Header
	body         []byte
}

// payloads reads testdata/<sender>/*.json. A .headers file beside one replaces what is
// usual for the sender.
func payloads(tb testing.TB, sender string) []payload {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", sender, "*.json"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("payloads of %s: %d files, %v", sender, len(paths), err)
	}
	var all []payload
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		p := payload{sender: sender, path: path, body: body, header: http.Header{"Content-Type": {"application/json"}}}
		if sender == "github" {
			p.header.Set("X-GitHub-Event", "push")
			p.header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
		}
		if extra, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".headers"); err == nil {
			more, err := textproto.NewReader(bufio.NewReader(strings.NewReader(string(extra) + "\n"))).ReadMIMEHeader()
			if err != nil {
				tb.Fatal(err)
			}
			for name, values := range more {
				p.header[name] = values
			}
		}
		all = append(all, p)
	}
	return all
}

// golden is what a payload becomes: the delivery, and the keys of what it names.
func golden(tb testing.TB, s Sender, p payload) []byte {
	tb.Helper()
	d, err := s.Parse(p.header, p.body)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range d.Changes {
		d.Changes[i].Push.Repos = d.Changes[i].Keys(nil, s.FoldsCase)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		s, _ := Lookup(name)
		for _, p := range payloads(t, name) {
			t.Run(name+"/"+filepath.Base(p.path), func(t *testing.T) {
				t.Parallel()
				got := golden(t, s, p)
				file := strings.TrimSuffix(p.path, ".json") + ".golden"
				if *update {
					if err := os.WriteFile(file, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", file, diff)
				}
			})
		}
	}
}

// What GitHub posts as a form says the same as what it posts as JSON.
func TestGitHubForm(t *testing.T) {
	t.Parallel()
	for _, p := range payloads(t, "github") {
		want := golden(t, github, p)
		p.header = p.header.Clone()
		p.header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		p.body = []byte("payload=" + url.QueryEscape(string(p.body)))
		if diff := cmp.Diff(string(want), string(golden(t, github, p))); diff != "" {
			t.Errorf("%s (-JSON +form):\n%s", p.path, diff)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct{ name, sender, mediaType, body, want string }{
		{"empty", "github", "", "", "the body is not a JSON object"},
		{"null", "github", "", "null", "the body is not a JSON object"},
		{"list", "generic", "", "[]", "the body is not a JSON object"},
		{"byte order mark", "github", "", "\ufeff{}", "the body is not a JSON object"},
		{"cut off", "github", "", `{"ref":"refs/heads/main"`, "the body is not valid JSON at byte 24"},
		{"two documents", "github", "", `{}{}`, "the body is not valid JSON at byte 3"},
		{"64 levels", "github", "", nested(64), ""},
		{"65 levels", "github", "", nested(65), "the body nests deeper than 64 levels"},
		{"brackets in a text", "github", "", `{"a":"` + strings.Repeat(`[\"`, 100) + `"}`, ""},
		{"a million levels", "generic", "", strings.Repeat("[", 1_000_000), "the body is not a JSON object"},
		{"a million levels in an object", "generic", "", `{"a":` + strings.Repeat("[", 1_000_000), "the body nests deeper than 64 levels"},
		{"21 repositories", "generic", "", `{"repositories":[` + strings.Repeat(`"x",`, 20) + `"x"]}`, "repositories has more than 20 elements"},
		{"20 repositories", "generic", "", `{"repositories":[` + strings.Repeat(`"x",`, 19) + `"x"]}`, ""},
		{"form without payload", "github", form, "a=b", "the form has no payload"},
		{"form with an empty payload", "github", form, "payload=", "the form has no payload"},
		{"form with two payloads", "github", form, "payload=%7B%7D&payload=%7B%7D", "the form has two payloads"},
		{"form with a broken escape", "github", form, "payload=%7", "the payload of the form has a broken percent-escape"},
		{"form around no JSON", "github", form, "payload=x", "the body is not a JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := Lookup(tt.sender)
			h := http.Header{"X-Github-Event": {"push"}, "Content-Type": {tt.mediaType}}
			_, err := s.Parse(h, []byte(tt.body))
			got := ""
			if m, ok := errors.AsType[*MalformedError](err); ok {
				got = m.Problem
			}
			if got != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
}

func TestGitHubEventHeader(t *testing.T) {
	t.Parallel()
	_, err := github.Parse(http.Header{}, []byte(`{}`))
	if want := "the header X-GitHub-Event is missing"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	const id = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	for _, tt := range []struct {
		name      string
		header    http.Header
		id, event string
		err       string
	}{
		{"as sent", http.Header{"X-Github-Delivery": {id}, "X-Github-Event": {"push"}}, id, "push", ""},
		{"nothing", http.Header{}, "", "", ""},
		{"control characters", http.Header{"X-Github-Delivery": {id + "\x1b[31m"}, "X-Github-Event": {"pu\nsh"}}, "", "", ""},
		{"long", http.Header{"X-Github-Delivery": {strings.Repeat("a", 10<<10)}, "X-Github-Event": {strings.Repeat("a", 65)}}, "", "", ""},
		{
			"signature twice", http.Header{"X-Hub-Signature-256": {"sha256=aa", "sha256=bb"}}, "", "",
			"the header X-Hub-Signature-256 came more than once",
		},
		{"event twice", http.Header{"X-Github-Event": {"push", "push"}}, "", "push", "the header X-Github-Event came more than once"},
		{"delivery twice", http.Header{"X-Github-Delivery": {id, id}}, id, "", "the header X-Github-Delivery came more than once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := github.CheckHeader(tt.header); err != nil {
				got = err.Error()
			}
			if got != tt.err || github.DeliveryID(tt.header) != tt.id || github.Event(tt.header) != tt.event {
				t.Errorf("got %q, id %q, event %q", got, github.DeliveryID(tt.header), github.Event(tt.header))
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	c := Change{URLs: []string{
		"https://ghe.example/Team/App.git", "ssh://git@ghe.example:2222/Team/App.git", "javascript:alert(1)", "", "https://ghe.example/Team/App",
	}}
	aliases := events.HostAliases{"ghe.example:2222": "ghe.example"}
	for _, tt := range []struct {
		name string
		fold bool
		want []string
	}{
		{"case kept", false, []string{"ghe.example/Team/App", "ghe.example:2222/Team/App"}},
		{"folded beside", true, []string{
			"ghe.example/Team/App", "ghe.example/team/app", "ghe.example:2222/Team/App", "ghe.example:2222/team/app",
		}},
	} {
		if diff := cmp.Diff(tt.want, c.Keys(aliases, tt.fold)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if got := (Change{URLs: c.URLs[1:2]}).Keys(aliases, false); !slices.Contains(got, "ghe.example/Team/App") {
		t.Errorf("the alias is missing: %q", got)
	}
}
