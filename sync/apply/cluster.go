package apply

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/tradewind-dev/tradewind/sync/apply/internal/kinds"
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
	// Version of this program, for the server's audit log.
	Version string
}

// Options are what a Cluster reports to; all may be nil.
type Options struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Transport wraps every request, to count, trace or break them.
	Transport func(http.RoundTripper) http.RoundTripper
}

// Cluster is one target cluster.
type Cluster struct {
	log       *slog.Logger
	metrics   *metrics
	dynamic   dynamic.Interface // for what is ours: Applications, records, watches
	*identity                   // for what Applications are about

	accounts     *accounts
	kinds        *kinds.Kinds
	missing      *missing
	applications *applications
	trackers     *trackers
	definitions  *definitions
	live         *live

	version *knownVersion
}

// knownVersion is that of the API server, once it has been asked.
type knownVersion struct {
	mu      sync.Mutex
	version Version
}

const (
	callTimeout  = 5 * time.Second // of one request; watches have no bound
	readyTimeout = 2 * time.Second // a probe does not wait for long
)

// Connect makes the clients; it makes no request.
func Connect(cfg Config, opts Options) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = cfg.Kubeconfig
	restConfig, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: cfg.Context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's configuration: %w", err)
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{log: log.With("part", "apply"), metrics: newMetrics(opts.Registerer), missing: &missing{}, version: &knownVersion{}}
	restConfig.QPS = -1 // the server has priority and fairness; a second queue here only adds waiting
	restConfig.UserAgent = strings.TrimSuffix("tradewind/"+cfg.Version, "/")
	restConfig.WarningHandlerWithContext = warnings{c.log}
	if opts.Transport != nil {
		restConfig.Wrap(opts.Transport)
	}
	restConfig.Wrap(func(next http.RoundTripper) http.RoundTripper { return &transport{next: next, metrics: c.metrics} })
	if err := c.connect(restConfig); err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return c, nil
}

// connect gives all clients one connection.
func (c *Cluster) connect(restConfig *rest.Config) error {
	client, err := rest.HTTPClientFor(restConfig)
	if err != nil {
		return err
	}
	if c.identity, err = newIdentity(restConfig, client); err != nil {
		return err
	}
	c.dynamic, c.accounts = c.objects, newAccounts(restConfig)
	broke := func(err error) {
		c.log.Debug("watch broke", "resource", "customresourcedefinitions", "err", plain(err))
	}
	if c.kinds, err = kinds.New(restConfig, client, broke); err != nil {
		return err
	}
	if c.applications, err = newApplications(c); err != nil {
		return err
	}
	if c.trackers, err = newTrackers(c); err != nil {
		return err
	}
	if c.definitions, err = newDefinitions(c); err != nil {
		return err
	}
	c.live = newLive(c)
	return nil
}

// warnings are what the server says about deprecated kinds and fields.
type warnings struct{ log *slog.Logger }

func (w warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _ string, text string) {
	if code == 299 && text != "" {
		w.log.Debug("warning from the API server", "warning", shorten(text))
	}
}

// Run keeps the watches until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(c.log.Handler()))
	var running sync.WaitGroup
	c.live.start(ctx, &running)
	running.Go(func() {
		c.kinds.Run(ctx, func(ctx context.Context) {
			c.definitions.kindsChanged()
			c.wakeWaiting(ctx)
		})
	})
	running.Go(func() { c.definitions.run(ctx) })
	running.Go(func() { c.trackers.watch.Run(ctx) })
	running.Go(func() { c.applications.watch.Run(ctx) })
	<-ctx.Done()
	c.live.stop() // starts no more watches
	running.Wait()
	return nil
}

// WaitForSync returns when the Applications, inventories and definitions of the cluster
// are known.
func (c *Cluster) WaitForSync(ctx context.Context) error {
	for _, part := range []struct {
		what string
		wait func(context.Context) error
	}{{"Applications", c.applications.watch.Wait}, {"ResourceTrackers", c.trackers.watch.Wait}} {
		if err := part.wait(ctx); err != nil {
			return listError(part.what, err)
		}
	}
	// What was listed has been told, too.
	if err := told(ctx, func() bool { return c.applications.watch.Synced() && c.trackers.watch.Synced() }); err != nil {
		return listError("Applications", err)
	}
	return c.definitions.wait(ctx)
}

func listError(what string, err error) error {
	classified := classify(ObjectRef{Group: "core.oam.dev", Version: "v1beta1", Kind: what}, "listing", err)
	if e, ok := errors.AsType[*Error](classified); ok && statusCode(err) == http.StatusNotFound {
		e.Advice = "install the definitions first: kubectl apply --server-side -k deployments/crds"
	}
	return classified
}

// Version is the version of the API server.
type Version struct {
	Major, Minor         int
	GitVersion, Platform string
}

// Version asks the server once; "37+" counts as 37.
func (c *Cluster) Version() (Version, error) {
	c.version.mu.Lock()
	known := c.version.version
	c.version.mu.Unlock()
	if known.GitVersion != "" {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return c.askVersion(ctx)
}

// Ready says whether the API server answers.
func (c *Cluster) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	_, err := c.askVersion(ctx)
	return err
}

func (c *Cluster) askVersion(ctx context.Context) (Version, error) {
	info, err := c.kinds.ServerVersion(ctx)
	if err != nil {
		return Version{}, classify(ObjectRef{Kind: "version"}, "asking the API server for its", err)
	}
	number := func(s string) int {
		n, err := strconv.Atoi(strings.TrimRight(s, "+"))
		if err != nil {
			return 0
		}
		return n
	}
	v := Version{Major: number(info.Major), Minor: number(info.Minor), GitVersion: info.GitVersion, Platform: info.Platform}
	c.version.mu.Lock()
	defer c.version.mu.Unlock()
	c.version.version = v
	return v, nil
}

// SecretData reads a Secret, each time anew, so that a rotation is seen. Its values never
// appear in errors or logs.
func (c *Cluster) SecretData(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	secret, err := c.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).
		Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, classify(ObjectRef{Version: "v1", Kind: "Secret", Namespace: namespace, Name: name}, "reading", err)
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
