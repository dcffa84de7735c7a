// Package forge speaks with what stands around a Git repository at its host: pull
// requests, the statuses of commits, how commits descend from each other. In goes the URL
// of a repository with a token, out comes what GitHub, GitLab or Gitea answered, in one
// vocabulary.
//
// It promises that a token is sent to the host of its repository only, and that doing
// something twice leaves one pull request and one status. It refuses hosts whose kind
// nobody said, redirects, and addresses that the guard does not let pass.
package forge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tradewind-dev/tradewind/sync/guard"
)

// Kind is the product that a forge is.
type Kind string

// The kinds. Forgejo is a Gitea.
const (
	GitHub Kind = "github"
	GitLab Kind = "gitlab"
	Gitea  Kind = "gitea"
)

// Valid reports whether there is such a kind.
func (k Kind) Valid() bool { return k == GitHub || k == GitLab || k == Gitea }

// wellKnown are hosts whose kind needs no configuration.
var wellKnown = map[string]Kind{"github.com": GitHub, "gitlab.com": GitLab, "codeberg.org": Gitea, "gitea.com": Gitea}

// ErrNoForge says that nobody knows what kind of forge a repository is at.
var ErrNoForge = errors.New("it is not known what kind of forge the repository is at")

// Repo is a repository and the token that is used there.
type Repo struct {
	URL   string // as it is cloned: https, http, ssh, or git@host:path
	Token string
}

// Proposal asks people to merge a branch.
type Proposal struct {
	Branch, Into string
	Title, Body  string
}

// State is how something is with a commit.
type State string

// The states.
const (
	Pending State = "pending"
	Success State = "success"
	Failure State = "failure"
)

// Status is what is said of a commit. A later one of the same context replaces it.
type Status struct {
	Commit  string // in full
	Context string
	State   State
	Text    string // one short sentence
}

// Config is how forges are reached.
type Config struct {
	// Kinds says what kind a host (host or host:port) is.
	Kinds map[string]Kind
	// AllowedHosts may resolve to private or loopback addresses, InsecureHosts may be
	// reached over plain http, when their repository is.
	AllowedHosts, InsecureHosts []string
	// Timeout bounds one call. Default 15 s.
	Timeout time.Duration
}

// Client speaks with forges. It is safe for concurrent use.
type Client struct {
	cfg    Config
	http   *http.Client
	limits *guard.Limits
}

// New returns a Client.
func New(cfg Config) *Client {
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	return &Client{cfg: cfg, http: newHTTP(cfg), limits: guard.NewLimits(callsPerSecond, callsAtOnce)}
}

// What one forge is asked at most; GitHub's own limit is about one in a second over an
// hour.
const (
	callsPerSecond = 2
	callsAtOnce    = 4
)

// api is one forge's way of saying it, for one repository.
type api interface {
	propose(ctx context.Context, p Proposal) (url string, err error)
	setStatus(ctx context.Context, s Status) error
	// descends reports whether commit is ancestor or descends from it.
	descends(ctx context.Context, ancestor, commit string) (bool, error)
}

// Knows reports whether the kind of the forge that a repository is at is known.
func (c *Client) Knows(url string) bool {
	_, err := c.locate(url)
	return err == nil
}

// Propose opens a pull request for a branch, or brings title and text of the one that is
// open up to date, and returns its page. It never merges.
func (c *Client) Propose(ctx context.Context, r Repo, p Proposal) (url string, err error) {
	err = c.call(ctx, "opening a pull request", r, func(ctx context.Context, a api) error {
		url, err = a.propose(ctx, p)
		return err
	})
	return url, err
}

// SetStatus says something of a commit.
func (c *Client) SetStatus(ctx context.Context, r Repo, s Status) error {
	return c.call(ctx, "setting a commit status", r, func(ctx context.Context, a api) error { return a.setStatus(ctx, s) })
}

// Descends reports whether commit is ancestor, or descends from it.
func (c *Client) Descends(ctx context.Context, r Repo, ancestor, commit string) (yes bool, err error) {
	err = c.call(ctx, "comparing commits", r, func(ctx context.Context, a api) error {
		yes, err = a.descends(ctx, ancestor, commit)
		return err
	})
	return yes, err
}

func (c *Client) call(ctx context.Context, op string, r Repo, do func(context.Context, api) error) error {
	at, err := c.locate(r.URL)
	if err != nil {
		return &Error{Op: op, Host: at.host, err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	leave, err := c.limits.Enter(ctx, at.host)
	if err != nil {
		return &Error{Op: op, Host: at.host, err: err}
	}
	defer leave()
	a, err := c.open(at, r.Token)
	if err == nil {
		err = do(ctx, a)
	}
	if err != nil {
		return newError(op, at, err)
	}
	return nil
}

func (c *Client) open(at place, token string) (api, error) {
	switch at.kind {
	case GitHub:
		return newGitHub(c.http, at, token)
	case GitLab:
		return newGitLab(c.http, at, token)
	case Gitea:
		return &gitea{http: c.http, at: at, token: token}, nil
	}
	return nil, ErrNoForge
}

// TokenFromSecret is the token in the data of a Kubernetes Secret that a repository is
// cloned with; empty when there is none, as with an SSH key.
func TokenFromSecret(data map[string][]byte) string {
	if len(data["identity"]) > 0 { // password unlocks the key
		return cmp.Or(string(data["token"]), string(data["bearerToken"]))
	}
	return cmp.Or(string(data["token"]), string(data["bearerToken"]), string(data["password"]))
}
