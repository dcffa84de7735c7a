package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// ErrNotGit says that whatever answered is not a Git server that speaks the smart
// protocol.
var ErrNotGit = errors.New("the server does not offer a Git repository at this URL")

// StatusError is an HTTP status other than 200. Its text holds nothing the server sent.
type StatusError struct {
	Code       int
	RetryAfter time.Duration
}

func (e *StatusError) Error() string { return fmt.Sprintf("the server answered %d", e.Code) }

// RedirectError says that the server sent us elsewhere.
type RedirectError struct{ To string }

func (e *RedirectError) Error() string { return "the server redirects to " + e.To }

// Hint is what to do next.
func (e *RedirectError) Hint() string {
	return "write the URL it redirects to; a credential never follows a redirect"
}

// service is one of the two things a Git server does. Its name is part of every address
// and media type of the smart protocol: a GET that lists refs, a POST that asks for a
// pack or brings one. https://git-scm.com/docs/http-protocol
type service string

const (
	uploadPack  service = "git-upload-pack"
	receivePack service = "git-receive-pack"
)

func (s service) advertisement() string { return "application/x-" + string(s) + "-advertisement" }
func (s service) request() string       { return "application/x-" + string(s) + "-request" }
func (s service) result() string        { return "application/x-" + string(s) + "-result" }

const (
	infoRefs     = "/info/refs"
	userAgent    = "git/tradewind" // some forges serve Git only to agents called git/…
	maxRedirects = 5
)

// httpSession is one exchange over HTTP(S). base moves when discovery is redirected
// within the server.
type httpSession struct {
	dialer  *Dialer
	client  *http.Client
	service service
	base    string
	host    string // for the limits
	auth    Auth
}

func (d *Dialer) openHTTP(ep Endpoint, auth Auth, svc service) (*httpSession, error) {
	if auth.BearerToken == "" && auth.Username == "" && len(auth.Identity) > 0 {
		return nil, &AuthError{"the URL is for HTTPS but the credential is an SSH key",
			"use the ssh:// URL of the repository, or a secret with username and password"}
	}
	base, err := d.transport(auth)
	if err != nil {
		return nil, err
	}
	return &httpSession{
		dialer:  d,
		client:  &http.Client{Transport: base, CheckRedirect: checkRedirect},
		service: svc,
		base:    ep.String(),
		host:    net.JoinHostPort(ep.Host, ep.Port),
		auth:    auth,
	}, nil
}

func (s *httpSession) Refs(ctx context.Context) (*packp.AdvRefs, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+infoRefs+"?service="+string(s.service), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := s.do(req, s.service.advertisement())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	path, ok := strings.CutSuffix(resp.Request.URL.EscapedPath(), infoRefs)
	if !ok {
		return nil, &RedirectError{To: resp.Request.URL.Redacted()}
	}
	s.base = resp.Request.URL.Scheme + "://" + resp.Request.URL.Host + path
	return decodeRefs(newLimitReader(resp.Body, s.dialer.cfg.RefBytes, "the list of refs"))
}

func (s *httpSession) Pack(ctx context.Context, want *packp.UploadPackRequest) (io.ReadCloser, error) {
	body, err := encodeRequest(want, false)
	if err != nil {
		return nil, err
	}
	resp, err := s.post(ctx, body) //nolint:bodyclose // the caller closes what is returned
	if err != nil {
		return nil, err
	}
	limited := readCloser{newLimitReader(resp.Body, s.dialer.cfg.PackBytes, "the pack"), resp.Body}
	return decodePack(limited, want)
}

// Push implements [PushSession].
func (s *httpSession) Push(ctx context.Context, update *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error) {
	var body bytes.Buffer
	if err := update.Encode(&body); err != nil {
		return nil, err
	}
	resp, err := s.post(ctx, body.Bytes())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return decodeReport(resp.Body)
}

func (s *httpSession) post(ctx context.Context, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/"+string(s.service), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", s.service.request())
	return s.do(req, s.service.result())
}

func (s *httpSession) Close() error { return nil }

// reportBytes is more than the report on one ref takes.
const reportBytes = 64 << 10

func decodeReport(r io.Reader) (*packp.ReportStatus, error) {
	report := packp.NewReportStatus()
	return report, report.Decode(newLimitReader(r, reportBytes, "the report on a push"))
}

// errorBodyBytes is what is read of an answer that is an error, to keep the connection.
const errorBodyBytes = 16 << 10

func (s *httpSession) do(req *http.Request, mime string) (*http.Response, error) {
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", mime)
	switch {
	case s.auth.BearerToken != "":
		req.Header.Set("Authorization", "Bearer "+s.auth.BearerToken)
	case s.auth.Username != "":
		req.SetBasicAuth(s.auth.Username, s.auth.Password)
	}
	leave, err := s.dialer.limits.Enter(req.Context(), s.host)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		leave()
		return nil, err
	}
	resp.Body = &leavingBody{resp.Body, leave}
	if err := refusal(resp, mime); err != nil {
		_, _ = io.CopyN(io.Discard, resp.Body, errorBodyBytes)
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func refusal(resp *http.Response, mime string) error {
	if resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &StatusError{resp.StatusCode, time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	}
	if got, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); strings.TrimSpace(got) != mime {
		return ErrNotGit
	}
	return nil
}

// checkRedirect allows what forges do at home while refs are asked for: another path on
// the same server, or from plain http to https.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	same := strings.EqualFold(from.Hostname(), to.Hostname()) && to.User == nil
	upgrade := from.Scheme == "http" && to.Scheme == "https" && portOf(from) == "80" && portOf(to) == "443"
	home := same && (upgrade || from.Scheme == to.Scheme && portOf(from) == portOf(to))
	if !home || via[0].Method != http.MethodGet || len(via) > maxRedirects {
		return &RedirectError{To: to.Scheme + "://" + to.Host + to.EscapedPath()}
	}
	return nil
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return defaultPorts[u.Scheme]
}

// leavingBody gives the slot at the host back when the answer was read.
type leavingBody struct {
	io.ReadCloser
	leave func()
}

func (b *leavingBody) Close() error {
	defer b.leave()
	return b.ReadCloser.Close()
}

type readCloser struct {
	io.Reader
	io.Closer
}

func decodeRefs(r io.Reader) (*packp.AdvRefs, error) {
	refs := packp.NewAdvRefs()
	err := refs.Decode(r)
	if errors.Is(err, packp.ErrEmptyAdvRefs) {
		return packp.NewAdvRefs(), nil
	}
	return refs, err
}

// encodeRequest writes wants, haves and done at once: there is one round, no negotiation.
// Over a stateful connection haves are flushed before done.
func encodeRequest(req *packp.UploadPackRequest, stateful bool) ([]byte, error) {
	var buf bytes.Buffer
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := req.UploadRequest.Encode(&buf); err != nil {
		return nil, err
	}
	if err := req.UploadHaves.Encode(&buf, stateful); err != nil {
		return nil, err
	}
	err := pktline.NewEncoder(&buf).EncodeString("done\n")
	return buf.Bytes(), err
}

func decodePack(body io.ReadCloser, req *packp.UploadPackRequest) (io.ReadCloser, error) {
	resp := packp.NewUploadPackResponse(req)
	if err := resp.Decode(body); err != nil {
		_ = body.Close()
		return nil, err
	}
	return resp, nil
}
