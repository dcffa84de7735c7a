package helm

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Config says how charts are reached.
type Config struct {
	// Dial opens every connection; it is where addresses are checked.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// InsecureHosts (host or host:port) may be reached over plain http.
	InsecureHosts []string
	// Timeout bounds one fetch; default 60 s.
	Timeout time.Duration
}

// Login is how a repository is entered; the zero Login is anonymous. It is sent to the
// repository's own scheme, host and port and nowhere else.
type Login struct {
	Username, Password string
	// CA are certificates (PEM) to trust in place of the system's.
	CA []byte
}

// LoginFromSecret reads username, password and ca.crt.
func LoginFromSecret(data map[string][]byte) (Login, error) {
	l := Login{Username: string(data["username"]), Password: string(data["password"]), CA: data["ca.crt"]}
	if len(l.CA) == 0 {
		l.CA = data["caFile"]
	}
	if l.Username == "" && len(l.CA) == 0 {
		return Login{}, &Error{Err: fmt.Errorf("it holds no credentials"), Advice: "want the keys username and password, or ca.crt"}
	}
	return l, nil
}

// Source is a chart in a repository.
type Source struct {
	URL     string
	Chart   string
	Version string // or a range
	Login   Login
	Timeout time.Duration // 0 means the default
	// MaxAge is how old the list of versions may be. A version that is known costs no
	// request, whatever its age.
	MaxAge time.Duration
}

// Charts fetches charts and keeps what it fetched. It is safe for concurrent use.
type Charts struct {
	cfg   Config
	group singleflight.Group

	mu       sync.Mutex
	listings map[string]*listing // by repository and login
	known    map[string]string   // source and exact version to digest
	kept     *kept
}

// Bounds of what is kept between fetches.
const (
	maxListings = 64
	maxKnown    = 4096
	maxKept     = 64 << 20 // bytes of archives
)

// NewCharts returns an empty cache.
func NewCharts(cfg Config) *Charts {
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	return &Charts{cfg: cfg, listings: map[string]*listing{}, known: map[string]string{}, kept: newKept(maxKept)}
}

// Fetch returns the newest chart that the source allows.
func (c *Charts) Fetch(ctx context.Context, src Source) (*Chart, error) {
	base, err := c.check(src.URL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(src.Timeout, c.cfg.Timeout))
	defer cancel()
	id := src.Login.id() + " " + base.String() + " " + src.Chart
	if exact(src.Version) {
		if found := c.cached(id, src.Version); found != nil {
			return found, nil
		}
	}
	// Applications that want the same at the same moment share one fetch.
	got, err, _ := c.group.Do(id+" "+src.Version, func() (any, error) { return c.fetch(ctx, base, src, id) })
	if err != nil {
		return nil, fmt.Errorf("chart %s of %s: %w", src.Chart, base.Redacted(), err)
	}
	return got.(*Chart), nil
}

func (c *Charts) fetch(ctx context.Context, base *url.URL, src Source, id string) (*Chart, error) {
	var repo repository = &classic{charts: c, base: base, login: src.Login}
	if base.Scheme == schemeOCI {
		repo = &registry{charts: c, base: base, login: src.Login}
	}
	version, l, err := c.choose(ctx, repo, src, id)
	if err != nil {
		return nil, err
	}
	if found := c.cached(id, version); found != nil && (l.digests[version] == "" || l.digests[version] == found.Digest) {
		return found, nil
	}
	data, err := repo.pull(ctx, src.Chart, version, l)
	if err != nil {
		return nil, fmt.Errorf("version %s: %w", version, err)
	}
	chart, err := FromArchive(data)
	if err != nil {
		return nil, fmt.Errorf("version %s: %w", version, err)
	}
	if want := l.digests[version]; want != "" && want != chart.Digest {
		return nil, fmt.Errorf("version %s: the archive has digest %s, the index says %s", version, chart.Digest, want)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		clear(c.known)
	}
	c.known[id+" "+version] = chart.Digest
	c.kept.add(chart, len(data))
	return chart, nil
}

