package remote

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"

	"github.com/tradewind-dev/tradewind/sync/guard"
)

// maxTransports bounds how many sets of certificates keep their own connections.
const maxTransports = 256

// transport returns the connections that credentials with these certificates share. No
// proxy is taken from the environment.
func (d *Dialer) transport(a Auth) (*http.Transport, error) {
	id := a.tlsID()
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.transports[id]; t != nil {
		return t, nil
	}
	cfg, err := tlsConfig(a)
	if err != nil {
		return nil, err
	}
	if len(d.transports) >= maxTransports {
		for _, t := range d.transports {
			t.CloseIdleConnections()
		}
		clear(d.transports)
	}
	t := &http.Transport{
		DialContext:            d.guard.Dial,
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    guard.Timeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	d.transports[id] = t
	return t, nil
}

func tlsConfig(a Auth) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(a.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(a.CA) {
			return nil, &AuthError{"ca.crt holds no certificate", "put a PEM certificate under ca.crt"}
		}
		cfg.RootCAs = pool
	}
	if len(a.ClientCert) > 0 {
		pair, err := tls.X509KeyPair(a.ClientCert, a.ClientKey)
		if err != nil { // the error could quote the key
			return nil, &AuthError{"tls.crt and tls.key are not a certificate and its key", "put PEM under both"}
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
