package handlers

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// odd is a line of webhook/testdata/bad; README.md there explains the fields.
type odd struct {
	Name      string
	Row       int
	Sender    string
	Method    string
	Path      string
	Headers   map[string][]string
	Body      string
	Base64    []byte `json:"bodyBase64"`
	Generator *struct {
		Prefix, Repeat, Suffix string
		Count                  int
	}
	Sign    string
	Chunked bool
	Want    int
	Answer  string
	Ref     string
	After   *string
}

func readOdd(tb testing.TB, file string) []odd {
	tb.Helper()
	data, err := os.ReadFile("webhook/testdata/bad/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	var all []odd
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		var o odd
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&o); err != nil {
			tb.Fatalf("%s: %s: %v", file, lines.Text(), err)
		}
		all = append(all, o)
	}
	return all
}

// request builds what a line describes.
func (o odd) request(tb testing.TB, w *world) *http.Request {
	tb.Helper()
	id := map[string]string{"github": testID, "generic": "acme-generic"}[o.Sender]
	fill := strings.NewReplacer("$REPO", testRepo, "$SCHEME", "https", "$HOST", "github.com", "$ID", id, "$UPPERID", strings.ToUpper(id)).Replace
	body := []byte(fill(o.Body))
	if g := o.Generator; g != nil {
		body = []byte(fill(g.Prefix) + strings.Repeat(g.Repeat, g.Count) + fill(g.Suffix))
	}
	if o.Base64 != nil {
		body = bytes.ReplaceAll(o.Base64, []byte("$REPO"), []byte(testRepo))
	}
	method, path := o.Method, fill(o.Path)
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = "/hooks/" + o.Sender + "/" + id
	}
	var in io.Reader = bytes.NewReader(body)
	if o.Chunked {
		in = io.MultiReader(in) // hides the length
	}
	req, err := http.NewRequestWithContext(tb.Context(), method, w.url+path, in)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = o.header(body)
	return req
}

func (o odd) header(body []byte) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	signature := "X-Signature"
	if o.Sender == "github" {
		signature = "X-Hub-Signature-256"
		h["X-Github-Event"], h["X-Github-Delivery"] = []string{"push"}, []string{newGUID()}
	}
	good := digits(sha256.New, testSecret, body)
	set := func(values ...string) { h[http.CanonicalHeaderKey(signature)] = values }
	switch right := "sha256=" + good; o.Sign {
	case "", "good":
		set(right)
	case "wrong":
		set("sha256=" + digits(sha256.New, testSecret+"x", body))
	case "empty":
		set("sha256=")
	case "bare":
		set(good)
	case "short":
		set("sha25")
	case "odd":
		set(right[:len(right)-1])
	case "cut":
		set(right[:len(right)-2])
	case "long":
		set(right + "00")
	case "nonhex":
		set("sha256=" + strings.Repeat("g", 64))
	case "upper":
		set("sha256=" + strings.ToUpper(good))
	case "twice":
		set(right, right)
	case "joined":
		set(right + ", " + right)
	case "respaced":
		set("sha256=" + digits(sha256.New, testSecret, append(bytes.Clone(body), ' ')))
	case "payload":
		form, _ := url.ParseQuery(string(body))
		set("sha256=" + digits(sha256.New, testSecret, []byte(form.Get("payload"))))
	case "sha1":
		if o.Sender == "github" {
			signature = "X-Hub-Signature"
		}
		set("sha1=" + digits(sha1.New, testSecret, body))
	case "sha1-as-256":
		set("sha1=" + digits(sha1.New, testSecret, body))
	case "sha512":
		set("sha512=" + digits(sha512.New, testSecret, body))
	}
	for name, values := range o.Headers {
		delete(h, http.CanonicalHeaderKey(name))
		for _, v := range values {
			h.Add(name, strings.NewReplacer("$SECRET", testSecret, "$GOOD", good).Replace(v))
		}
	}
	return h
}