// choose picks the version that the source asks for.
func (c *Charts) choose(ctx context.Context, repo repository, src Source, id string) (version string, l *listing, err error) {
	if _, ok := repo.(*registry); ok && exact(src.Version) {
		return src.Version, &listing{}, nil // the tag is known, and listing may not be allowed
	}
	if l, err = c.list(ctx, repo, src.Chart, id, src.MaxAge); err != nil {
		return "", nil, err
	}
	if version, err = newest(l.versions, src.Version); err == nil {
		return version, l, nil
	}
	// It may have been published since.
	if l, err = c.list(ctx, repo, src.Chart, id, min(src.MaxAge, missingAge)); err != nil {
		return "", nil, err
	}
	version, err = newest(l.versions, src.Version)
	return version, l, err
}

func (c *Charts) cached(id, version string) *Chart {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept.get(c.known[id+" "+version])
}

// repository is one that charts can be listed in and fetched from.
type repository interface {
	// list asks which versions there are; old is the last answer or nil, and is returned
	// itself when nothing changed.
	list(ctx context.Context, chart string, old *listing) (*listing, error)
	pull(ctx context.Context, chart, version string, l *listing) ([]byte, error)
}

// listing is what a repository has of one chart.
type listing struct {
	versions []string
	digests  map[string]string   // "sha256:…" by version, where the repository says it
	urls     map[string][]string // by version
	etag     string
	asked    time.Time
}

// missingAge is how old a listing may be that does not have what is wanted.
const missingAge = time.Second

// list returns a listing that is not older than most.
func (c *Charts) list(ctx context.Context, repo repository, chart, id string, most time.Duration) (*listing, error) {
	c.mu.Lock()
	old := c.listings[id]
	c.mu.Unlock()
	if old != nil && time.Since(old.asked) < most {
		return old, nil
	}
	asked := time.Now()
	got, err := repo.list(ctx, chart, old)
	if err != nil {
		return nil, err
	}
	next := *got
	next.asked = asked
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.listings) >= maxListings {
		clear(c.listings)
	}
	c.listings[id] = &next
	return &next, nil
}

const schemeOCI = "oci"

// check takes a repository's URL apart and refuses what must not be reached.
func (c *Charts) check(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(raw, "/"))
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, &Error{Err: fmt.Errorf("repository URL: it is not one"), Advice: "want https://host/path or oci://host/path"}
	case u.User != nil:
		return nil, &Error{Err: fmt.Errorf("repository URL: it holds a login"), Advice: "put username and password into a Secret and name it in secretRef"}
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("repository URL: it has a query or a fragment")
	case u.Scheme == "https" || u.Scheme == schemeOCI:
		return u, nil
	case u.Scheme == "http" && c.insecure(u):
		return u, nil
	case u.Scheme == "http":
		return nil, &Error{Err: fmt.Errorf("plain http is not allowed for %s", u.Host), Advice: "use https, or list the host under git.insecureHosts"}
	}
	return nil, fmt.Errorf("repository URL: scheme %q is not supported: want https or oci", u.Scheme)
}

// insecure says that a host may be reached without TLS.
func (c *Charts) insecure(u *url.URL) bool {
	for _, h := range c.cfg.InsecureHosts {
		if strings.EqualFold(h, u.Hostname()) || strings.EqualFold(h, u.Host) {
			return true
		}
	}
	return false
}

// transport reaches one repository.
func (c *Charts) transport(login Login) (http.RoundTripper, error) {
	config, err := login.tls()
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		DialContext: c.cfg.Dial, TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
		ResponseHeaderTimeout: 30 * time.Second, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// kept holds charts by digest, the one used last longest.
type kept struct {
	most, size int
	charts     map[string]*keptChart
	uses       int
}

type keptChart struct {
	chart     *Chart
	size, use int
}

func newKept(most int) *kept { return &kept{most: most, charts: map[string]*keptChart{}} }

func (k *kept) get(digest string) *Chart {
	found := k.charts[digest]
	if found == nil {
		return nil
	}
	k.uses++
	found.use = k.uses
	return found.chart
}

func (k *kept) add(c *Chart, size int) {
	if k.get(c.Digest) != nil {
		return
	}
	k.uses++
	k.charts[c.Digest] = &keptChart{chart: c, size: size, use: k.uses}
	k.size += size
	for k.size > k.most && len(k.charts) > 1 {
		oldest := ""
		for digest, e := range k.charts {
			if oldest == "" || e.use < k.charts[oldest].use {
				oldest = digest
			}
		}
		k.size -= k.charts[oldest].size
		delete(k.charts, oldest)
	}
}
