package registry

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Keychain holds the credentials of one Secret. The zero Keychain is anonymous.
type Keychain struct {
	entries map[string]credential // by canonical host, or host/path
}

// credential is one way to say who we are; at most one of its forms is used.
type credential struct {
	username, password string
	identity           string // a refresh token, to be exchanged at the realm
	bearer             string // a token that the registry takes as it is
}

func (c credential) empty() bool { return c == credential{} }

// fingerprint tells credentials apart in caches without keeping them there.
func (c credential) fingerprint() [sha256.Size]byte {
	return sha256.Sum256([]byte(c.username + "\x00" + c.password + "\x00" + c.identity + "\x00" + c.bearer))
}

// errDockerConfig repeats nothing of the Secret.
var errDockerConfig = errors.New("the registry Secret is not a Docker configuration")

// SecretError is a Secret that holds no usable credentials.
type SecretError struct{ Err error }

func (e *SecretError) Error() string { return e.Err.Error() }
func (e *SecretError) Unwrap() error { return e.Err }

// Hint is how to make such a Secret.
func (e *SecretError) Hint() string {
	return "make it with: kubectl create secret docker-registry <name> --docker-server=<host> --docker-username=<user> --docker-password=<token>"
}

// ParseDockerConfig reads the value of .dockerconfigjson of a Secret of type
// kubernetes.io/dockerconfigjson.
func ParseDockerConfig(data []byte) (Keychain, error) {
	var config struct {
		Auths map[string]struct {
			Username      string `json:"username"`
			Password      string `json:"password"`
			Auth          string `json:"auth"`
			IdentityToken string `json:"identitytoken"`
			RegistryToken string `json:"registrytoken"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(data, &config); err != nil || len(config.Auths) == 0 {
		return Keychain{}, &SecretError{errDockerConfig}
	}
	keys := Keychain{entries: make(map[string]credential, len(config.Auths))}
	for server, a := range config.Auths {
		cred := credential{username: a.Username, password: a.Password, identity: a.IdentityToken, bearer: a.RegistryToken}
		if cred.username == "" && a.Auth != "" {
			raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(a.Auth))
			user, password, ok := strings.Cut(string(raw), ":")
			if err != nil || !ok {
				return Keychain{}, &SecretError{fmt.Errorf("%w: auth of %q is not base64 of user:password", errDockerConfig, serverKey(server))}
			}
			cred.username, cred.password = user, strings.TrimRight(password, "\x00")
		}
		if !cred.empty() {
			keys.entries[serverKey(server)] = cred
		}
	}
	return keys, nil
}

// serverKey turns what people write as a server (a host, a URL of the API) into what
// images are called by.
func serverKey(server string) string {
	if _, rest, ok := strings.Cut(server, "://"); ok {
		server = rest
	}
	host, path, _ := strings.Cut(strings.Trim(server, "/"), "/")
	host = strings.ToLower(host)
	if host == "" {
		return ""
	}
	if dockerHubNames[host] {
		host = dockerHub
	}
	if path == "" || path == "v1" || path == "v2" {
		return host
	}
	return host + "/" + path
}

// of is the credential for an image: that of the longest path that leads to it, then that
// of its host. No other host's is ever taken.
func (k Keychain) of(image Image) credential {
	for name := image.Key(); ; {
		if cred, ok := k.entries[name]; ok {
			return cred
		}
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			return credential{}
		}
		name = name[:cut]
	}
}
