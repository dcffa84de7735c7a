// Package outbound makes the requests and sends the mail that workflow steps ask for. In
// go the parameters of a step's action, out comes the answer, bounded. Every connection
// goes through a guard, so that a template reaches neither the cluster's own addresses
// nor the cloud's unless they are configured; redirects are answers and not followed.
//
// It promises that a call ends in bounded time, and never puts a URL's credentials, query
// or a header into an error.
package outbound

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tradewind-dev/tradewind/sync/guard"
)

// Config says what may be reached.
type Config struct {
	// AllowedHosts (host or host:port) may be private or loopback.
	AllowedHosts []string
	// Setting is the part of the configuration that AllowedHosts come from, for hints.
	Setting string
}

// Client sends. It is safe for concurrent use.
type Client struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a Client.
func New(cfg Config) *Client {
	return &Client{dial: guard.New(cmp.Or(cfg.Setting, "steps.allowedHosts"), cfg.AllowedHosts, nil).Dial}
}

const (
	maxBody        = 256 << 10 // of an answer: what a step learns is kept
	maxRequest     = 1 << 20
	defaultTimeout = 10 * time.Second
	maxTimeout     = 60 * time.Second
)

// Request is one HTTP request.
type Request struct {
	Method, URL string
	Header      http.Header
	Body        string
	Timeout     time.Duration // 0 means the default
	TLS         *TLS
}

// TLS are certificates for one request, in PEM.
type TLS struct{ CA, Cert, Key []byte }

// Response is what came back. Any status is a response.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Do sends a request. The error is about why there is no answer.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	target, err := url.Parse(r.URL)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, errors.New("url: want http:// or https:// and a host")
	}
	if len(r.Body) > maxRequest {
		return nil, fmt.Errorf("request to %s: a body of %d KiB, at most %d KiB", target.Host, len(r.Body)>>10, maxRequest>>10)
	}
	ctx, cancel := context.WithTimeout(ctx, min(cmp.Or(r.Timeout, defaultTimeout), maxTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodGet), r.URL, bytes.NewReader([]byte(r.Body)))
	if err != nil {
		return nil, fmt.Errorf("request to %s: not valid", target.Host)
	}
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "tradewind")
	}
	transport, err := c.transport(r.TLS)
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", target.Host, err)
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", target.Host, cause(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("answer of %s: %w", target.Host, cause(err))
	case len(body) > maxBody:
		return nil, fmt.Errorf("answer of %s: more than %d KiB", target.Host, maxBody>>10)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}, nil
}

// transport has no proxy: its address would not be checked.
func (c *Client) transport(files *TLS) (*http.Transport, error) {
	t := &http.Transport{DialContext: c.dial, TLSHandshakeTimeout: defaultTimeout, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	if files == nil {
		return t, nil
	}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if len(files.CA) > 0 {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(files.CA) {
			return nil, errors.New("ca.crt holds no certificate")
		}
	}
	if len(files.Cert) > 0 {
		pair, err := tls.X509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, errors.New("client.crt and client.key are no pair")
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// cause leaves out the URL, which may hold a token.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}
