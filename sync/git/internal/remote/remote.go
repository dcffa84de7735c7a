// Package remote is how Tradewind reaches Git servers, over HTTPS and SSH and nothing
// else. In goes a URL that a user wrote together with the credential meant for it, out
// comes one exchange with the server: the list of refs, then at most one pack, in either
// direction.
//
// It promises that the connection goes to an address that was checked (no loopback,
// link-local, private or metadata address unless configured), that a credential only
// reaches the scheme, host and port of its URL, that host keys and certificates are
// verified, and that time, bytes, rate and concurrency are bounded. It refuses URLs that
// hold credentials, redirects to other hosts, and every scheme but https and ssh (http
// for listed hosts). The process environment (proxies, SSH configuration, agents) and
// go-git's process-wide transport registry play no part.
package remote

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/tradewind-dev/tradewind/sync/guard"
)

// Config says what may be reached and at which rate.
type Config struct {
	InsecureHosts []string       // host or host:port that may be reached over plain http
	AllowedHosts  []string       // host or host:port whose addresses may be private or loopback
	AllowedRanges []netip.Prefix // may be reached although private or loopback

	RefBytes          int64   // limit of one ref listing
	PackBytes         int64   // limit of one pack
	RequestsPerSecond float64 // per host
	RequestsAtOnce    int     // per host
}

// Dialer opens exchanges with Git servers. It is safe for concurrent use.
type Dialer struct {
	cfg    Config
	guard  *guard.Guard
	limits *guard.Limits

	mu         sync.Mutex // guards transports
	transports map[string]*http.Transport
}

// New returns a Dialer.
func New(cfg Config) *Dialer {
	return &Dialer{
		cfg:        cfg,
		guard:      guard.New("git.allowedHosts", cfg.AllowedHosts, cfg.AllowedRanges),
		limits:     guard.NewLimits(cfg.RequestsPerSecond, cfg.RequestsAtOnce),
		transports: map[string]*http.Transport{},
	}
}

// Session is one exchange with one repository. Refs comes first and is asked once.
type Session interface {
	// Refs lists what the server has.
	Refs(ctx context.Context) (*packp.AdvRefs, error)
	// Pack asks for objects. The reader yields the server's answer after the
	// acknowledgements, side bands included; the caller closes it.
	Pack(ctx context.Context, req *packp.UploadPackRequest) (io.ReadCloser, error)
	// Close ends the exchange.
	Close() error
}

// PushSession is one exchange that writes. Refs comes first and is asked once.
type PushSession interface {
	Refs(ctx context.Context) (*packp.AdvRefs, error)
	// Push sends a pack and moves refs, and returns what the server says of each.
	Push(ctx context.Context, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error)
	Close() error
}

// Parse checks rawURL and takes it apart.
func (d *Dialer) Parse(rawURL string) (Endpoint, error) {
	ep, err := parseURL(rawURL)
	if err != nil {
		return Endpoint{}, err
	}
	if ep.Scheme == "http" && !guard.Listed(d.cfg.InsecureHosts, ep.Host, ep.Port) {
		return Endpoint{}, &URLError{"plain http is not allowed for " + ep.Host,
			"use https, or list the host under git.insecureHosts"}
	}
	return ep, nil
}

// Open starts an exchange. The context bounds it as a whole: cancelling it closes the
// connection and gives back what the exchange holds.
func (d *Dialer) Open(ctx context.Context, ep Endpoint, auth Auth) (Session, error) {
	if ep.Scheme == "ssh" {
		return d.openSSH(ctx, ep, auth, uploadPack)
	}
	return d.openHTTP(ep, auth, uploadPack)
}

// OpenPush starts an exchange that writes.
func (d *Dialer) OpenPush(ctx context.Context, ep Endpoint, auth Auth) (PushSession, error) {
	if ep.Scheme == "ssh" {
		return d.openSSH(ctx, ep, auth, receivePack)
	}
	return d.openHTTP(ep, auth, receivePack)
}

// Close drops idle connections.
func (d *Dialer) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.transports {
		t.CloseIdleConnections()
	}
	clear(d.transports)
}
