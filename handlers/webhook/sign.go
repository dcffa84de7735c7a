package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"strings"
)

// What Verify can say against a post. To the outside both are the same.
var (
	ErrUnsigned  = errors.New("the post is not signed")
	ErrSignature = errors.New("the signature does not fit")
)

func newHash(algorithm string) func() hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New
	case "sha512":
		return sha512.New
	}
	return nil // among them SHA-1, whatever a sender offers
}

// checkMAC verifies a header of the form <algorithm>=<hex>. The algorithm is one of those
// the receiver allows; the header cannot choose another.
func checkMAC(value string, body Body, secret []byte, algorithms []string) error {
	if value == "" {
		return ErrUnsigned
	}
	algorithm, digits, _ := strings.Cut(value, "=")
	sum := newHash(algorithm)
	got, err := hex.DecodeString(digits)
	if err != nil || sum == nil || !slices.Contains(algorithms, algorithm) || len(secret) == 0 {
		return ErrSignature
	}
	if !hmac.Equal(got, mac(sum, secret, body)) {
		return ErrSignature
	}
	return nil
}

func mac(sum func() hash.Hash, secret []byte, body Body) []byte {
	m := hmac.New(sum, secret)
	for _, piece := range body {
		m.Write(piece)
	}
	return m.Sum(nil)
}

// SignGitHub returns the X-Hub-Signature-256 that GitHub sends with the body.
func SignGitHub(secret, body []byte) string {
	return "sha256=" + hex.EncodeToString(mac(sha256.New, secret, Body{body}))
}

// SignGeneric returns the X-Signature of the generic sender; the algorithm is sha256 or
// sha512.
func SignGeneric(algorithm string, secret, body []byte) (string, error) {
	sum := newHash(algorithm)
	if sum == nil {
		return "", errors.New("the algorithm is neither sha256 nor sha512")
	}
	return algorithm + "=" + hex.EncodeToString(mac(sum, secret, Body{body})), nil
}
