package registry

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func wantError(t *testing.T, err error, kind Kind, text string) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind || e.Error() != text {
		t.Fatalf("got %v (%T), want %s", err, err, text)
	}
	if e.Hint() == "" {
		t.Errorf("%s: no hint", e)
	}
	return e
}

func status(code int, header ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, `{"errors": [{"message": "<script>secret of the server</script>"}]}`)
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		h    http.Handler
		kind Kind
		text string // after the image
		wait time.Duration
	}{
		{"401 without a challenge", status(401), Unauthorized, "authentication refused (401)", 0},
		{"401 basic, anonymous", status(401, "WWW-Authenticate", `Basic realm="x"`), Unauthorized, "authentication refused (401)", 0},
		{"401 odd challenge", status(401, "WWW-Authenticate", `Bearer`), Blocked, "refused by Tradewind: its token realm is not an https URL", 0},
		{"401 realm is a file", status(401, "WWW-Authenticate", `Bearer realm="file:///etc/passwd"`), Blocked, "refused by Tradewind: its token realm is not an https URL", 0},
		{"401 realm over http", status(401, "WWW-Authenticate", `Bearer realm="http://other.example/token"`), Blocked, "refused by Tradewind: its token realm is not an https URL", 0},
		{"403", status(403), Forbidden, "access refused (403)", 0},
		{"404", status(404), NotFound, "not found (404)", 0},
		{"429", status(429), RateLimited, "rate limited (429)", time.Minute},
		{"429 with seconds", status(429, "Retry-After", "7"), RateLimited, "rate limited (429)", 7 * time.Second},
		{"429 with a reset", status(429, "X-RateLimit-Reset", "30"), RateLimited, "rate limited (429)", 30 * time.Second},
		{"429 for a year", status(429, "Retry-After", "31536000"), RateLimited, "rate limited (429)", time.Hour},
		{"500", status(500), Unavailable, "registry unavailable (500)", 0},
		{"503 with seconds", status(503, "Retry-After", "3"), Unavailable, "registry unavailable (503)", 3 * time.Second},
		{"204", status(204), Malformed, "answer malformed: unexpected status (204)", 0},
		{"304 unasked", status(304), Malformed, "answer malformed: a page that nobody knew is unchanged", 0},
		{"html", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }), Malformed, "answer malformed: its list of tags", 0},
		{"broken off", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"tags": ["a`) }), Unavailable, "registry unavailable: its list of tags broke off", 0},
		{"redirect", http.RedirectHandler("http://elsewhere.example/", http.StatusFound), Blocked, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, test.h)
			_, err := client(s).Tags(t.Context(), s.image(t), Keychain{}, Known{})
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != test.kind || e.RetryAfter != test.wait {
				t.Fatalf("got %v, %+v", err, e)
			}
			if test.text != "" {
				wantError(t, err, test.kind, "listing tags of "+s.host+"/acme/shop: "+test.text)
			}
			if strings.Contains(err.Error(), "script") {
				t.Errorf("the error repeats the server: %v", err)
			}
		})
	}
}

// A registry that asked to be left alone is.
func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	s := serve(t, status(429, "Retry-After", "600"))
	c := client(s)
	if _, err := c.Head(t.Context(), s.image(t), "a", Keychain{}); err == nil {
		t.Fatal("no error")
	}
	_, err := c.Head(t.Context(), s.image(t), "b", Keychain{})
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != RateLimited || !e.Retriable() || e.RetryAfter <= 0 || e.RetryAfter > 10*time.Minute {
		t.Errorf("got %v", err)
	}
	if asked := s.took(); len(asked) != 1 {
		t.Errorf("asked %q", asked)
	}
	if _, err := c.Head(t.Context(), s.image(t), "b", keys(t, s.host)); err == nil || len(s.took()) != 1 {
		t.Errorf("another account waits, too: %v", err)
	}
}

func TestRetryAfterForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "0", time.Second},
		{"Retry-After", "120", 2 * time.Minute},
		{"Retry-After", "Mon, 02 Mar 2026 12:00:30 GMT", 30 * time.Second},
		{"Retry-After", "Mon, 02 Mar 2020 12:00:30 GMT", time.Second},
		{"Retry-After", "soon", time.Minute},
		{"Retry-After", "-5", time.Minute},
		{"Retry-After", "9223372036854775807", time.Hour},
		{"RateLimit-Reset", "50;w=60", 50 * time.Second},
		{"X-RateLimit-Reset", fmt.Sprint(now.Add(90 * time.Second).Unix()), 90 * time.Second},
	} {
		h := http.Header{}
		h.Set(test.name, test.value)
		if got := retryAfter(h, now, time.Minute); got != test.want {
			t.Errorf("%s: %s = %s, want %s", test.name, test.value, got, test.want)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	page := func(tags, next string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if next != "" {
				w.Header().Set("Link", "<"+next+`>; rel="next"`)
			}
			w.Header().Set("ETag", `"1"`)
			fmt.Fprintf(w, `{"name": "acme/shop", "tags": [%s]}`, tags)
		}
	}
	pages := func(byLast map[string]http.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { byLast[r.URL.Query().Get("last")](w, r) })
	}
	const path = "/v2/acme/shop/tags/list"
	for _, test := range []struct {
		name  string
		pages map[string]http.HandlerFunc
		want  string
		kind  Kind
	}{
		{"three", map[string]http.HandlerFunc{"": page(`"a"`, path+"?last=a"), "a": page(`"b"`, "list?last=b"), "b": page(`"c"`, "")}, "a b c", ""},
		{"null", map[string]http.HandlerFunc{"": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"tags": null}`) }}, "", ""},
		{"same page", map[string]http.HandlerFunc{"": page(`"a"`, path+"?last=a"), "a": page(`"b"`, path+"?last=a")}, "", Malformed},
		{"circle", map[string]http.HandlerFunc{"": page(`"a"`, path+"?last=a"), "a": page(`"b"`, path+"?last=b"), "b": page(`"c"`, path+"?last=a")}, "", Malformed},
		{"another host", map[string]http.HandlerFunc{"": page(`"a"`, "http://127.0.0.1:1/v2/x")}, "", Malformed},
		{"another scheme", map[string]http.HandlerFunc{"": page(`"a"`, "file:///v2/x")}, "", Malformed},
		{"another API", map[string]http.HandlerFunc{"": page(`"a"`, "/admin/delete")}, "", Malformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, pages(test.pages))
			got, err := client(s).Tags(t.Context(), s.image(t), Keychain{}, Known{})
			if test.kind != "" {
				if e, ok := errors.AsType[*Error](err); !ok || e.Kind != test.kind || len(got.Tags) > 0 {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil || strings.Join(got.Tags, " ") != test.want {
				t.Errorf("got %v, %v", got, err)
			}
			if len(test.pages) > 1 && got.Known != (Known{}) {
				t.Errorf("the first page speaks for all: %+v", got.Known)
			}
		})
	}
}

// Listings without an end come to one.
func TestListingsAreBounded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		h    http.HandlerFunc
		text string
	}{
		"100 MB": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"tags": [""`)
			chunk := []byte(`,"` + strings.Repeat("x", 64<<10) + `"`)
			for range 100 << 20 / len(chunk) {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
			fmt.Fprint(w, `]}`)
		}, "more than 32 MiB"},
		"many short tags": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"tags": ["a"`+strings.Repeat(`,"b"`, maxTags)+`]}`)
		}, "more than 200000 tags"},
		"pages": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", fmt.Sprintf(`</v2/acme/shop/tags/list?last=x%s>; rel="next"`, r.URL.Query().Get("last")))
			fmt.Fprint(w, `{"tags": ["a"]}`)
		}, "more than 1000 pages"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, test.h)
			cfg := Config{AllowedHosts: []string{s.host}, InsecureHosts: []string{s.host}, PerSecond: 10_000}
			_, err := New(cfg).Tags(t.Context(), s.image(t), Keychain{}, Known{})
			wantError(t, err, TooLarge, "listing tags of "+s.host+"/acme/shop: answer too large: "+test.text)
			if asked := s.took(); len(asked) > maxPages {
				t.Errorf("asked %d times", len(asked))
			}
		})
	}
}

// A registry that was away is asked again, and then answers.
func TestRecovers(t *testing.T) {
	t.Parallel()
	fails := true
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if fails {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, `{"tags": ["a"]}`)
	}))
	c := client(s)
	if _, err := c.Tags(t.Context(), s.image(t), Keychain{}, Known{}); err == nil {
		t.Fatal("no error")
	}
	fails = false
	if got, err := c.Tags(t.Context(), s.image(t), Keychain{}, Known{}); err != nil || !slices.Equal(got.Tags, []string{"a"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestConditionalListing(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"7"`)
		w.Header().Set("Last-Modified", "Mon, 02 Mar 2026 12:00:00 GMT")
		if r.Header.Get("If-None-Match") == `"7"` && r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, `{"tags": ["a"]}`)
	}))
	c := client(s)
	first, err := c.Tags(t.Context(), s.image(t), Keychain{}, Known{})
	if err != nil || first.Known.ETag != `"7"` || first.Unchanged {
		t.Fatalf("got %+v, %v", first, err)
	}
	second, err := c.Tags(t.Context(), s.image(t), Keychain{}, first.Known)
	if err != nil || !second.Unchanged || second.Tags != nil || second.Known != first.Known {
		t.Errorf("got %+v, %v", second, err)
	}
	third, err := c.Tags(t.Context(), s.image(t), Keychain{}, Known{ETag: `"6"`})
	if err != nil || third.Unchanged || len(third.Tags) != 1 {
		t.Errorf("got %+v, %v", third, err)
	}
}

// Addresses inside are not reached unless they are configured: the canary stays silent.
func TestPrivateAddressesAreGuarded(t *testing.T) {
	t.Parallel()
	canary := serve(t, status(200))
	_, err := New(Config{InsecureHosts: []string{canary.host}}).Head(t.Context(), canary.image(t), "v1", Keychain{})
	e := wantError(t, err, Blocked, "looking up "+canary.host+"/acme/shop:v1: refused by Tradewind: 127.0.0.1 is at 127.0.0.1, an address that is not allowed")
	if e.Hint() != "list "+canary.host+" under registry.allowedHosts when it is meant to be inside" {
		t.Errorf("hint %q", e.Hint())
	}
	metadata, err := ParseImage("169.254.169.254/latest/meta-data")
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Config{AllowedHosts: []string{"169.254.169.254"}, InsecureHosts: []string{"169.254.169.254"}}).Head(t.Context(), metadata, "v1", Keychain{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Blocked {
		t.Errorf("metadata service: %v", err)
	}
	if asked := canary.took(); len(asked) > 0 {
		t.Errorf("the canary was asked %q", asked)
	}
}

// A digest of an answer is counted, not believed.
func TestOriginChecksDigests(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }))
	_, err := client(s).Origin(t.Context(), s.image(t), "sha256:"+strings.Repeat("0", 64), Keychain{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Malformed {
		t.Errorf("got %v", err)
	}
	large := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, maxManifest+1))
	}))
	_, err = client(large).Origin(t.Context(), large.image(t), "v1", Keychain{})
	wantError(t, err, TooLarge, "reading the labels of "+large.host+"/acme/shop:v1: answer too large: more than 4 MiB")
}
