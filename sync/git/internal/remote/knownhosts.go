package remote

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format of hashed host names
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// knownHosts is a known_hosts file in memory; x/crypto's own reader wants a file on disk.
// Certificate authorities are not supported: their lines vouch for nothing.
type knownHosts []knownHost

type knownHost struct {
	patterns []string
	key      ssh.PublicKey
	revoked  bool
}

// hostKeys are the keys a host may show, and those it must not.
type hostKeys []knownHost

func parseKnownHosts(data []byte) (knownHosts, error) {
	var hosts knownHosts
	for rest := data; len(rest) > 0; {
		marker, patterns, key, _, next, err := ssh.ParseKnownHosts(rest)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, &AuthError{"known_hosts does not parse", "put the output of ssh-keyscan under known_hosts, after checking it"}
		}
		rest = next
		if marker == "cert-authority" {
			continue
		}
		hosts = append(hosts, knownHost{patterns, key, marker == "revoked"})
	}
	return hosts, nil
}

// knownName is how known_hosts writes a host.
func knownName(host, port string) string {
	if port == defaultPorts["ssh"] {
		return host
	}
	return "[" + host + "]:" + port
}

func (k knownHosts) keys(host, port string) hostKeys {
	var keys hostKeys
	name := knownName(host, port)
	for _, line := range k {
		if line.matches(name) {
			keys = append(keys, line)
		}
	}
	if !slices.ContainsFunc(keys, func(k knownHost) bool { return !k.revoked }) {
		return nil
	}
	return keys
}

// matches follows sshd(8): hashed names, wildcards, and a negation that wins.
func (k knownHost) matches(name string) bool {
	found := false
	for _, pattern := range k.patterns {
		plain, negated := strings.CutPrefix(pattern, "!")
		if !matchHost(strings.ToLower(plain), name) && !matchHashed(pattern, name) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

func matchHost(pattern, name string) bool {
	if !strings.ContainsAny(pattern, "*?") {
		return pattern == name
	}
	// path.Match gives * and ? their meaning once brackets are escaped; names hold no /.
	ok, err := path.Match(strings.NewReplacer("[", `\[`, "]", `\]`).Replace(pattern), name)
	return ok && err == nil
}

// matchHashed reads |1|base64(salt)|base64(HMAC-SHA1(salt, name)).
func matchHashed(pattern, name string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "1" {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[2])
	want, err2 := base64.StdEncoding.DecodeString(parts[3])
	if err1 != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	_, _ = io.WriteString(mac, name)
	return hmac.Equal(mac.Sum(nil), want)
}

// verify is the ssh.HostKeyCallback.
func (k hostKeys) verify(name string, _ net.Addr, key ssh.PublicKey) error {
	known := false
	for _, line := range k {
		if bytes.Equal(line.key.Marshal(), key.Marshal()) {
			if line.revoked {
				return &AuthError{"the server shows a key that known_hosts revokes", "do not use this server before its keys are checked"}
			}
			known = true
		}
	}
	if !known {
		return &AuthError{fmt.Sprintf("the server shows a key (%s) that is not in known_hosts for %s", ssh.FingerprintSHA256(key), name),
			"check the server's key; if it was changed on purpose, put the new one into known_hosts"}
	}
	if bits := rsaBits(key); bits > 0 && bits < minRSABits {
		return &AuthError{fmt.Sprintf("the server's key is RSA with %d bits", bits), fmt.Sprintf("at least %d bits are needed", minRSABits)}
	}
	return nil
}

// algorithms makes the server show a key of a type we know, instead of another one that
// it prefers.
func (k hostKeys) algorithms() []string {
	var out []string
	safe := ssh.SupportedAlgorithms().HostKeys
	for _, line := range k {
		names := []string{line.key.Type()}
		if names[0] == ssh.KeyAlgoRSA {
			names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, n := range names {
			if !line.revoked && !slices.Contains(out, n) && slices.Contains(safe, n) {
				out = append(out, n)
			}
		}
	}
	return out
}
