// Package kube is a real Kubernetes cluster for one test, and what a test does with it:
// apply, read by path, wait by watch, count requests, break it. In: a folder and the
// binary of integration/cluster. Out: a [Cluster], and a [Proxy] in front of it that can
// misbehave. It promises that waits have deadlines and say what they saw last. It refuses
// to guess: a path that cannot be parsed is an error, not an empty value.
package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

const clusterStart = 2 * time.Minute

// Cluster is a real API server with its controllers and simulated nodes: the binary of
// integration/cluster as a child process, with Tradewind's CRDs installed.
type Cluster struct {
	Kubeconfig string

	process *proc.Process
	log     *proc.Log
	pids    map[string]int
	rest    *rest.Config
	client  dynamic.Interface
	disco   discovery.CachedDiscoveryInterface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	spaces  atomic.Int64
}

// Start starts a cluster whose data and logs are below dir.
func Start(ctx context.Context, dir string) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterStart)
	defer cancel()
	binary, err := clusterBinary()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c := &Cluster{Kubeconfig: filepath.Join(dir, "kubeconfig")}
	if c.log, err = proc.NewLog(filepath.Join(dir, "cluster.log")); err != nil {
		return nil, err
	}
	if err := c.run(ctx, binary, filepath.Join(dir, "data")); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, fmt.Errorf("preparing the cluster: %w (stopping it: %w)", err, c.Stop(ctx))
	}
	return c, nil
}

// clusterBinary is where integration/build puts it, unless TRADEWIND_CLUSTER says else.
func clusterBinary() (string, error) {
	path := os.Getenv("TRADEWIND_CLUSTER")
	if path == "" {
		root, err := proc.Root()
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, "bin", "cluster")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no cluster binary: %w; build it once with: make cluster", err)
	}
	return path, nil
}

func (c *Cluster) run(ctx context.Context, binary, data string) error {
	// It outlives ctx, which is only about getting started.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "start", "--dir", data, "--kubeconfig", c.Kubeconfig)
	var err error
	if c.process, err = proc.Start("cluster", c.log, cmd); err != nil {
		return err
	}
	ctx, release := c.process.WhileRunning(ctx)
	defer release()
	var ready struct {
		Ready bool           `json:"ready"`
		PIDs  map[string]int `json:"pids"`
	}
	_, _, err = c.log.Await(ctx, 0, func(line string) bool {
		return json.Unmarshal([]byte(line), &ready) == nil && ready.Ready
	})
	if err != nil {
		c.process.Kill()
		return fmt.Errorf("waiting for the cluster: %w", err)
	}
	c.pids = ready.PIDs
	return nil
}

func (c *Cluster) prepare(ctx context.Context) error {
	var err error
	if c.rest, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		return err
	}
	c.rest.QPS = -1 // the API server limits well enough
	if c.client, err = dynamic.NewForConfig(c.rest); err != nil {
		return err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(c.rest)
	if err != nil {
		return err
	}
	c.disco = memory.NewMemCacheClient(disco)
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(c.disco)
	return c.installCRDs(ctx)
}

func (c *Cluster) installCRDs(ctx context.Context) error {
	root, err := proc.Root()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(root, "deployments", "crds", "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no CRDs in %s", filepath.Join(root, "deployments", "crds"))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		applied, err := c.Apply(ctx, data, "")
		if err != nil {
			return fmt.Errorf("applying %s: %w", file, err)
		}
		for _, o := range applied {
			established := Want{Path: "status.conditions[type=Established].status", Match: Exactly("True")}
			if err := c.Await(ctx, o, established); err != nil {
				return err
			}
		}
	}
	return nil
}

// PID is the process of a part of the cluster, to be measured: "apiserver", "etcd" or
// "controllers"; 0 when there is none of that name.
func (c *Cluster) PID(part string) int { return c.pids[part] }

// NewNamespace makes a namespace that no other world on this cluster uses.
func (c *Cluster) NewNamespace(ctx context.Context) (string, error) {
	name := fmt.Sprintf("world-%d", c.spaces.Add(1))
	ns := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	resource, err := c.resource(Object{Kind: "Namespace"})
	if err != nil {
		return "", err
	}
	if _, err := resource.Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("creating namespace %s: %w", name, err)
	}
	// Pods cannot be created before the account they run as.
	account := Object{Kind: "ServiceAccount", Namespace: name, Name: "default"}
	return name, c.Await(ctx, account, Want{})
}

// mapping finds the kind that a user means by any of its names.
func (c *Cluster) mapping(kind string) (*meta.RESTMapping, error) {
	expander := restmapper.NewShortcutExpander(c.mapper, c.disco, nil)
	resource := schema.ParseGroupResource(strings.ToLower(kind)).WithVersion("")
	gvk, err := expander.KindFor(resource)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset() // a CRD may have been installed since
		gvk, err = expander.KindFor(resource)
	}
	if err != nil {
		return nil, err
	}
	return c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
}

// Pause freezes the API server as a stuck machine would: connections stay open and
// nothing answers. Resume ends it.
func (c *Cluster) Pause() error { return c.signal(syscall.SIGSTOP) }

// Resume ends what Pause began.
func (c *Cluster) Resume() error { return c.signal(syscall.SIGCONT) }

func (c *Cluster) signal(sig syscall.Signal) error {
	pid, ok := c.pids["apiserver"]
	if !ok || !c.process.Running() {
		return fmt.Errorf("no running API server to signal (%v)", c.pids)
	}
	return syscall.Kill(pid, sig)
}

// Stop ends the cluster and everything in it.
func (c *Cluster) Stop(ctx context.Context) error {
	if c.process.Running() {
		_ = c.Resume() // a frozen one could not end
	}
	err := c.process.Stop(ctx)
	if closeErr := c.log.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Curl is a command line that asks the API server without kubectl.
func (c *Cluster) Curl(method, path string) string {
	return fmt.Sprintf("curl -sk -o /dev/null -X %s -H 'Authorization: Bearer %s' %s%s", method, c.rest.BearerToken, c.rest.Host, path)
}
