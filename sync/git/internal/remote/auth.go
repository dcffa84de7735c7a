package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
)

// Auth is one credential for one source. The zero Auth is anonymous. It prints as ***
// everywhere.
type Auth struct {
	Username, Password string // HTTPS; Password alone unlocks Identity
	BearerToken        string // HTTPS

	Identity   []byte // SSH private key, PEM
	KnownHosts []byte // SSH, required with Identity

	CA                    []byte // PEM, trusted in addition to the system's
	ClientCert, ClientKey []byte // PEM, HTTPS
}

// AuthError says what is wrong with a credential.
type AuthError struct{ Reason, Advice string }

func (e *AuthError) Error() string { return e.Reason }

// Hint is what to do next.
func (e *AuthError) Hint() string { return e.Advice }

// AuthNeeds tells users which keys a secret may hold.
const AuthNeeds = "needs keys username and password, or bearerToken, or identity and known_hosts"

// AuthFromSecret reads a credential from the data of a Kubernetes Secret.
func AuthFromSecret(data map[string][]byte) (Auth, error) {
	text := func(key string) string { return strings.TrimRight(string(data[key]), "\r\n") }
	a := Auth{
		Username: text("username"), Password: text("password"), BearerToken: text("bearerToken"),
		Identity: data["identity"], KnownHosts: data["known_hosts"],
		CA: data["ca.crt"], ClientCert: data["tls.crt"], ClientKey: data["tls.key"],
	}
	if len(a.CA) == 0 {
		a.CA = data["caFile"]
	}
	missing := func(key, because string) error {
		return &AuthError{fmt.Sprintf("key %s is missing (%s)", key, because), "the secret " + AuthNeeds}
	}
	switch {
	case len(a.Identity) > 0 && len(a.KnownHosts) == 0:
		return Auth{}, missing("known_hosts", "identity is there; the server's key is always verified")
	case len(a.Identity) == 0 && len(a.KnownHosts) > 0:
		return Auth{}, missing("identity", "known_hosts is there")
	case a.Username != "" && a.Password == "" && len(a.Identity) == 0:
		return Auth{}, missing("password", "username is there")
	case a.Username == "" && a.Password != "" && len(a.Identity) == 0:
		return Auth{}, missing("username", "password is there; most servers accept any name with a token")
	case (len(a.ClientCert) > 0) != (len(a.ClientKey) > 0):
		return Auth{}, missing("tls.crt or tls.key", "the other one is there")
	case a.empty() && len(data["githubAppID"]) > 0:
		return Auth{}, &AuthError{"GitHub App credentials are not supported", "the secret " + AuthNeeds}
	case a.empty():
		return Auth{}, &AuthError{"no usable key", "the secret " + AuthNeeds}
	}
	return a, nil
}

func (a Auth) empty() bool { return a.fingerprint() == (Auth{}).fingerprint() }

// ID tells credentials apart in caches; equal credentials have equal ids. It is derived
// from the secret: keep it in memory.
func (a Auth) ID() string {
	if a.empty() {
		return "anonymous"
	}
	return a.fingerprint()
}

func (a Auth) fingerprint() string {
	h := sha256.New()
	for _, part := range []string{a.Username, a.Password, a.BearerToken} {
		writePart(h, []byte(part))
	}
	for _, part := range [][]byte{a.Identity, a.KnownHosts, a.CA, a.ClientCert, a.ClientKey} {
		writePart(h, part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (a Auth) tlsID() string {
	h := sha256.New()
	for _, part := range [][]byte{a.CA, a.ClientCert, a.ClientKey} {
		writePart(h, part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func writePart(h hash.Hash, part []byte) {
	fmt.Fprintf(h, "%d:", len(part))
	h.Write(part)
}

const masked = "***"

// String and the methods below keep a credential out of logs, errors and encoders.
func (a Auth) String() string { return masked }

// Format covers every verb, %#v and %+v included.
func (a Auth) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, masked) }

// MarshalText covers JSON, YAML and slog.
func (a Auth) MarshalText() ([]byte, error) { return []byte(masked), nil }
