package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// realms are the hosts that well-known registries send their clients to for a token.
var realms = map[string]string{dockerHub: "auth.docker.io", "registry.gitlab.com": "gitlab.com"}

// authorize answers a registry that asks who we are: with the Authorization header and
// how long it may be used.
func (c *Client) authorize(ctx context.Context, r *request, cred credential, challenges []string) (string, time.Duration, error) {
	const long = time.Hour
	if cred.bearer != "" {
		return "Bearer " + cred.bearer, long, nil
	}
	basic := false
	for _, text := range challenges {
		scheme, params := parseChallenge(text)
		switch scheme {
		case "bearer":
			return c.exchange(ctx, r, cred, params)
		case "basic":
			basic = true
		}
	}
	if basic && cred.username != "" {
		return basicAuth(cred), long, nil
	}
	err := r.wrong(Unauthorized, "", nil)
	err.Status = http.StatusUnauthorized
	return "", 0, err
}

func basicAuth(cred credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(cred.username+":"+cred.password))
}

// exchange gets a token for pulling the image. A realm on a host that is not the
// registry's gets no credential, unless the two are known to belong together.
func (c *Client) exchange(ctx context.Context, r *request, cred credential, params map[string]string) (string, time.Duration, error) {
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Host == "" || realm.User != nil || realm.Scheme != c.scheme(realm.Host) {
		return "", 0, r.wrong(Blocked, "its token realm is not an https URL", nil)
	}
	shown, withheld := cred, !cred.empty() && !c.trusts(r, realm.Host)
	if withheld {
		shown = credential{}
	}
	req, err := tokenRequest(ctx, realm, params["service"], "repository:"+r.image.Repo+":pull", shown)
	if err != nil {
		return "", 0, r.wrong(Malformed, "its token realm", err)
	}
	resp, err := c.strict.Do(req)
	if err != nil {
		return "", 0, r.failed(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		refused := c.refusal(r, resp, cred)
		if withheld && refused.Kind == Unauthorized {
			refused.Detail = "its token realm is on another host, which gets no credentials"
			refused.hint = "when " + realm.Host + " belongs to " + r.image.Host + ", list it under registry.tokenRealms"
		}
		return "", 0, refused
	}
	return readToken(r, resp.Body)
}

func (c *Client) trusts(r *request, host string) bool {
	return host == r.url.Host || host == realms[r.image.Host] || slices.Contains(c.cfg.TokenRealms[r.image.Host], host)
}

func tokenRequest(ctx context.Context, realm *url.URL, service, scope string, cred credential) (*http.Request, error) {
	if cred.identity != "" {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {cred.identity},
			"service": {service}, "scope": {scope}, "client_id": {"tradewind"},
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	query := realm.Query()
	query.Set("scope", scope)
	if service != "" {
		query.Set("service", service)
	}
	realm.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err == nil && cred.username != "" {
		req.Header.Set("Authorization", basicAuth(cred))
	}
	return req, err
}

func readToken(r *request, body io.Reader) (string, time.Duration, error) {
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(body, maxToken)).Decode(&answer); err != nil {
		return "", 0, r.wrong(Malformed, "its token", err)
	}
	token := answer.Token
	if token == "" {
		token = answer.AccessToken
	}
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", 0, r.wrong(Malformed, "its token", nil)
	}
	// The specification's default is 60 s; a token about to end is not worth keeping.
	life := time.Duration(min(max(answer.ExpiresIn, 60), 3600))*time.Second - 10*time.Second
	return "Bearer " + token, life, nil
}

// parseChallenge reads one WWW-Authenticate header; the scheme is in lower case.
func parseChallenge(text string) (scheme string, params map[string]string) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	params = map[string]string{}
	for rest != "" {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		name = strings.ToLower(strings.Trim(name, " \t,"))
		var value string
		if quoted, isQuoted := strings.CutPrefix(after, `"`); isQuoted {
			value, rest, _ = strings.Cut(quoted, `"`)
		} else {
			value, rest, _ = strings.Cut(after, ",")
		}
		params[name] = strings.TrimSpace(value)
	}
	return strings.ToLower(scheme), params
}

// identity is who asks for what; tokens are kept by it.
type identity struct {
	image string
	cred  [sha256.Size]byte
}

// tokens keeps Authorization headers while they last, so that a question costs one request.
type tokens struct {
	mu   sync.Mutex // guards kept
	kept map[identity]token
}

type token struct {
	header string
	until  time.Time
}

func (t *tokens) get(who identity) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.kept[who]; ok && time.Now().Before(k.until) {
		return k.header
	}
	return ""
}

func (t *tokens) put(who identity, header string, life time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil || len(t.kept) >= maxRemembered {
		t.kept = map[identity]token{}
	}
	t.kept[who] = token{header, time.Now().Add(life)}
}
