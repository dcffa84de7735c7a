package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/cronjob"
	"k8s.io/kubernetes/pkg/controller/daemon"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/job"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/controller/statefulset"
)

const controllerWorkers = 5

// controllers shares what the controllers need of one another.
type controllers struct {
	config    *rest.Config
	client    *kubernetes.Clientset
	metadata  metadata.Interface
	informers informers.SharedInformerFactory
	wg        sync.WaitGroup
}

// runControllers runs the workload controllers of the controller-manager, as the
// controller-manager wires them, and the simulated nodes.
func runControllers(ctx context.Context, l layout) error {
	ca, err := os.ReadFile(l.path("certs/apiserver.crt"))
	if err != nil {
		return err
	}
	config := &rest.Config{
		Host: l.server(), BearerToken: l.Token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca}, UserAgent: "kube-controller-manager",
	}
	c := &controllers{config: config}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if c.metadata, err = metadata.NewForConfig(config); err != nil {
		return err
	}
	c.informers = informers.NewSharedInformerFactory(c.client, 0)
	for _, add := range []func(context.Context) error{
		c.workloads, c.jobs, c.namespaces, c.collector,
		func(ctx context.Context) error { return c.accounts(ctx, ca) },
		c.nodes,
	} {
		if err := add(ctx); err != nil {
			return fmt.Errorf("starting controllers: %w", err)
		}
	}
	c.informers.Start(ctx.Done())
	<-ctx.Done()
	return nil
}

func (c *controllers) run(fn func()) { c.wg.Go(fn) }

func (c *controllers) workloads(ctx context.Context) error {
	apps, core := c.informers.Apps().V1(), c.informers.Core().V1()
	deployments, err := deployment.NewDeploymentController(ctx, apps.Deployments(), apps.ReplicaSets(), core.Pods(), c.client)
	if err != nil {
		return err
	}
	daemons, err := daemon.NewDaemonSetsController(ctx, apps.DaemonSets(), apps.ControllerRevisions(), core.Pods(), core.Nodes(),
		c.client, flowcontrol.NewBackOff(time.Second, time.Minute))
	if err != nil {
		return err
	}
	replicas := replicaset.NewReplicaSetController(ctx, apps.ReplicaSets(), core.Pods(), c.client, replicaset.BurstReplicas)
	sets := statefulset.NewStatefulSetController(ctx, core.Pods(), apps.StatefulSets(), core.PersistentVolumeClaims(), apps.ControllerRevisions(), c.client)
	slices := endpointslice.NewController(ctx, core.Pods(), core.Services(), core.Nodes(), c.informers.Discovery().V1().EndpointSlices(), 100, c.client, 0)
	for _, run := range []func(context.Context, int){deployments.Run, daemons.Run, replicas.Run, sets.Run, slices.Run} {
		c.run(func() { run(ctx, controllerWorkers) })
	}
	return nil
}

func (c *controllers) jobs(ctx context.Context) error {
	batch := c.informers.Batch().V1()
	jobs, err := job.NewController(ctx, c.client, c.informers.Core().V1().Pods(), batch.Jobs(), nil, nil)
	if err != nil {
		return err
	}
	crons, err := cronjob.NewControllerV2(ctx, batch.Jobs(), batch.CronJobs(), c.client)
	if err != nil {
		return err
	}
	c.run(func() { jobs.Run(ctx, controllerWorkers) })
	c.run(func() { crons.Run(ctx, controllerWorkers) })
	return nil
}

func (c *controllers) namespaces(ctx context.Context) error {
	found := c.client.Discovery().ServerPreferredNamespacedResources
	nc := namespace.NewNamespaceController(ctx, c.client, c.metadata, found, c.informers.Core().V1().Namespaces(), time.Minute, corev1.FinalizerKubernetes)
	c.run(func() { nc.Run(ctx, controllerWorkers) })
	return nil
}

func (c *controllers) collector(ctx context.Context) error {
	cached := memory.NewMemCacheClient(c.client.Discovery())
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(cached)
	objects := metadatainformer.NewSharedInformerFactory(c.metadata, 0)
	started := make(chan struct{})
	close(started)
	gc, err := garbagecollector.NewGarbageCollector(ctx, c.client, c.metadata, mapper, map[schema.GroupResource]struct{}{
		{Group: "", Resource: "events"}: {}, {Group: "events.k8s.io", Resource: "events"}: {},
	}, informerfactory.NewInformerFactory(c.informers, objects), started)
	if err != nil {
		return err
	}
	c.run(func() { gc.Run(ctx, controllerWorkers, time.Second) })
	// A second is short for a cluster and right for a test that installs a CRD and
	// deletes owners a moment later.
	c.run(func() { gc.Sync(ctx, discovery.DiscoveryInterface(c.client.Discovery()), 2*time.Second) })
	return nil
}

func (c *controllers) accounts(ctx context.Context, ca []byte) error {
	core := c.informers.Core().V1()
	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(), core.Namespaces(), c.client,
		serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return err
	}
	publisher, err := rootcacertpublisher.NewPublisher(core.ConfigMaps(), core.Namespaces(), c.client, ca)
	if err != nil {
		return err
	}
	aggregation := clusterroleaggregation.NewClusterRoleAggregation(c.informers.Rbac().V1().ClusterRoles(), c.client.RbacV1())
	for _, run := range []func(context.Context, int){accounts.Run, publisher.Run, aggregation.Run} {
		c.run(func() { run(ctx, controllerWorkers) })
	}
	return nil
}
