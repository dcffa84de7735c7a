package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tradewind-dev/tradewind/integration/world"
)

// oddPost is a line of handlers/webhook/testdata/bad/bad.jsonl, whose README.md explains
// the fields.
type oddPost struct {
	Name      string              `json:"name"`
	Sender    string              `json:"sender"`
	Method    string              `json:"method"`
	Path      string              `json:"path"`
	Headers   map[string][]string `json:"headers"`
	Body      string              `json:"body"`
	Base64    []byte              `json:"bodyBase64"`
	Generator *struct {
		Prefix, Repeat, Suffix string
		Count                  int
	} `json:"generator"`
	Sign    string `json:"sign"`
	Chunked bool   `json:"chunked"`
	Want    int    `json:"want"`
}

// leastOddPosts guards against a file that lost its lines.
const leastOddPosts = 60

// postBadInput: bad-input. Every line for the world's receiver is posted; the answers are
// compared, and the process must be alive after each.
func postBadInput(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(0, 0, "bad-input"); err != nil {
		return err
	}
	posts, err := readOddPosts(filepath.Join("..", "handlers", "webhook", "testdata", "bad", "bad.jsonl"))
	if err != nil {
		return err
	}
	if len(posts) < leastOddPosts {
		return fmt.Errorf("%d bad posts for this receiver, want at least %d", len(posts), leastOddPosts)
	}
	var wrong []error
	for _, p := range posts {
		status, answer, err := p.post(ctx, s)
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %w", p.Name, err))
		case status != p.Want:
			wrong = append(wrong, fmt.Errorf("%s: answered %d, want %d: %s", p.Name, status, p.Want, answer))
		case strings.Contains(answer, world.Secret) || strings.Contains(answer, "goroutine"):
			wrong = append(wrong, fmt.Errorf("%s: the answer tells too much: %s", p.Name, answer))
		}
		if err := s.world.Tradewind.Alive(); err != nil {
			return errors.Join(append(wrong, fmt.Errorf("after %q: %w", p.Name, err))...)
		}
	}
	return errors.Join(wrong...)
}

func readOddPosts(path string) ([]oddPost, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []oddPost
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		var p oddPost
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if p.Sender == "github" {
			all = append(all, p)
		}
	}
	return all, lines.Err()
}

func (p oddPost) post(ctx context.Context, s *story) (status int, answer string, err error) {
	repo := strings.TrimSuffix(s.world.Git.RepoURL("acme/config"), ".git")
	u, err := url.Parse(repo)
	if err != nil {
		return 0, "", err
	}
	fill := strings.NewReplacer("$REPO", repo, "$SCHEME", u.Scheme, "$HOST", u.Host,
		"$ID", world.ReceiverID, "$UPPERID", strings.ToUpper(world.ReceiverID)).Replace
	body := []byte(fill(p.Body))
	switch {
	case p.Generator != nil:
		body = []byte(fill(p.Generator.Prefix) + strings.Repeat(p.Generator.Repeat, p.Generator.Count) + fill(p.Generator.Suffix))
	case p.Base64 != nil:
		body = bytes.ReplaceAll(p.Base64, []byte("$REPO"), []byte(repo))
	}
	method, path := p.Method, fill(p.Path)
	if method == "" {
		method = http.MethodPost
	}
	target, err := url.Parse(s.world.Tradewind.HooksURL())
	if err != nil {
		return 0, "", err
	}
	address := target.Scheme + "://" + target.Host + "/hooks/github/" + world.ReceiverID
	if path != "" {
		address = target.Scheme + "://" + target.Host + path
	}
	var in io.Reader = bytes.NewReader(body)
	if p.Chunked {
		in = io.MultiReader(in) // hides the length
	}
	req, err := http.NewRequestWithContext(ctx, method, address, in)
	if err != nil {
		return 0, "", err
	}
	req.Header = p.header(body)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, string(text), err
}

// header holds the usual headers of a GitHub push, with the line's own in their place.
func (p oddPost) header(body []byte) http.Header {
	h := http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {"push"},
		"X-Github-Delivery": {"7c5e1f0a-0000-4000-8000-" + macDigits(sha1.New, "id", []byte(p.Name))[:12]},
	}
	for name, values := range p.signature(body) {
		h[http.CanonicalHeaderKey(name)] = values
	}
	good := macDigits(sha256.New, world.Secret, body)
	for name, values := range p.Headers {
		delete(h, http.CanonicalHeaderKey(name))
		for _, v := range values {
			h.Add(name, strings.NewReplacer("$SECRET", world.Secret, "$GOOD", good).Replace(v))
		}
	}
	return h
}

func (p oddPost) signature(body []byte) map[string][]string {
	const name = "X-Hub-Signature-256"
	good := macDigits(sha256.New, world.Secret, body)
	one := func(v string) map[string][]string { return map[string][]string{name: {v}} }
	switch p.Sign {
	case "none":
		return nil
	case "wrong":
		return one("sha256=" + macDigits(sha256.New, world.Secret+"x", body))
	case "empty":
		return one("sha256=")
	case "bare":
		return one(good)
	case "short":
		return one("sha25")
	case "odd":
		return one("sha256=" + good[:63])
	case "cut":
		return one("sha256=" + good[:62])
	case "long":
		return one("sha256=" + good + "00")
	case "nonhex":
		return one("sha256=" + strings.Repeat("g", 64))
	case "upper":
		return one("sha256=" + strings.ToUpper(good))
	case "twice":
		return map[string][]string{name: {"sha256=" + good, "sha256=" + good}}
	case "joined":
		return one("sha256=" + good + ", sha256=" + good)
	case "respaced":
		return one("sha256=" + macDigits(sha256.New, world.Secret, append(bytes.Clone(body), ' ')))
	case "payload":
		form, _ := url.ParseQuery(string(body)) // what parses of it is what an attacker would sign
		return one("sha256=" + macDigits(sha256.New, world.Secret, []byte(form.Get("payload"))))
	case "sha1":
		return map[string][]string{"X-Hub-Signature": {"sha1=" + macDigits(sha1.New, world.Secret, body)}}
	case "sha1-as-256":
		return one("sha1=" + macDigits(sha1.New, world.Secret, body))
	case "sha512":
		return one("sha512=" + macDigits(sha512.New, world.Secret, body))
	}
	return one("sha256=" + good)
}

func macDigits(sum func() hash.Hash, secret string, body []byte) string {
	m := hmac.New(sum, []byte(secret))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}
