package git

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// gpgSigner signs as "git -c gpg.format=openpgp" does: an armored detached signature.
type gpgSigner struct{ key *openpgp.Entity }

// The keys of a Secret with a GPG key, as Flux has them.
const (
	gpgKey        = "git.asc"
	gpgPassphrase = "passphrase"
)

var errGPG = errors.New(gpgKey + " is not an armored GPG private key that can sign, or " + gpgPassphrase + " does not unlock it")

// newGPGSigner reads an armored private key. No error quotes it.
func newGPGSigner(armored, passphrase []byte) (Signer, error) {
	keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err != nil || len(keys) != 1 || keys[0].PrivateKey == nil {
		return nil, errGPG
	}
	key := keys[0]
	if err := key.DecryptPrivateKeys(passphrase); err != nil {
		return nil, errGPG
	}
	signing, ok := key.SigningKey(time.Now())
	if !ok || signing.PrivateKey == nil || signing.PrivateKey.Encrypted || signing.PrivateKey.Dummy() {
		return nil, errGPG // expired, revoked, or only its public half
	}
	return gpgSigner{key}, nil
}

// Sign implements [Signer].
func (s gpgSigner) Sign(commit []byte) (string, error) {
	var out strings.Builder
	if err := openpgp.ArmoredDetachSign(&out, s.key, bytes.NewReader(commit), &packet.Config{}); err != nil {
		return "", err
	}
	return out.String() + "\n", nil
}
