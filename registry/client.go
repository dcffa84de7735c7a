package registry

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/tradewind-dev/tradewind/sync/guard"
)

// Config says which registries may be reached and how often.
type Config struct {
	// AllowedHosts (host or host:port) and AllowedRanges may be reached although their
	// addresses are private.
	AllowedHosts  []string
	AllowedRanges []netip.Prefix
	// InsecureHosts (host or host:port) are spoken to over plain HTTP.
	InsecureHosts []string
	// TokenRealms names, for a registry's host, further hosts that may get its
	// credentials in exchange for a token. The realms of Docker Hub and GitLab are known.
	TokenRealms map[string][]string
	// PerSecond and AtOnce bound the requests to one host; zero means 50 and 8.
	PerSecond float64
	AtOnce    int
}

// The limits of one call; a listing has some more of its own.
const (
	callTimeout  = 15 * time.Second
	maxManifest  = 4 << 20
	maxToken     = 1 << 20
	maxHeader    = 64 << 10
	maxRedirects = 5
)

// Client asks registries. It is safe for concurrent use.
type Client struct {
	cfg    Config
	strict *http.Client // stays on the host it was sent to
	blobs  *http.Client // follows to where a registry keeps its blobs
	limits *guard.Limits
	tokens tokens
	pauses pauses

	artifacts artifacts
}

// New returns a client.
func New(cfg Config) *Client {
	if cfg.PerSecond <= 0 {
		cfg.PerSecond = 50
	}
	if cfg.AtOnce <= 0 {
		cfg.AtOnce = 8
	}
	transport := &http.Transport{
		DialContext:            guard.New("registry.allowedHosts", cfg.AllowedHosts, cfg.AllowedRanges).Dial,
		TLSHandshakeTimeout:    guard.Timeout,
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    cfg.AtOnce,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}
	c := &Client{cfg: cfg, limits: guard.NewLimits(cfg.PerSecond, cfg.AtOnce)}
	c.strict = &http.Client{Transport: transport, CheckRedirect: sameHost}
	c.blobs = &http.Client{Transport: transport, CheckRedirect: c.elsewhere}
	return c
}

// sameHost keeps a request, and the credentials in it, with the host it was made for.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || len(via) > maxRedirects {
		return &RedirectError{From: first.Host, To: req.URL.Host}
	}
	return nil
}

// elsewhere lets a blob come from a registry's storage, which gets no credential of ours.
func (c *Client) elsewhere(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || req.URL.User != nil || req.URL.Scheme != c.scheme(req.URL.Host) {
		return &RedirectError{From: via[0].URL.Host, To: req.URL.Host}
	}
	if req.URL.Host != via[0].URL.Host {
		req.Header.Del("Authorization")
	}
	return nil
}

// scheme is https for all hosts but those that are listed.
func (c *Client) scheme(host string) string {
	u := url.URL{Host: host}
	if guard.Listed(c.cfg.InsecureHosts, u.Hostname(), u.Port()) {
		return "http"
	}
	return "https"
}

// endpoint is the URL of a part of the image's API.
func (c *Client) endpoint(image Image, path string) *url.URL {
	host := image.Host
	if host == dockerHub {
		host = "registry-1.docker.io"
	}
	return &url.URL{Scheme: c.scheme(host), Host: host, Path: "/v2/" + image.Repo + path}
}

// request is one question to a registry.
type request struct {
	op     string
	image  Image
	tag    string
	keys   Keychain
	method string
	url    *url.URL
	header http.Header
	client *http.Client
}

// wrong makes an error about r.
func (r *request) wrong(kind Kind, detail string, err error) *Error {
	return &Error{Kind: kind, Op: r.op, Image: r.image, Tag: r.tag, Detail: detail, Err: err}
}

// do sends r and, when the registry asks who we are, once more with the answer. The
// caller closes the body of the response, whose status is 200 or 304.
func (c *Client) do(ctx context.Context, r *request) (*http.Response, error) {
	cred := r.keys.of(r.image)
	who := identity{image: r.image.Key(), cred: cred.fingerprint()}
	if wait := c.pauses.left(r.image.Host, who.cred); wait > 0 {
		err := r.wrong(RateLimited, "the registry asked to be left alone", nil)
		err.RetryAfter = wait
		return nil, err
	}
	resp, err := c.send(ctx, r, c.tokens.get(who))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized {
		challenges := resp.Header.Values("WWW-Authenticate")
		drain(resp)
		header, life, err := c.authorize(ctx, r, cred, challenges)
		if err != nil {
			return nil, err
		}
		if resp, err = c.send(ctx, r, header); err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized {
			c.tokens.put(who, header, life)
		}
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	drain(resp)
	return nil, c.refusal(r, resp, cred)
}

func (c *Client) send(ctx context.Context, r *request, authorization string) (*http.Response, error) {
	leave, err := c.limits.Enter(ctx, r.url.Host)
	if err != nil {
		return nil, r.failed(err)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), nil)
	if err != nil {
		leave()
		return nil, r.wrong(Malformed, "", err)
	}
	maps.Copy(req.Header, r.header)
	req.Header.Set("User-Agent", "tradewind")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		leave()
		return nil, r.failed(err)
	}
	resp.Body = &slot{resp.Body, leave}
	return resp, nil
}

// slot is a body that gives its turn at the host back.
type slot struct {
	io.ReadCloser
	leave func()
}

func (s *slot) Close() error {
	defer s.leave()
	return s.ReadCloser.Close()
}

// drain reads the little that lets a connection be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
	_ = resp.Body.Close()
}

// failed sorts errors that come instead of an answer.
func (r *request) failed(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if blocked, ok := errors.AsType[*guard.BlockedError](err); ok {
		out := r.wrong(Blocked, blocked.Error(), err)
		out.hint = blocked.Hint()
		return out
	}
	if redirect, ok := errors.AsType[*RedirectError](err); ok {
		out := r.wrong(Blocked, redirect.Error(), err)
		out.hint = "name the registry by the host that it redirects to"
		return out
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return r.wrong(Unavailable, "no answer in time", err)
	}
	return r.wrong(Unavailable, "", err)
}

// refusal turns a status into an error and remembers for how long to stay away.
func (c *Client) refusal(r *request, resp *http.Response, cred credential) *Error {
	err := r.wrong(Malformed, "unexpected status", nil)
	err.Status = resp.StatusCode
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized:
		err.Kind, err.Detail = Unauthorized, ""
		if !cred.empty() {
			err.hint = "the registry does not accept the credentials of imageRepository.secretRef; renew them"
		}
	case s == http.StatusForbidden:
		err.Kind, err.Detail = Forbidden, ""
	case s == http.StatusNotFound:
		err.Kind, err.Detail = NotFound, ""
	case s == http.StatusTooManyRequests:
		err.Kind, err.Detail = RateLimited, ""
		err.RetryAfter = retryAfter(resp.Header, time.Now(), time.Minute)
	case s >= http.StatusInternalServerError:
		err.Kind, err.Detail = Unavailable, ""
		err.RetryAfter = retryAfter(resp.Header, time.Now(), 0)
	}
	if err.RetryAfter > 0 {
		c.pauses.set(r.image.Host, cred.fingerprint(), err.RetryAfter)
	}
	return err
}
