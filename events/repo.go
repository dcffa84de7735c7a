package events

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

const maxRepoURL = 2048 // longer than any that a forge writes

// defaultPorts holds every scheme a repository URL may have.
var defaultPorts = map[string]string{
	"https": "443", "git+https": "443", "http": "80",
	"ssh": "22", "git+ssh": "22", "git": "9418",
}

// RepoKey returns the one spelling under which all ways to write a repository's URL are
// compared: the host in lower case, a port where it is not the scheme's own, and the
// path without .git. User name, password, scheme, query and fragment leave no trace.
//
// Keys are only ever compared whole. One is never fetched, opened or handed to git, and
// an error never repeats the URL, which may hold a credential.
func RepoKey(rawURL string) (string, error) {
	return HostAliases(nil).RepoKey(rawURL)
}

// SourceKey names a ref of a repository: the subject of a [TypeSourcePushed] event and
// the key under which it is remembered that the ref was heard of. Spellings of a ref
// that differ only in Unicode normalization have one key.
func SourceKey(repoKey, ref string) string {
	return repoKey + "@" + norm.NFC.String(ref)
}

// FoldRepoKey is key as a server sees it that does not tell case apart. [RepoKey] folds
// by itself where the host says what it is; other keys are compared both ways.
func FoldRepoKey(key string) string {
	return norm.NFC.String(strings.ToLower(key))
}

// HostAliases maps the "host" or "host:port" of a key to the one to use instead, for
// servers whose SSH address differs from their web address:
//
//	{"git.example.com:7999": "git.example.com"}
type HostAliases map[string]string

// RepoKey is the function [RepoKey], with a's hosts replaced.
func (a HostAliases) RepoKey(rawURL string) (string, error) {
	addr, err := parseRepo(rawURL)
	if err != nil {
		return "", err
	}
	addr.wellKnown()
	if to, ok := a[addr.authority()]; ok {
		addr.host, addr.port, _ = strings.Cut(to, ":")
	}
	return addr.key(), nil
}

// repoAddr is a repository URL taken apart. The port is empty when it is the scheme's
// own, and path has neither empty parts nor "." nor "..".
type repoAddr struct {
	host, port string
	path       []string
	ssh        bool
	fold       bool // the server takes any case
}

func (r *repoAddr) authority() string {
	return strings.TrimSuffix(net.JoinHostPort(r.host, r.port), ":")
}

func (r *repoAddr) key() string {
	path := strings.Join(r.path, "/")
	if r.fold || forgeHost.MatchString(r.host) {
		path = strings.ToLower(path)
	}
	return r.authority() + "/" + norm.NFC.String(path)
}

func parseRepo(raw string) (*repoAddr, error) {
	raw = strings.Trim(raw, " ")
	switch {
	case raw == "":
		return nil, errors.New("the repository URL is empty")
	case len(raw) > maxRepoURL:
		return nil, fmt.Errorf("the repository URL is longer than %d bytes", maxRepoURL)
	case !printable(raw):
		return nil, errors.New("the repository URL holds a control character, backslash or invalid UTF-8")
	}
	raw = codeCommitURL.ReplaceAllString(raw, codeCommitWeb)
	if host, path, ok := cutSCP(raw); ok {
		return newRepoAddr("ssh", host, "", path)
	}
	if !strings.Contains(raw, "://") {
		host, _, _ := strings.Cut(raw, "/")
		if !strings.Contains(strings.Trim(host, "."), ".") {
			return nil, errors.New("the repository URL has no scheme and does not start with a host name")
		}
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil { // the error would repeat the URL
		return nil, errors.New("the repository URL does not parse")
	}
	scheme := strings.ToLower(u.Scheme)
	if defaultPorts[scheme] == "" || u.Opaque != "" {
		return nil, errors.New("the repository URL is neither https, http, ssh nor git")
	}
	return newRepoAddr(scheme, u.Hostname(), u.Port(), u.EscapedPath())
}

// In host:path a host of one letter is a drive, and a scheme is a mistyped URL.
var (
	scpHost   = regexp.MustCompile(`^(?:[^@/:\[\]]*@)?([^@/:\[\]]{2,}|\[[0-9A-Fa-f:.]+\]):(.*)$`)
	scpScheme = regexp.MustCompile(`(?i)^(https?|ssh|git|file|ext|ftps?|codecommit|javascript|data)$`)
)

// cutSCP recognises [user@]host:path. What looks like user:password@host is left to be
// refused as a URL: the password must not become part of a path.
func cutSCP(raw string) (host, path string, ok bool) {
	m := scpHost.FindStringSubmatch(raw)
	if m == nil || scpScheme.MatchString(m[1]) || strings.HasPrefix(m[2], "//") {
		return "", "", false
	}
	first, _, _ := strings.Cut(m[2], "/")
	if strings.Contains(first, "@") {
		return "", "", false
	}
	return strings.Trim(m[1], "[]"), m[2], true
}

func newRepoAddr(scheme, host, port, escaped string) (*repoAddr, error) {
	host, err := cleanHost(host)
	if err != nil {
		return nil, err
	}
	if port, err = cleanPort(scheme, port); err != nil {
		return nil, err
	}
	path, err := cleanPath(escaped)
	if err != nil {
		return nil, err
	}
	return &repoAddr{host: host, port: port, path: path, ssh: strings.HasSuffix(scheme, "ssh")}, nil
}

// hostLabels allows the underscore, which exists in private names and which IDNA refuses.
var hostLabels = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

func cleanHost(host string) (string, error) {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
		return addr.String(), nil
	}
	host = strings.TrimSuffix(host, ".")
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		ascii = strings.ToLower(host)
	}
	if len(ascii) > 253 || !hostLabels.MatchString(ascii) {
		return "", errors.New("the repository URL has no valid host name")
	}
	return ascii, nil
}

