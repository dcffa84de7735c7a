package apply

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// identity is the clients that speak as somebody.
type identity struct {
	objects dynamic.Interface
	raw     *raw
}

func newIdentity(config *rest.Config, client *http.Client) (*identity, error) {
	objects, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, err
	}
	plain, err := newRaw(config, client)
	return &identity{objects, plain}, err
}

// accounts keeps the clients of the service accounts that were acted as. They share the
// connections of all others.
type accounts struct {
	config *rest.Config

	mu    sync.Mutex
	known map[string]*identity
}

func newAccounts(config *rest.Config) *accounts {
	return &accounts{config: config, known: map[string]*identity{}}
}

// maxAccounts bounds what is kept; an identity is made in microseconds.
const maxAccounts = 1000

func (a *accounts) of(user string) (*identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.known[user]; ok {
		return known, nil
	}
	config := rest.CopyConfig(a.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	made, err := newIdentity(config, client)
	if err != nil {
		return nil, err
	}
	if len(a.known) >= maxAccounts {
		clear(a.known)
	}
	a.known[user] = made
	return made, nil
}

// As returns the cluster for an Application that is delivered as a service account of its
// namespace: every object is read, written and deleted as that account. What is
// Tradewind's own stays Tradewind's: Applications, their records and inventories, and the
// watches, which all share.
func (c *Cluster) As(namespace, account string) (*Cluster, error) {
	if wrong := validation.IsDNS1123Subdomain(account); len(wrong) > 0 {
		return nil, &Error{Reason: ReasonFailedApply, Err: fmt.Errorf("service account %q: %s", account, strings.Join(wrong, "; "))}
	}
	made, err := c.accounts.of("system:serviceaccount:" + namespace + ":" + account)
	if err != nil {
		return nil, fmt.Errorf("acting as service account %s/%s: %w", namespace, account, err)
	}
	as := *c
	as.identity = made
	return &as, nil
}

var accountResource = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}

// HasAccount is nil when a service account exists. One that does not would still be let in
// by the API server, with whatever its groups or a forgotten binding allow.
func (c *Cluster) HasAccount(ctx context.Context, namespace, account string) error {
	ref := ObjectRef{Version: "v1", Kind: "ServiceAccount", Namespace: namespace, Name: account}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := c.dynamic.Resource(accountResource).Namespace(namespace).Get(ctx, account, getOptions)
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return &Error{Reason: ReasonFailedApply, Ref: ref, Err: fmt.Errorf("service account %s/%s does not exist", namespace, account),
			Advice: "create it, or name another in the annotation of the Application"}
	}
	return classify(ref, "reading", err)
}
