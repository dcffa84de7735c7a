// Package world is everything outside of Tradewind that a story needs, real and on this
// machine: a Kubernetes cluster, a Git server that posts signed webhooks, an image
// registry that tells of pushed tags, a Helm chart repository, and Tradewind itself as a child process.
//
// In: a folder and what should be different from the usual. Out: addresses, and methods
// to look at the cluster, to push, to break things and to mend them. It promises that
// nothing listens outside of loopback, that every port is a free one, that a child that
// dies is reported with its last lines, and that nothing is left running after Stop. It
// refuses to fake: what cannot be real is not here.
package world

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world/forge"
	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/integration/world/oci"
	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

const stopLimit = time.Minute

// Options say what should be different from the usual world.
type Options struct {
	// Dir is the folder for data and logs. It must exist and is left in place.
	Dir string
	// Cluster is shared with other worlds, which must not look at the same namespaces;
	// nil starts one that ends with this world.
	Cluster *kube.Cluster
	// Binary is the tradewind program; bin/tradewind of this repository when empty.
	Binary string
	// PollOnly never posts a webhook.
	PollOnly bool
	// NoTradewind leaves it to the caller to start Tradewind.
	NoTradewind bool
	// Proxy puts a proxy that can misbehave between Tradewind and the API server.
	Proxy bool
	// Settings are laid over Tradewind's configuration, section by section.
	Settings map[string]map[string]any
	// Progress is told, in a few words, what is being started; nil tells nobody.
	Progress func(what string)
}

// World is a running world. Its fields do not change while it runs.
type World struct {
	Dir       string
	Cluster   *kube.Cluster
	Git       *forge.Server
	Proxy     *kube.Proxy // nil unless asked for
	Tradewind *Tradewind
	Images    *oci.Server
	Charts    string // http://host:port of the chart repository
	ChartsDir string // what the chart repository serves
	Store     string // http://host:port of the S3-compatible object store
	StoreDir  string // its buckets, a folder each

	pollOnly bool
	stops    []func(context.Context) error // in the order things were started
}

// Start starts everything, or stops what it started and says what went wrong.
func Start(ctx context.Context, o Options) (*World, error) {
	w := &World{Dir: o.Dir, pollOnly: o.PollOnly}
	for _, part := range []struct {
		what  string
		start func(context.Context, Options) error
	}{
		{"Kubernetes API server, controllers and simulated nodes", w.startCluster},
		{"Git server, OCI registry and chart repository", w.startServers},
		{"Tradewind", w.startTradewind},
	} {
		if o.Progress != nil {
			o.Progress(part.what)
		}
		if err := part.start(ctx, o); err != nil {
			return nil, errors.Join(fmt.Errorf("starting %s: %w", part.what, err), w.Stop(context.WithoutCancel(ctx)))
		}
	}
	return w, nil
}

func (w *World) startCluster(ctx context.Context, o Options) error {
	if w.Cluster = o.Cluster; w.Cluster != nil {
		return nil
	}
	cluster, err := kube.Start(ctx, filepath.Join(w.Dir, "cluster"))
	if err != nil {
		return err
	}
	w.Cluster = cluster
	w.stops = append(w.stops, cluster.Stop)
	return nil
}

func (w *World) startServers(ctx context.Context, _ Options) error {
	git, err := forge.Start(ctx, filepath.Join(w.Dir, "git"))
	if err != nil {
		return err
	}
	w.Git = git
	w.stops = append(w.stops, func(context.Context) error { return git.Stop() })
	if w.Images, err = oci.Start(ctx); err != nil {
		return err
	}
	w.stops = append(w.stops, func(context.Context) error { return w.Images.Stop() })
	w.ChartsDir = filepath.Join(w.Dir, "charts")
	charts, err := startCharts(ctx, w.ChartsDir)
	if err != nil {
		return err
	}
	w.Charts = charts.url
	w.stops = append(w.stops, func(context.Context) error { return charts.stop() })
	return w.startStore(ctx, filepath.Join(w.Dir, "buckets"))
}

func (w *World) startTradewind(ctx context.Context, o Options) error {
	kubeconfig := w.Cluster.Kubeconfig
	if o.Proxy {
		proxy, err := kube.NewProxy(w.Cluster, w.Dir)
		if err != nil {
			return err
		}
		w.Proxy, kubeconfig = proxy, proxy.Kubeconfig
		w.stops = append(w.stops, func(context.Context) error { proxy.Stop(); return nil })
	}
	binary := o.Binary
	if binary == "" {
		root, err := proc.Root()
		if err != nil {
			return err
		}
		binary = filepath.Join(root, "bin", "tradewind")
	}
	config := configFor(w.Dir, hostOf(w.Git.URL), hostOf(w.Charts), w.Images.Host, kubeconfig)
	if err := w.allowSources(config); err != nil {
		return err
	}
	for section, settings := range o.Settings {
		merged, _ := config[section].(map[string]any)
		if merged == nil {
			merged = map[string]any{}
		}
		maps.Copy(merged, settings)
		config[section] = merged
	}
	var err error
	if w.Tradewind, err = newTradewind(w.Dir, binary, config); err != nil {
		return err
	}
	w.stops = append(w.stops, w.stopTradewind)
	if o.NoTradewind {
		return nil
	}
	return w.StartTradewind(ctx)
}

func hostOf(url string) string { return strings.TrimPrefix(url, "http://") }

// StartTradewind starts Tradewind, again after a Kill or Stop, and points the webhooks
// at it.
func (w *World) StartTradewind(ctx context.Context) error {
	if err := w.Tradewind.Start(ctx); err != nil {
		return err
	}
	if !w.pollOnly {
		w.Git.Announce(w.Tradewind.Webhook())
		w.Images.Announce(w.Tradewind.ImageWebhook())
	}
	return nil
}

// stopTradewind does not mind one that the story stopped; one that crashed it reports.
func (w *World) stopTradewind(ctx context.Context) error {
	var err error
	if !w.Tradewind.ended {
		err = w.Tradewind.Stop(ctx)
	}
	return errors.Join(err, w.Tradewind.Log.Close())
}

// Stop ends everything in the reverse order and waits for it.
func (w *World) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	var errs []error
	for _, stop := range slices.Backward(w.stops) {
		errs = append(errs, stop(ctx))
	}
	w.stops = nil
	return errors.Join(errs...)
}
