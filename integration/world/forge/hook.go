package forge

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"
)

const hookTimeout = 10 * time.Second // GitHub's

// Webhook is where pushes are announced to, as a forge stores it.
type Webhook struct{ URL, Secret string }

// Delivery is one post to a webhook and what became of it. A forge does not repeat one
// that failed; neither do we.
type Delivery struct {
	ID, Event  string
	Repo, Ref  string // of the push behind it
	Commit     string
	Pushed     time.Time // when the push was in the repository
	Header     http.Header
	Body       []byte
	Status     int    // 0: no answer
	Answer     string // the body of the answer, or the error
	Answered   time.Time
	Redelivery bool
}

// Sign returns what a sender puts beside a body to prove that it knows the secret.
func Sign(sender, secret string, body []byte) http.Header {
	header := http.Header{}
	mac := func(h func() hash.Hash) string {
		m := hmac.New(h, []byte(secret))
		m.Write(body)
		return hex.EncodeToString(m.Sum(nil))
	}
	switch sender {
	case "github":
		header.Set("X-Hub-Signature-256", "sha256="+mac(sha256.New))
		header.Set("X-Hub-Signature", "sha1="+mac(sha1.New))
	case "generic":
		header.Set("X-Signature", "sha256="+mac(sha256.New))
	}
	return header
}

// GitHubHeader is what GitHub sends with a JSON body.
func GitHubHeader(event, secret string, body []byte) http.Header {
	header := Sign("github", secret, body)
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "GitHub-Hookshot/f2a1b3c")
	header.Set("X-GitHub-Event", event)
	header.Set("X-GitHub-Delivery", newGUID())
	header.Set("X-GitHub-Hook-ID", "1")
	header.Set("X-GitHub-Hook-Installation-Target-Type", "repository")
	return header
}

func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// announce posts one event per moved ref, in the background as forges do.
func (s *Server) announce(r *repo, moves []move, pushed time.Time) {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return
	}
	s.background.Go(func() {
		for _, m := range moves {
			d := Delivery{Event: "push", Repo: r.name, Ref: m.ref, Commit: m.after, Pushed: pushed}
			body, err := s.pushPayload(s.ctx, r, m)
			if err != nil {
				d.Answer = err.Error()
				s.deliveries.Add(d)
				continue
			}
			d.Body, d.Header = body, GitHubHeader(d.Event, hook.Secret, body)
			s.deliver(s.ctx, hook, d)
		}
	})
}

func (s *Server) deliver(ctx context.Context, hook *Webhook, d Delivery) Delivery {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	d.ID = d.Header.Get("X-GitHub-Delivery")
	d.Status, d.Answer = post(ctx, s.client, hook.URL, d.Header, d.Body)
	d.Answered = time.Now()
	s.deliveries.Add(d)
	return d
}

func post(ctx context.Context, client *http.Client, url string, header http.Header, body []byte) (int, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header = header.Clone()
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(answer)
}

// Deliveries returns every post so far, from the i-th on.
func (s *Server) Deliveries(i int) []Delivery {
	all, _ := s.deliveries.From(i)
	return all
}

// AwaitDelivery returns the first delivery at or after the i-th that matches, and its
// index.
func (s *Server) AwaitDelivery(ctx context.Context, i int, match func(Delivery) bool) (Delivery, int, error) {
	return s.deliveries.Await(ctx, i, match)
}

// Redeliver posts the latest delivery once more, byte for byte and under its own id, as
// the button in a forge does.
func (s *Server) Redeliver(ctx context.Context) (Delivery, error) {
	all := s.Deliveries(0)
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if len(all) == 0 || hook == nil {
		return Delivery{}, fmt.Errorf("nothing to redeliver: %d deliveries, webhook %v", len(all), hook != nil)
	}
	last := all[len(all)-1]
	last.Redelivery = true
	return s.deliver(ctx, hook, last), nil
}
