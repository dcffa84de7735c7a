package queue

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"time"
)

// Config says where the line is kept and how patient it is. Zero fields mean the values
// of [Default].
type Config struct {
	// URL of an external NATS server or cluster, nats://host:port, tls:// or wss://;
	// several are separated by commas. Empty runs JetStream inside this process, without
	// a listener. Credentials belong into CredentialsFile.
	URL string
	// CredentialsFile is a NATS .creds file for the external server.
	CredentialsFile string
	// CAFile holds the authorities that the external server's certificate is checked
	// against, in PEM; the system's when empty.
	CAFile string
	// CertFile and KeyFile are this client's certificate, where the server asks for one.
	CertFile, KeyFile string
	// AllowPlaintext permits an external server without TLS on another host. A server
	// on a loopback address may always go without.
	AllowPlaintext bool

	// StoreDir keeps the embedded queue: an absolute path on a disk that outlives the
	// process. One process at a time.
	StoreDir string
	// AllowVolatile permits a StoreDir that a restart of the machine may forget (demo,
	// tests).
	AllowVolatile bool

	// Replicas of each stream: 1, or 3 on a cluster.
	Replicas int
	// IntakeMaxBytes is how much of accepted events is kept, at most 72 hours. When it
	// is reached, new ones are refused.
	IntakeMaxBytes int64

	// Grace is how long runs may go on after Work's context has ended; then they are
	// cancelled.
	Grace time.Duration
	// RunTimeout cancels a run that takes longer.
	RunTimeout time.Duration
	// Delays is the table of waits after the first, second, … failure; the last one
	// repeats. Each is varied by a fifth.
	Delays []time.Duration

	// A worker shows every Renew that it lives, stops its own runs when it could not for
	// Stop, and loses its keys to others after Dead. Renew < Stop < Dead.
	Renew, Stop, Dead time.Duration
}

// Default is the configuration of an embedded queue that lacks only its StoreDir.
func Default() Config {
	return Config{
		Replicas:       1,
		IntakeMaxBytes: 2 << 30,
		Grace:          20 * time.Second,
		RunTimeout:     15 * time.Minute,
		Delays: []time.Duration{
			time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		},
		Renew: 700 * time.Millisecond,
		Stop:  2500 * time.Millisecond,
		Dead:  3500 * time.Millisecond,
	}
}

func (c Config) withDefaults() Config {
	d := Default()
	if c.Replicas == 0 {
		c.Replicas = d.Replicas
	}
	if c.IntakeMaxBytes == 0 {
		c.IntakeMaxBytes = d.IntakeMaxBytes
	}
	if c.Grace == 0 {
		c.Grace = d.Grace
	}
	if c.RunTimeout == 0 {
		c.RunTimeout = d.RunTimeout
	}
	if len(c.Delays) == 0 {
		c.Delays = d.Delays
	}
	if c.Renew == 0 && c.Stop == 0 && c.Dead == 0 {
		c.Renew, c.Stop, c.Dead = d.Renew, d.Stop, d.Dead
	}
	return c
}

const minIntake = 1 << 20

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("queue.%s: %s", field, fmt.Sprintf(format, args...)))
	}
	switch {
	case c.URL == "" && c.StoreDir == "":
		bad("storeDir", "the embedded queue needs a directory on a durable disk")
	case c.URL == "" && !filepath.IsAbs(c.StoreDir):
		bad("storeDir", "%q: want an absolute path", c.StoreDir)
	case c.URL == "" && c.Replicas != 1:
		bad("replicas", "%d: the embedded queue has one", c.Replicas)
	case c.Replicas != 1 && c.Replicas != 3:
		bad("replicas", "%d: want 1 or 3", c.Replicas)
	}
	if c.URL != "" {
		if err := c.checkURL(); err != nil {
			bad("url", "%v", err)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("certFile", "a client certificate needs certFile and keyFile")
	}
	if c.IntakeMaxBytes < minIntake {
		bad("intakeMaxBytes", "%d: want at least %d", c.IntakeMaxBytes, minIntake)
	}
	if c.Grace < 0 || c.RunTimeout <= 0 {
		bad("grace", "%s with runTimeout %s: want none negative", c.Grace, c.RunTimeout)
	}
	if len(c.Delays) == 0 || slices.Min(c.Delays) <= 0 {
		bad("delays", "%v: want at least one, each above zero", c.Delays)
	}
	if c.Renew <= 0 || c.Stop <= c.Renew || c.Dead <= c.Stop {
		bad("renew", "%s, stop %s, dead %s: want 0 < renew < stop < dead", c.Renew, c.Stop, c.Dead)
	}
	return errors.Join(errs...)
}

func (c Config) checkURL() error {
	for _, raw := range c.servers() {
		u, err := url.Parse(raw)
		switch {
		case err != nil || u.Hostname() == "":
			return errors.New("want nats://host:port") // the text may hold a password
		case u.User != nil:
			return fmt.Errorf("%s: credentials belong into credentialsFile", u.Host)
		case !slices.Contains([]string{"nats", "tls", "wss"}, u.Scheme):
			return fmt.Errorf("%s: scheme %q: want nats, tls or wss", u.Host, u.Scheme)
		}
	}
	return nil
}

// plaintext reports whether every server may be spoken to without TLS.
func (c Config) plaintext() bool {
	for _, raw := range c.servers() {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "nats" {
			return false
		}
		addr, err := netip.ParseAddr(u.Hostname())
		loopback := u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
		if !loopback && !c.AllowPlaintext {
			return false
		}
	}
	return true
}
