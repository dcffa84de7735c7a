package kube

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// Follow calls changed for every change of the kinds in all namespaces from now on, one
// call at a time per kind, until ctx ends. Before is nil for a new object, after for a
// deleted one.
func (c *Cluster) Follow(ctx context.Context, kinds []string, changed func(before, after *unstructured.Unstructured)) error {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(c.client, 0)
	for _, kind := range kinds {
		mapping, err := c.mapping(kind)
		if err != nil {
			return err
		}
		_, err = factory.ForResource(mapping.Resource).Informer().AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(obj any, initial bool) {
				if o, ok := obj.(*unstructured.Unstructured); ok && !initial {
					changed(nil, o)
				}
			},
			UpdateFunc: func(before, after any) {
				changed(before.(*unstructured.Unstructured), after.(*unstructured.Unstructured))
			},
			DeleteFunc: func(obj any) {
				if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
					obj = last.Obj
				}
				if o, ok := obj.(*unstructured.Unstructured); ok {
					changed(o, nil)
				}
			},
		})
		if err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced && ctx.Err() == nil {
			return errors.New("watching " + kind.Resource + " did not start")
		}
	}
	<-ctx.Done()
	factory.Shutdown()
	return nil
}
