package bump

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/sync/forge"
	"github.com/tradewind-dev/tradewind/sync/git"
)

// dockerConfig is the key of a Secret of type kubernetes.io/dockerconfigjson.
const dockerConfig = ".dockerconfigjson"

// secretTrust is how late a rotated credential may be noticed.
const secretTrust = 30 * time.Second

// secrets reads credentials and keeps them for a short while, so that fifty images cost
// one read. What cannot be read is asked for again each time.
type secrets struct {
	cluster Cluster
	now     func() time.Time

	mu    sync.Mutex
	known map[string]known
}

type known struct {
	data map[string][]byte
	at   time.Time
}

func newSecrets(c Cluster) *secrets {
	return &secrets{cluster: c, now: time.Now, known: map[string]known{}}
}

// data is the content of a Secret by its namespace/name.
func (s *secrets) data(ctx context.Context, name string) (map[string][]byte, error) {
	s.mu.Lock()
	have, ok := s.known[name]
	s.mu.Unlock()
	if ok && s.now().Sub(have.at) < secretTrust {
		return have.data, nil
	}
	namespace, short, _ := strings.Cut(name, "/")
	data, err := s.cluster.SecretData(ctx, namespace, short)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.known, name)
		return nil, fmt.Errorf("secret %s: %w", name, err)
	}
	s.known[name] = known{data, s.now()}
	return data, nil
}

// source is the repository with the credential that may write to it.
func (s *secrets) source(ctx context.Context, p *policy) (git.Source, error) {
	out := git.Source{URL: p.src.URL, Secret: p.secret(p.src.SecretName)}
	if out.Secret == "" {
		return out, nil
	}
	data, err := s.data(ctx, out.Secret)
	if err != nil {
		return out, err
	}
	if out.Auth, err = git.AuthFromSecret(data); err != nil {
		return out, fmt.Errorf("secret %s: %w", out.Secret, err)
	}
	return out, nil
}

// forge is the repository with the token for its forge, empty when there is none.
func (s *secrets) forge(ctx context.Context, p *policy) (forge.Repo, error) {
	out := forge.Repo{URL: p.src.URL}
	name := p.secret(cmp.Or(p.auto.TokenSecret, p.src.SecretName))
	if name == "" {
		return out, nil
	}
	data, err := s.data(ctx, name)
	out.Token = forge.TokenFromSecret(data)
	return out, err
}

// keychain is the credential for the registry.
func (s *secrets) keychain(ctx context.Context, p *policy) (registry.Keychain, error) {
	name := p.secret(p.auto.Secret)
	if name == "" {
		return registry.Keychain{}, nil
	}
	data, err := s.data(ctx, name)
	if err != nil {
		return registry.Keychain{}, err
	}
	keys, err := registry.ParseDockerConfig(data[dockerConfig])
	if err != nil {
		return registry.Keychain{}, fmt.Errorf("secret %s: %w", name, err)
	}
	return keys, nil
}

// signer is the key that commits are signed with; nil when none is named.
func (s *secrets) signer(ctx context.Context, name string) (git.Signer, error) {
	if name == "" {
		return nil, nil
	}
	data, err := s.data(ctx, name)
	if err != nil {
		return nil, err
	}
	signer, err := git.SignerFromSecret(data)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, err)
	}
	return signer, nil
}
