package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace/deletion"
	"k8s.io/kubernetes/pkg/controller/resourcequota"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/controller/volume/pvcprotection"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"
	tokens "k8s.io/kubernetes/pkg/serviceaccount"
)

// discoverEvery is short for a cluster, and right for a test that installs a CRD and
// deletes an owner a moment later.
const discoverEvery = 2 * time.Second

// accounts makes service accounts, what pods need to use them, and aggregated roles.
func (c *controllers) accounts(ctx context.Context) error {
	core, logger := c.informers.Core().V1(), klog.FromContext(ctx)
	accounts, err := serviceaccount.NewServiceAccountsController(logger, core.ServiceAccounts(), core.Namespaces(), c.client,
		serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return err
	}
	key, err := keyutil.PrivateKeyFromFile(c.layout.path("sa.key"))
	if err != nil {
		return err
	}
	generator, err := tokens.JWTTokenGenerator(tokens.LegacyIssuer, key)
	if err != nil {
		return fmt.Errorf("building the token generator: %w", err)
	}
	secrets, err := serviceaccount.NewTokensController(logger, core.ServiceAccounts(), core.Secrets(), c.client,
		serviceaccount.TokensControllerOptions{TokenGenerator: generator, RootCA: c.ca})
	if err != nil {
		return err
	}
	publisher, err := rootcacertpublisher.NewPublisher(core.ConfigMaps(), core.Namespaces(), c.client, c.ca)
	if err != nil {
		return err
	}
	roles := clusterroleaggregation.NewClusterRoleAggregation(c.informers.Rbac().V1().ClusterRoles(), c.client.RbacV1())
	c.run(ctx, accounts.Run, secrets.Run, publisher.Run, roles.Run)
	return nil
}

// remainsEvery is how soon a namespace that was not empty is emptied again.
const remainsEvery = 100 * time.Millisecond

// namespaces empties namespaces that are deleted, with the code of the namespace
// controller but not its pauses: that waits five seconds for other API servers to know,
// and then half the grace period of the pods, which here end at once.
func (c *controllers) namespaces(ctx context.Context) error {
	kinds := c.client.Discovery().ServerPreferredNamespacedResources
	deleter := deletion.NewNamespacedResourcesDeleter(ctx, c.client.CoreV1().Namespaces(), c.metadata, c.client.CoreV1(), kinds, corev1.FinalizerKubernetes)
	step := func(ctx context.Context, ns *corev1.Namespace, _ time.Duration) (time.Duration, error) {
		if ns.DeletionTimestamp == nil {
			return 0, nil
		}
		err := deleter.Delete(ctx, ns.Name)
		if _, ok := errors.AsType[*deletion.ResourcesRemainingError](err); ok {
			return remainsEvery, nil
		}
		return 0, err
	}
	spaces, err := newLoop("Namespace", c.informers.Core().V1().Namespaces().Informer(), step)
	if err != nil {
		return err
	}
	c.run(ctx, spaces.run)
	return nil
}

// claims frees claims that no pod uses: admission gives each a finalizer that would hold
// its namespace for ever.
func (c *controllers) claims(ctx context.Context) error {
	core := c.informers.Core().V1()
	claims, err := pvcprotection.NewPVCProtectionController(klog.FromContext(ctx), core.PersistentVolumeClaims(), core.Pods(), c.client)
	if err != nil {
		return err
	}
	c.run(ctx, claims.Run)
	return nil
}

func (c *controllers) collector(ctx context.Context) error {
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	ignored := map[schema.GroupResource]struct{}{
		{Group: "", Resource: "events"}: {}, {Group: "events.k8s.io", Resource: "events"}: {},
	}
	gc, err := garbagecollector.NewGarbageCollector(ctx, c.client, c.metadata, mapper, ignored, c.everything, alreadyStarted())
	if err != nil {
		return err
	}
	c.run(ctx, func(ctx context.Context, workers int) { gc.Run(ctx, workers, time.Second) })
	c.wg.Go(func() { gc.Sync(ctx, c.client.Discovery(), discoverEvery) })
	return nil
}

// quotas counts what quotas limit; without it admission refuses pods where there is one.
func (c *controllers) quotas(ctx context.Context) error {
	configuration, err := quotainstall.NewQuotaConfigurationForControllers(
		generic.ListerFuncForResourceFunc(c.informers.ForResource), c.informers)
	if err != nil {
		return err
	}
	quotas, err := resourcequota.NewController(ctx, &resourcequota.ControllerOptions{
		QuotaClient:               c.client.CoreV1(),
		ResourceQuotaInformer:     c.informers.Core().V1().ResourceQuotas(),
		ResyncPeriod:              controller.StaticResyncPeriodFunc(5 * time.Minute),
		ReplenishmentResyncPeriod: controller.NoResyncPeriodFunc,
		InformerFactory:           c.everything,
		DiscoveryFunc:             c.client.Discovery().ServerPreferredNamespacedResources,
		IgnoredResourcesFunc:      configuration.IgnoredResources,
		InformersStarted:          alreadyStarted(),
		Registry:                  generic.NewRegistry(configuration.Evaluators()),
		UpdateFilter:              quotainstall.DefaultUpdateFilter(),
	})
	if err != nil {
		return err
	}
	c.run(ctx, quotas.Run)
	return nil
}

// alreadyStarted lets a controller start the informers of kinds that it discovers as soon
// as it has discovered them; ours are started once, after all controllers are built.
func alreadyStarted() <-chan struct{} {
	started := make(chan struct{})
	close(started)
	return started
}