func cleanPort(scheme, port string) (string, error) {
	n, err := strconv.ParseUint(cmp.Or(port, defaultPorts[scheme]), 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("the repository URL has a port that is not from 1 to 65535")
	}
	if port = strconv.FormatUint(n, 10); port == defaultPorts[scheme] {
		return "", nil
	}
	return port, nil
}

func cleanPath(escaped string) ([]string, error) {
	path, err := url.PathUnescape(escaped)
	if err != nil || !printable(path) {
		return nil, errors.New("the repository URL has a broken percent-escape or hides a control character behind one")
	}
	path = strings.TrimSuffix(strings.TrimRight(path, "/"), ".git")
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "", ".":
		case "..":
			return nil, errors.New("the repository URL climbs out with .. in its path")
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return nil, errors.New("the repository URL names a server but no repository")
	}
	return parts, nil
}

// printable refuses what a terminal or a log could act on, and the backslash, which
// parsers of URLs read in different ways.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r == '\\' || !unicode.IsPrint(r) }) < 0
}

// sshAliases are hosts that accept SSH where a firewall lets only HTTPS through.
var sshAliases = map[string]string{
	"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "altssh.bitbucket.org": "bitbucket.org",
}

// forgeHost matches hosts of products that treat paths alike in any case: the public
// ones, and private ones named for what runs there.
var forgeHost = regexp.MustCompile(`^(github|gitlab|bitbucket|gitea|forgejo|gogs)|^codeberg\.org$|\.ghe\.com$|^dev\.azure\.com$`)

// wellKnown rewrites the addresses of products that have several for one repository.
func (r *repoAddr) wellKnown() {
	if to := sshAliases[r.host]; to != "" && r.ssh && (r.port == "" || r.port == "443") {
		r.host, r.port = to, ""
	}
	switch org, cloud := strings.CutSuffix(r.host, ".visualstudio.com"); {
	case r.port != "":
		r.bitbucket()
	case r.host == "ssh.dev.azure.com", r.host == "vs-ssh.visualstudio.com":
		if len(r.path) == 4 && r.path[0] == "v3" {
			r.azure(r.path[1], r.path[2:])
		}
	case r.host == "dev.azure.com" && len(r.path) > 1:
		r.azure(r.path[0], r.path[1:])
	case cloud:
		if len(r.path) > 1 && strings.EqualFold(r.path[0], "DefaultCollection") {
			r.path = r.path[1:]
		}
		r.azure(org, r.path)
	case codeCommitHost.MatchString(r.host) && len(r.path) == 3 && r.path[0] == "v1" && r.path[1] == "repos":
		r.path = []string{codeCommitHost.FindStringSubmatch(r.host)[1], r.path[2]}
		r.host = "codecommit"
	default:
		r.bitbucket()
	}
}

// azure takes project/_git/repo, _git/repo where both are named alike, and project/repo.
func (r *repoAddr) azure(org string, path []string) {
	switch {
	case len(path) == 3 && path[1] == "_git":
		path = []string{path[0], path[2]}
	case len(path) == 2 && path[0] == "_git":
		path = []string{path[1], path[1]}
	case len(path) != 2:
		return
	}
	r.host, r.path = "dev.azure.com", append([]string{org}, path...)
}

// bitbucket knows the web addresses of Bitbucket Data Center, below at most one part of
// context path: scm/<key>/<slug>, projects/<key>/repos/<slug>, users/<user>/repos/<slug>.
func (r *repoAddr) bitbucket() {
	switch {
	case r.ssh:
		r.fold = r.port == "7999" // Bitbucket's own
		return
	case forgeHost.MatchString(r.host) && (r.host == "bitbucket.org" || !strings.HasPrefix(r.host, "bitbucket")):
		return // another product, where scm and projects are names like any other
	}
	for i := range min(2, len(r.path)) {
		context, p := r.path[:i:i], r.path[i:]
		if len(p) == 5 && p[4] == "browse" {
			p = p[:4]
		}
		switch {
		case len(p) == 3 && p[0] == "scm":
			p = p[1:]
		case len(p) == 4 && p[0] == "projects" && p[2] == "repos":
			p = []string{p[1], p[3]}
		case len(p) == 4 && p[0] == "users" && p[2] == "repos":
			p = []string{"~" + p[1], p[3]}
		default:
			continue
		}
		r.path, r.fold = append(context, p...), true
		return
	}
}

// CodeCommit's own scheme is no URL; codeCommitWeb is what it stands for.
const codeCommitWeb = "https://git-codecommit.$1.amazonaws.com/v1/repos/$2"

var (
	codeCommitHost = regexp.MustCompile(`^git-codecommit(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$`)
	codeCommitURL  = regexp.MustCompile(`^codecommit::([a-z0-9-]+)://(?:[^/@]*@)?([\w.-]+)$`)
)
