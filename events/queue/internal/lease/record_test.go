package lease

import (
	"errors"
	"testing"
)

// FuzzDecode: no bytes on the streams make a reader panic, a newer version is told from
// nonsense, and a claim that is accepted names whose it is.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"key":"app/a/b","session":"s","nonce":"n","attempt":1,"trigger":{"key":"app/a/b","cause":"poll"}}`,
		`{"v":1,"key":"app/a/b","nonce":"n"}`, `{"v":2,"anything":true}`, `{"v":1,"id":"s","dead":true}`, `null`, `{"v":1,"attempt":-1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := decodeClaim(data)
		if err == nil && rec.Session != "" && rec.Trigger.Key != rec.Key {
			t.Error("a claim whose key cannot be handed back")
		}
		if err == nil && rec.V > version || errors.Is(err, errNewer) && rec.V <= version {
			t.Errorf("version %d: %v", rec.V, err)
		}
		if s, err := decodeSession(data); err == nil && s.ID == "" {
			t.Error("a session without an id")
		}
	})
}
