package git

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// sshSigner signs as "git -c gpg.format=ssh" does: an SSHSIG of the namespace git.
// https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig
type sshSigner struct{ key ssh.Signer }

// SignerFromSecret reads the key that signs commits from the data of a Kubernetes Secret:
// an SSH private key under identity, which password unlocks, or a GPG private key under
// git.asc, which passphrase unlocks.
func SignerFromSecret(data map[string][]byte) (Signer, error) {
	identity := data["identity"]
	switch {
	case len(data[gpgKey]) > 0 && len(identity) > 0:
		return nil, errors.New("it has both identity and " + gpgKey + ": leave out one")
	case len(data[gpgKey]) > 0:
		return newGPGSigner(data[gpgKey], data[gpgPassphrase])
	case len(identity) == 0:
		return nil, errors.New("it has neither the key identity, an SSH private key that signs commits, nor " + gpgKey + ", a GPG private key")
	}
	key, err := ssh.ParsePrivateKey(identity)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		key, err = ssh.ParsePrivateKeyWithPassphrase(identity, data["password"])
	}
	if err != nil { // the error could quote the key
		return nil, errors.New("identity is not an SSH private key, or password does not unlock it")
	}
	return sshSigner{key}, nil
}

const (
	sshsigMagic = "SSHSIG"
	sshsigName  = "git"
	sshsigHash  = "sha512"
)

// Sign implements [Signer].
func (s sshSigner) Sign(commit []byte) (string, error) {
	sum := sha512.Sum512(commit)
	toSign := append([]byte(sshsigMagic), ssh.Marshal(struct {
		Namespace, Reserved, Algorithm string
		Hash                           []byte
	}{sshsigName, "", sshsigHash, sum[:]})...)
	signature, err := s.sign(toSign)
	if err != nil {
		return "", err
	}
	blob := append([]byte(sshsigMagic), ssh.Marshal(struct {
		Version                        uint32
		Key                            []byte
		Namespace, Reserved, Algorithm string
		Signature                      []byte
	}{1, s.key.PublicKey().Marshal(), sshsigName, "", sshsigHash, ssh.Marshal(signature)})...)
	return armor(blob), nil
}

// sign keeps RSA keys from signing with SHA-1.
func (s sshSigner) sign(data []byte) (*ssh.Signature, error) {
	if s.key.PublicKey().Type() != ssh.KeyAlgoRSA {
		return s.key.Sign(rand.Reader, data)
	}
	rsa, ok := s.key.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("the RSA key cannot sign with SHA-512")
	}
	return rsa.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512)
}

func armor(blob []byte) string {
	const width = 70
	var out strings.Builder
	out.WriteString("-----BEGIN SSH SIGNATURE-----\n")
	for text := base64.StdEncoding.EncodeToString(blob); text != ""; {
		n := min(width, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	out.WriteString("-----END SSH SIGNATURE-----\n")
	return out.String()
}
