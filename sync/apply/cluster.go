// Package apply makes a cluster agree with rendered objects: server-side apply of what
// differs, an inventory written before the first write, pruning only of what the
// inventory says is ours, and watches that tell when the cluster moved by itself.
//
// It is the only package that uses a Kubernetes client. What it promises: an object that
// is already so costs no request; a crash at any point leaves no object that nobody
// knows of; nothing is deleted because something could not be read.
package apply

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// FieldOwner is the field manager of every server-side apply.
const FieldOwner = "tradewind"

// Config says which cluster.
type Config struct {
	// Kubeconfig is a file; empty means KUBECONFIG and the usual places, and inside a pod
	// its service account.
	Kubeconfig string
	// Context of the kubeconfig; empty means its current one.
	Context string
}

// Options are what a Cluster reports to; both may be nil.
type Options struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Cluster is one target cluster.
type Cluster struct {
	log       *slog.Logger
	metrics   *metrics
	dynamic   dynamic.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.ResettableRESTMapper

	applications *applications
	trackers     *trackers
	live         *liveCache

	mapperMu sync.Mutex
	lastMiss time.Time // when discovery was last refreshed for a kind it did not know
}

// Connect makes the clients; it makes no request.
func Connect(cfg Config, opts Options) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = cfg.Kubeconfig
	restConfig, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: cfg.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's configuration: %w", err)
	}
	restConfig.QPS = -1 // the server has priority and fairness; a second queue here only adds waiting
	restConfig.UserAgent = "tradewind"
	restConfig.Timeout = 0 // watches have none; every call has a context
	restConfig.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(restConfig)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(restConfig)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	cached := memory.NewMemCacheClient(disco)
	c := &Cluster{
		log: opts.Logger.With("part", "apply"), metrics: newMetrics(opts.Registerer), dynamic: client,
		discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached),
	}
	c.applications = newApplications(c)
	c.trackers = newTrackers(c)
	c.live = newLiveCache(c)
	return c, nil
}

// Run keeps the watches until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	c.live.start(ctx)
	go c.trackers.informer.Run(ctx.Done())
	c.applications.informer.Run(ctx.Done())
	c.live.wait()
	return nil
}

// WaitForSync returns when the Applications and inventories of the cluster are known.
func (c *Cluster) WaitForSync(ctx context.Context) error {
	for !c.applications.synced() || !c.trackers.informer.HasSynced() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the cluster's Applications: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// Version is the version of the API server.
type Version struct {
	Major, Minor         int
	GitVersion, Platform string
}

// Version asks the server; "37+" counts as 37.
func (c *Cluster) Version() (Version, error) {
	info, err := c.discovery.ServerVersion()
	if err != nil {
		return Version{}, &Error{Retryable: true, Err: fmt.Errorf("asking the cluster for its version: %w", err)}
	}
	number := func(s string) int {
		n, _ := strconv.Atoi(strings.TrimRight(s, "+"))
		return n
	}
	return Version{Major: number(info.Major), Minor: number(info.Minor), GitVersion: info.GitVersion, Platform: info.Platform}, nil
}

// Ready says whether the API server answers.
func (c *Cluster) Ready(context.Context) error {
	_, err := c.Version()
	return err
}

// Namespaced says whether objects of a kind live in a namespace; known is false when the
// cluster has no such kind.
func (c *Cluster) Namespaced(gk schema.GroupKind) (namespaced, known bool) {
	mapping, err := c.mapper.RESTMapping(gk)
	if err != nil {
		return false, false
	}
	return mapping.Scope.Name() == meta.RESTScopeNameNamespace, true
}

// mappingFor finds the resource of a kind; a kind that is unknown may just have been
// installed, so discovery is refreshed, at most once in half a second.
func (c *Cluster) mappingFor(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err == nil || !meta.IsNoMatchError(err) {
		return mapping, err
	}
	c.mapperMu.Lock()
	if time.Since(c.lastMiss) > 500*time.Millisecond {
		c.lastMiss = time.Now()
		c.mapper.Reset()
	}
	c.mapperMu.Unlock()
	return c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
}

// resource is the client for objects of a kind in a namespace.
func (c *Cluster) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	mapping, err := c.mappingFor(gvk)
	if err != nil {
		return nil, err
	}
	client := c.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return client.Namespace(namespace), nil
	}
	return client, nil
}

// SecretData reads a Secret. Its values never appear in errors or logs.
func (c *Cluster) SecretData(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	secret, err := c.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).
		Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, classify(ObjectRef{Kind: "Secret", Namespace: namespace, Name: name}, "reading", err)
	}
	data, _ := secret.Object["data"].(map[string]any)
	out := make(map[string][]byte, len(data))
	for k, v := range data {
		encoded, _ := v.(string)
		if out[k], err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, fmt.Errorf("reading Secret %s/%s: key %s is not base64", namespace, name, k)
		}
	}
	return out, nil
}
