package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"
)

// The kinds of failures: what a person has to look at.
const (
	kindFile     = "file"     // it is not what SOPS wrote
	kindKey      = "key"      // no identity opens it
	kindIdentity = "identity" // an identity is none
)

// failure is an error with its kind.
type failure struct{ kind, reason string }

func (f *failure) Error() string { return f.reason }

func kindOf(err error) string {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.kind
	}
	return kindFile
}

// store reads one format and writes it back in plain.
type store interface {
	sops.EncryptedFileLoader
	sops.PlainFileEmitter
}

// storeFor knows the formats that SOPS tells apart by extension; everything else is bytes
// in an envelope.
func storeFor(name string) store {
	stores := config.NewStoresConfig()
	switch path.Ext(name) {
	case ".yaml", ".yml":
		stores.YAML.Indent = 2
		return yaml.NewStore(&stores.YAML)
	case ".json":
		return json.NewStore(&stores.JSON)
	case ".env":
		return dotenv.NewStore(&stores.Dotenv)
	case ".ini":
		return ini.NewStore(&stores.INI)
	default:
		return json.NewBinaryStore(&stores.JSONBinary)
	}
}

// decrypt returns the plaintext of a file whose integrity was checked. Errors of SOPS that
// could quote the file are not passed on.
func decrypt(req request) ([]byte, error) {
	var identities age.ParsedIdentities
	for _, text := range req.Identities {
		// Identities of plugins would start programs.
		if !strings.HasPrefix(text, "AGE-SECRET-KEY-") || identities.Import(text) != nil {
			return nil, &failure{kindIdentity, "a key is no age identity"}
		}
	}
	if len(identities) == 0 { // SOPS would look for some in files and the environment
		return nil, &failure{kindIdentity, "no age identity was given"}
	}
	store := storeFor(req.Path)
	tree, err := store.LoadEncryptedFile(req.Data)
	if err != nil {
		return nil, &failure{kindFile, "its format or its sops block does not parse"}
	}
	services := []keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(&ageOnly{identities: identities})}
	key, err := tree.Metadata.GetDataKeyWithKeyServices(services, []string{age.KeyTypeIdentifier})
	if err != nil {
		return nil, &failure{kindKey, noKey(tree.Metadata.KeyGroups)}
	}
	cipher := aes.NewCipher()
	computed, err := tree.Decrypt(key, cipher)
	if err != nil {
		return nil, &failure{kindFile, "a value does not decrypt: it was changed after encryption"}
	}
	stored, err := cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, key, tree.Metadata.LastModified.Format(time.RFC3339))
	text, isText := stored.(string)
	if err != nil || !isText || subtle.ConstantTimeCompare([]byte(text), []byte(computed)) == 0 {
		return nil, &failure{kindFile, "its checksum (sops.mac) does not match: it was edited after encryption"}
	}
	plain, err := store.EmitPlainFile(tree.Branches)
	if err != nil {
		return nil, &failure{kindFile, "what was decrypted cannot be written in the file's format"}
	}
	return plain, nil
}

// noKey says for whom the file was encrypted; recipients are public.
func noKey(groups []sops.KeyGroup) string {
	var recipients []string
	for _, group := range groups {
		for _, key := range group {
			if k, ok := key.(*age.MasterKey); ok {
				recipients = append(recipients, k.Recipient)
			}
		}
	}
	switch len(recipients) {
	case 0:
		return "it was not encrypted for age, and no other kind of key is supported"
	case 1:
		return fmt.Sprintf("no key opens it: it was encrypted for %s", recipients[0])
	default:
		return fmt.Sprintf("no key opens it: it was encrypted for %s and %d more", recipients[0], len(recipients)-1)
	}
}

// ageOnly is a key service that has the given identities and nothing else.
type ageOnly struct {
	keyservice.UnimplementedKeyServiceServer

	identities age.ParsedIdentities
}

func (s *ageOnly) Decrypt(_ context.Context, req *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	wanted := req.GetKey().GetAgeKey()
	if wanted == nil {
		return nil, errors.New("only age keys are supported")
	}
	key := age.MasterKey{Recipient: wanted.GetRecipient(), EncryptedKey: string(req.GetCiphertext())}
	s.identities.ApplyToMasterKey(&key)
	plain, err := key.Decrypt()
	if err != nil {
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: plain}, nil
}
