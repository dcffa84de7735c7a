package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/kubernetes/pkg/controller/cronjob"
	"k8s.io/kubernetes/pkg/controller/daemon"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/endpoint"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/job"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/statefulset"
	"k8s.io/kubernetes/pkg/controller/ttlafterfinished"
)

const controllerWorkers = 5

// controllers shares what the controllers need of one another.
type controllers struct {
	layout    layout
	ca        []byte
	client    *kubernetes.Clientset
	metadata  metadata.Interface
	informers informers.SharedInformerFactory
	// everything also has informers for kinds that have no Go type here, such as those
	// of CRDs.
	everything informerfactory.InformerFactory
	wg         sync.WaitGroup
}

// runControllers runs controllers of the controller-manager, as the controller-manager
// wires them, and the simulator. Naming them one by one rather than running the whole
// program saves building and running those that no test needs.
func runControllers(ctx context.Context, l layout) error {
	c, err := newControllers(l)
	if err != nil {
		return fmt.Errorf("building clients: %w", err)
	}
	if err := awaitAPI(ctx, c.client); err != nil {
		return err
	}
	for _, add := range []func(context.Context) error{
		c.accounts, c.workloads, c.jobs, c.namespaces, c.claims, c.collector, c.quotas, c.simulator,
	} {
		if err := add(ctx); err != nil {
			return fmt.Errorf("starting controllers: %w", err)
		}
	}
	c.informers.Start(ctx.Done())
	<-ctx.Done()
	return nil
}

func newControllers(l layout) (*controllers, error) {
	config, err := l.restConfig("kube-controller-manager")
	if err != nil {
		return nil, err
	}
	c := &controllers{layout: l}
	if c.ca, err = os.ReadFile(l.path("ca.crt")); err != nil {
		return nil, err
	}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if c.metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, err
	}
	c.informers = informers.NewSharedInformerFactory(c.client, 0)
	c.everything = informerfactory.NewInformerFactory(c.informers, metadatainformer.NewSharedInformerFactory(c.metadata, 0))
	return c, nil
}

// run starts controllers that are built. They wait for their informers themselves.
func (c *controllers) run(ctx context.Context, loops ...func(context.Context, int)) {
	for _, loop := range loops {
		c.wg.Go(func() { loop(ctx, controllerWorkers) })
	}
}

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
	sets := statefulset.NewStatefulSetController(ctx, core.Pods(), apps.StatefulSets(), core.PersistentVolumeClaims(),
		apps.ControllerRevisions(), c.client)
	slices := endpointslice.NewController(ctx, core.Pods(), core.Services(), core.Nodes(),
		c.informers.Discovery().V1().EndpointSlices(), 100, c.client, 0)
	endpoints := endpoint.NewEndpointController(ctx, core.Pods(), core.Services(), core.Endpoints(), c.client, 0)
	c.run(ctx, deployments.Run, daemons.Run, replicas.Run, sets.Run, slices.Run, endpoints.Run)
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
	c.run(ctx, jobs.Run, crons.Run, ttlafterfinished.New(ctx, batch.Jobs(), c.client).Run)
	return nil
}
