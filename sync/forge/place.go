package forge

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/sync/guard"
)

// place is a repository at a forge.
type place struct {
	kind  Kind
	host  string // with its port, if the API has one
	base  string // URL of the site, without a slash at the end
	owner string // may have several parts at GitLab
	name  string
}

func (p place) path() string { return p.owner + "/" + p.name }

// segment is what the forges allow in names. It keeps a path from leading elsewhere.
var segment = regexp.MustCompile(`^[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)

// scp is git@host:path.
var scp = regexp.MustCompile(`^(?:[^@/:]+@)?([^@/:]+):([^/].*)$`)

// locate finds the API of a repository. The site of one that is cloned by SSH is expected
// at https.
func (c *Client) locate(repo string) (place, error) {
	u, err := url.Parse(repo)
	if m := scp.FindStringSubmatch(repo); m != nil && !strings.Contains(repo, "://") {
		u, err = &url.URL{Scheme: "ssh", Host: m[1], Path: "/" + m[2]}, nil
	}
	if err != nil || u.Host == "" {
		return place{}, fmt.Errorf("%w: its URL has no host", ErrNoForge)
	}
	at := place{host: strings.ToLower(u.Host), base: "https://"}
	switch u.Scheme {
	case "https":
		at.host = strings.TrimSuffix(at.host, ":443")
	case "ssh":
		at.host = strings.ToLower(u.Hostname())
	case "http":
		if !guard.Listed(c.cfg.InsecureHosts, at.host, "80") {
			return at, fmt.Errorf("%s may not be reached over plain http", at.host)
		}
		at.base = "http://"
	default:
		return at, ErrNoForge
	}
	at.base += at.host
	if at.kind = c.kind(at.host); at.kind == "" {
		return at, ErrNoForge
	}
	parts := strings.Split(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	for _, part := range parts {
		if !segment.MatchString(part) {
			return at, fmt.Errorf("its path %q is not that of a repository at %s", u.Path, at.kind)
		}
	}
	last := len(parts) - 1
	if last < 1 || last > 1 && at.kind != GitLab {
		return at, fmt.Errorf("its path %q is not that of a repository at %s", u.Path, at.kind)
	}
	at.owner, at.name = strings.Join(parts[:last], "/"), parts[last]
	return at, nil
}

func (c *Client) kind(host string) Kind {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	for known, kind := range c.cfg.Kinds {
		if strings.EqualFold(known, host) || strings.EqualFold(known, name) {
			return kind
		}
	}
	return wellKnown[host]
}

// maxAnswer bounds what a forge may send in one answer.
const maxAnswer = 8 << 20

// newHTTP never follows a redirect: tokens are in headers that would be carried along.
func newHTTP(cfg Config) *http.Client {
	transport := &http.Transport{
		DialContext:       guard.New("git.allowedHosts", cfg.AllowedHosts, nil).Dial,
		ForceAttemptHTTP2: true, TLSHandshakeTimeout: guard.Timeout, ResponseHeaderTimeout: cfg.Timeout,
		MaxIdleConnsPerHost: callsAtOnce, IdleConnTimeout: time.Minute,
	}
	return &http.Client{
		Transport:     bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded cuts answers that are too long; what is left does not parse.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}
