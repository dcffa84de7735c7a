package handlers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// MinSecret is the shortest secret, in bytes, that is accepted.
const MinSecret = 16

// Secret is a shared secret. However it is printed or encoded, it says ***.
type Secret struct {
	// A function, because fmt follows anything else that is not exported.
	reveal func() (key []byte, expires time.Time)
}

// NewSecret takes the content of a file; one newline at its end is not part of it.
func NewSecret(content []byte) Secret {
	key := bytes.Clone(content)
	if cut, ok := bytes.CutSuffix(key, []byte("\n")); ok {
		key = bytes.TrimSuffix(cut, []byte("\r"))
	}
	return Secret{func() ([]byte, time.Time) { return key, time.Time{} }}
}

// Until is the secret, accepted until t: what one rotates away from.
func (s Secret) Until(t time.Time) Secret {
	key := s.key()
	return Secret{func() ([]byte, time.Time) { return key, t }}
}

func (s Secret) key() []byte {
	if s.reveal == nil {
		return nil
	}
	key, _ := s.reveal()
	return key
}

func (s Secret) expires() time.Time {
	if s.reveal == nil {
		return time.Time{}
	}
	_, expires := s.reveal()
	return expires
}

func (s Secret) live(now time.Time) bool {
	expires := s.expires()
	return expires.IsZero() || now.Before(expires)
}

// Validate refuses what a stranger could guess. Anybody can sign with an empty secret.
func (s Secret) Validate() error {
	switch n := len(s.key()); {
	case n == 0:
		return errors.New("the secret is empty: make one with openssl rand -hex 32 and enter it at the sender too")
	case len(bytes.TrimSpace(s.key())) == 0:
		return errors.New("the secret is blank: make one with openssl rand -hex 32 and enter it at the sender too")
	case n < MinSecret:
		return fmt.Errorf("the secret has %d bytes, at least %d are needed: make one with openssl rand -hex 32", n, MinSecret)
	}
	return nil
}

const hidden = "***"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return hidden }

// Format hides the secret from every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from JSON, YAML and XML.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