func digits(sum func() hash.Hash, secret string, body []byte) string {
	m := hmac.New(sum, []byte(secret))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Whatever is posted, the answer is the one that it should be, nothing becomes an event,
// and the next good push does.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	rows := map[int]bool{}
	for i, o := range readOdd(t, "bad.jsonl") {
		rows[o.Row] = true
		t.Run(o.Name, func(t *testing.T) {
			r := w.do(t, o.request(t, w))
			if r.status != o.Want || r.Status != o.Answer {
				t.Errorf("answered %d %q, want %d %q: %s", r.status, r.Status, o.Want, o.Answer, r.body)
			}
			checkAnswer(t, r)
			if evs := w.store.all(); len(evs) != i {
				t.Fatalf("published %+v", evs[i:])
			}
			if r := w.push(t, fmt.Sprintf("refs/heads/good-%d", i)); r.status != http.StatusAccepted {
				t.Fatalf("a good push afterwards: %d %s", r.status, r.body)
			}
		})
	}
	if got := w.metric(t, "tradewind_webhook_panics_total"); got != 0 {
		t.Errorf("%v panics", got)
	}
	for _, leak := range []string{testSecret, "root:", "goroutine"} {
		if strings.Contains(w.log.String(), leak) {
			t.Errorf("the log holds %q", leak)
		}
	}
	if len(rows) < 30 {
		t.Errorf("%d rows of the catalogue", len(rows))
	}
}

// checkAnswer holds for every answer there is.
func checkAnswer(t *testing.T, r reply) {
	t.Helper()
	if len(r.body) > 2<<10 {
		t.Errorf("answer of %d bytes", len(r.body))
	}
	for _, leak := range []string{testSecret, ".go:", "goroutine", "panic", "encoding/json", "invalid character", "sha256="} {
		if strings.Contains(r.body, leak) {
			t.Errorf("the answer tells %q: %s", leak, r.body)
		}
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	if r.status >= 400 && r.body != "" && r.Error == "" {
		t.Errorf("refused without a word: %s", r.body)
	}
	if (r.status == 405) != (r.header.Get("Allow") == "POST") {
		t.Errorf("answered %d with Allow %q", r.status, r.header.Get("Allow"))
	}
	if (r.status == 503 || r.status == 429) && r.header.Get("Retry-After") == "" {
		t.Errorf("answered %d without Retry-After", r.status)
	}
}

// What is odd but good becomes the event that it should be.
func TestToleratedInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for i, o := range readOdd(t, "tolerated.jsonl") {
		t.Run(o.Name, func(t *testing.T) {
			// Two lines may post the same bytes; a space makes a post of its own.
			r := w.do(t, o.fresh(i).request(t, w))
			if r.status != o.Want || r.Status != "queued" {
				t.Fatalf("answered %d, want %d: %s", r.status, o.Want, r.body)
			}
			evs := w.store.all()
			ev := evs[len(evs)-1]
			push, err := ev.Pushed()
			if err != nil || len(evs) != i+1 {
				t.Fatalf("%d events, %v", len(evs), err)
			}
			if push.Ref != o.Ref || o.After != nil && push.After != *o.After || push.Deleted != (o.Row == 83 && push.After == "") {
				t.Errorf("published %+v", push)
			}
			if ev.Subject == "" || len(push.Repos) != 1 || push.Repos[0] != "github.com/acme/config" {
				t.Errorf("about %q: %q", push.Repos, ev.Subject)
			}
			if len(ev.Delivery) > 36 || strings.ContainsAny(ev.Delivery, " ;'") {
				t.Errorf("delivery %q", ev.Delivery)
			}
		})
	}
}

// fresh makes the body unlike all others without a change of meaning.
func (o odd) fresh(i int) odd {
	space := strings.Repeat(" ", i)
	switch {
	case strings.HasPrefix(o.Body, "payload="):
		o.Body += "&x=" + fmt.Sprint(i)
	case o.Generator != nil:
		g := *o.Generator
		g.Prefix = space + g.Prefix
		o.Generator = &g
	default:
		o.Body = space + o.Body
	}
	return o
}
