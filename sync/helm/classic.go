package helm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxIndex bounds a repository's index; the largest public ones take about 20 MiB.
const maxIndex = 48 << 20

// id tells logins apart without showing them.
func (l Login) id() string {
	sum := sha256.Sum256([]byte(l.Username + "\x00" + l.Password + "\x00" + string(l.CA)))
	return hex.EncodeToString(sum[:8])
}

func (l Login) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(l.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(l.CA) {
			return nil, errors.New("ca.crt of the Secret holds no certificate")
		}
	}
	return config, nil
}

// classic is a repository of the old kind: an index.yaml and archives.
type classic struct {
	charts *Charts
	base   *url.URL
	login  Login
}

// index is what we read of an index.yaml.
// https://helm.sh/docs/topics/chart_repository/#the-index-file
type index struct {
	Entries map[string][]struct {
		Version string   `json:"version"`
		Digest  string   `json:"digest"`
		URLs    []string `json:"urls"`
	} `json:"entries"`
}

func (r *classic) list(ctx context.Context, chart string, old *listing) (*listing, error) {
	etag := ""
	if old != nil {
		etag = old.etag
	}
	data, next, err := r.get(ctx, r.base.JoinPath("index.yaml"), maxIndex, etag)
	if err != nil {
		return nil, fmt.Errorf("reading index.yaml: %w", err)
	}
	if data == nil {
		return old, nil
	}
	var parsed index
	unmarshal := func(b []byte, v any) error { return yaml.Unmarshal(b, v) }
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) { // JSON is YAML, and read much faster as what it is
		unmarshal = json.Unmarshal
	}
	if err := unmarshal(data, &parsed); err != nil {
		return nil, fmt.Errorf("reading index.yaml: %w", oneLine(err))
	}
	entries, ok := parsed.Entries[chart]
	if !ok {
		return nil, &Error{Err: fmt.Errorf("the repository has no such chart"), Advice: "is properties.chart spelt as in helm search repo?"}
	}
	l := &listing{digests: map[string]string{}, urls: map[string][]string{}, etag: next}
	for _, e := range entries {
		l.versions = append(l.versions, e.Version)
		l.urls[e.Version] = e.URLs
		if d := strings.TrimPrefix(e.Digest, "sha256:"); len(d) == 2*sha256.Size {
			l.digests[e.Version] = "sha256:" + d
		}
	}
	return l, nil
}

func (r *classic) pull(ctx context.Context, chart, version string, l *listing) ([]byte, error) {
	if len(l.urls[version]) == 0 {
		return nil, fmt.Errorf("the index gives no URL for %s", chart)
	}
	ref, err := url.Parse(l.urls[version][0])
	if err != nil {
		return nil, errors.New("the index gives a URL that is not one")
	}
	at := ref
	if !ref.IsAbs() {
		at = r.base.JoinPath("/").ResolveReference(ref)
		if !strings.HasPrefix(ref.Path, "/") {
			at = r.base.JoinPath(ref.Path)
		}
	}
	if _, err := r.charts.check(strings.TrimSuffix(at.Scheme+"://"+at.Host, "/")); err != nil {
		return nil, err
	}
	if r.base.Scheme == "https" && at.Scheme != "https" {
		return nil, errors.New("the index leads from https to another scheme")
	}
	data, _, err := r.get(ctx, at, maxArchive, "")
	return data, err
}

// get reads a URL; nothing and no error when it still has etag. The login goes to the
// repository's own origin only.
func (r *classic) get(ctx context.Context, at *url.URL, most int64, etag string) (data []byte, next string, err error) {
	rt, err := r.charts.transport(r.login)
	if err != nil {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("User-Agent", "tradewind")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	if r.login.Username != "" && sameOrigin(at, r.base) {
		req.SetBasicAuth(r.login.Username, r.login.Password)
	}
	client := &http.Client{Transport: rt, CheckRedirect: r.redirect}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", unwrapURL(err)
	}
	defer func() { _ = resp.Body.Close() }() // was read, or is of no interest
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		return nil, etag, nil
	case resp.StatusCode != http.StatusOK:
		return nil, "", statusError(resp.StatusCode)
	}
	data, err = io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("it takes more than %d MiB", most>>20)
	}
	return data, resp.Header.Get("ETag"), err
}

// redirect follows to where a repository keeps its archives, never to less than https
// and never with the login.
func (r *classic) redirect(req *http.Request, via []*http.Request) error {
	const most = 5
	switch {
	case len(via) > most:
		return errors.New("too many redirects")
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("it redirects from https to another scheme")
	}
	if _, err := r.charts.check(req.URL.Scheme + "://" + req.URL.Host); err != nil {
		return err
	}
	if !sameOrigin(req.URL, r.base) {
		req.Header.Del("Authorization")
	}
	return nil
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host) }

// unwrapURL drops the request line, which may hold a signed URL.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func statusError(code int) error {
	e := &Error{Err: fmt.Errorf("the server answered %d %s", code, http.StatusText(code))}
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Advice = "name a Secret with username and password in properties.secretRef"
	case http.StatusNotFound:
		e.Advice = "is properties.url the address of the repository, without index.yaml?"
	}
	return e
}
