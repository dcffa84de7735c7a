package remote

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Endpoint is a repository address that passed Parse: lower-case scheme and ASCII host,
// explicit port, no credentials.
type Endpoint struct {
	Scheme string // https, ssh or http
	User   string // ssh only
	Host   string // name or address, IPv6 without brackets
	Port   string
	Path   string // starts with /; percent-encoded for http(s), plain for ssh

	// Relative is set for host:path without a slash, which an SSH server reads from the
	// home directory of its user.
	Relative bool
}

// URLError says why a URL is refused. It never repeats the URL: a refused one may hold a
// credential.
type URLError struct{ Reason, Advice string }

func (e *URLError) Error() string { return e.Reason }

// Hint is what to do next.
func (e *URLError) Hint() string { return e.Advice }

var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22"}

// String is the address for people: no user, no default port.
func (e Endpoint) String() string {
	host := net.JoinHostPort(e.Host, e.Port)
	if e.Port == defaultPorts[e.Scheme] {
		host = strings.TrimSuffix(host, ":"+e.Port)
	}
	path := e.Path
	if e.Scheme == "ssh" {
		path = (&url.URL{Path: path}).EscapedPath()
	}
	return e.Scheme + "://" + host + path
}

// Key tells repositories apart in caches.
func (e Endpoint) Key() string {
	if e.Relative {
		return e.User + "@~" + e.String()
	}
	return e.User + "@" + e.String()
}

// sshPath is the argument of the command on the server, as git passes it.
func (e Endpoint) sshPath() string {
	if e.Relative || strings.HasPrefix(e.Path, "/~") {
		return e.Path[1:]
	}
	return e.Path
}

const maxURL = 2048

var (
	// scpLike is [user@]host:path; a path that begins with // is a URL.
	scpLike   = regexp.MustCompile(`^(?:([^@/:\\]+)@)?([^@/:\\]{2,}):([^/\\].*|/[^/].*)$`)
	userName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)
	hostName  = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$`)
	schemeURL = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:(//|:)`)
	// schemeName is what a mistyped URL (https:/host) would make an scp-like host.
	schemeName = regexp.MustCompile(`(?i)^(https?|ssh|git|file|ext|ftps?)$`)
)

func parseURL(raw string) (Endpoint, error) {
	switch {
	case raw == "":
		return Endpoint{}, &URLError{"the URL is empty", "write https://host/path or ssh://git@host/path"}
	case len(raw) > maxURL:
		return Endpoint{}, &URLError{fmt.Sprintf("the URL is longer than %d bytes", maxURL), ""}
	case !utf8.ValidString(raw):
		return Endpoint{}, &URLError{"the URL is not UTF-8", ""}
	case hasControlOrSpace(raw):
		return Endpoint{}, &URLError{"the URL holds a space or control character", "write %20 for a space"}
	}
	if !schemeURL.MatchString(raw) {
		if m := scpLike.FindStringSubmatch(raw); m != nil && !schemeName.MatchString(m[2]) {
			ep, err := newEndpoint("ssh", m[1], m[2], "", "/"+strings.TrimPrefix(m[3], "/"))
			ep.Relative = !strings.HasPrefix(m[3], "/")
			return ep, err
		}
	}
	u, err := url.Parse(raw)
	if err != nil { // the error would repeat the URL
		return Endpoint{}, &URLError{"the URL does not parse", "write https://host/path or ssh://git@host/path"}
	}
	scheme := strings.ToLower(u.Scheme)
	if defaultPorts[scheme] == "" || u.Opaque != "" || u.Host == "" {
		return Endpoint{}, &URLError{"the URL is neither https nor ssh", "write https://host/path or ssh://git@host/path"}
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return Endpoint{}, &URLError{"the URL has a query or fragment", "write the clone URL alone; branch and path have fields of their own"}
	}
	user, err := userOf(u)
	if err != nil {
		return Endpoint{}, err
	}
	ep, err := newEndpoint(scheme, user, u.Hostname(), u.Port(), u.Path)
	if err == nil && scheme != "ssh" {
		ep.Path = strings.TrimRight(u.EscapedPath(), "/")
	}
	return ep, err
}

func userOf(u *url.URL) (string, error) {
	if u.User == nil {
		return "", nil
	}
	_, password := u.User.Password()
	if password || strings.ToLower(u.Scheme) != "ssh" {
		return "", &URLError{"the URL holds credentials", "put them into a secret and name it in secretRef"}
	}
	return u.User.Username(), nil
}

// newEndpoint checks the parts of an address; path is decoded.
func newEndpoint(scheme, user, host, port, path string) (Endpoint, error) {
	if scheme == "ssh" && user == "" {
		user = "git"
	}
	if user != "" && !userName.MatchString(user) {
		return Endpoint{}, &URLError{"the user name in the URL is not acceptable", "use letters, digits, dot, dash and underscore"}
	}
	host, err := cleanHost(host)
	if err != nil {
		return Endpoint{}, err
	}
	if port == "" {
		port = defaultPorts[scheme]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Endpoint{}, &URLError{"the port in the URL is not a number from 1 to 65535", ""}
	}
	if err := checkPath(path); err != nil {
		return Endpoint{}, err
	}
	return Endpoint{
		Scheme: scheme, User: user, Host: host, Port: strconv.FormatUint(n, 10),
		Path: strings.TrimRight(path, "/"),
	}, nil
}

func cleanHost(host string) (string, error) {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
		return addr.String(), nil
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil { // Lookup refuses underscores, which exist in private names
		ascii = strings.ToLower(strings.TrimSuffix(host, "."))
	}
	if !hostName.MatchString(ascii) {
		return "", &URLError{"the host in the URL is not a host name", ""}
	}
	return ascii, nil
}

func checkPath(path string) error {
	trimmed := strings.Trim(path, "/")
	if trimmed == "" {
		return &URLError{"the URL names a server but no repository", "add the path of the repository"}
	}
	if hasControl(path) || strings.Contains(path, `\`) {
		return &URLError{"the path in the URL holds a control character or backslash", ""}
	}
	for part := range strings.SplitSeq(trimmed, "/") {
		if part == ".." || part == "." || strings.HasPrefix(part, "-") {
			return &URLError{"the path in the URL has a part that is . or .. or starts with -", ""}
		}
	}
	return nil
}

func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0
}

func hasControlOrSpace(s string) bool { return hasControl(s) || strings.ContainsAny(s, " \u00a0") }
