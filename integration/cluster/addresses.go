package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// serveAddresses does what a cloud does: an address for every load balancer and Ingress,
// a volume for every claim.
func (s *simulator) serveAddresses(ctx context.Context, factory informers.SharedInformerFactory) error {
	handlers := map[cache.SharedIndexInformer]func(context.Context, any) error{
		factory.Core().V1().Services().Informer():               s.exposeService,
		factory.Networking().V1().Ingresses().Informer():        s.exposeIngress,
		factory.Core().V1().PersistentVolumeClaims().Informer(): s.bindClaim,
	}
	for informer, handle := range handlers {
		act := func(obj any) {
			if err := ignoreGone(handle(ctx, obj)); err != nil && ctx.Err() == nil {
				klog.ErrorS(err, "simulating")
			}
		}
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: act, UpdateFunc: func(_, obj any) { act(obj) },
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *simulator) exposeService(ctx context.Context, obj any) error {
	svc := obj.(*corev1.Service)
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer || len(svc.Status.LoadBalancer.Ingress) > 0 {
		return nil
	}
	svc = svc.DeepCopy()
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: s.address(255)}}
	_, err := s.client.CoreV1().Services(svc.Namespace).UpdateStatus(ctx, svc, metav1.UpdateOptions{})
	return err
}

func (s *simulator) exposeIngress(ctx context.Context, obj any) error {
	ing := obj.(*networkingv1.Ingress)
	if len(ing.Status.LoadBalancer.Ingress) > 0 {
		return nil
	}
	ing = ing.DeepCopy()
	ing.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: s.address(255)}}
	_, err := s.client.NetworkingV1().Ingresses(ing.Namespace).UpdateStatus(ctx, ing, metav1.UpdateOptions{})
	return err
}

func (s *simulator) bindClaim(ctx context.Context, obj any) error {
	claim := obj.(*corev1.PersistentVolumeClaim)
	if claim.Status.Phase == corev1.ClaimBound || claim.DeletionTimestamp != nil {
		return nil
	}
	claim = claim.DeepCopy()
	claim.Status.Phase = corev1.ClaimBound
	claim.Status.AccessModes = claim.Spec.AccessModes
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	claim.Status.Capacity = map[corev1.ResourceName]resource.Quantity{corev1.ResourceStorage: size}
	_, err := s.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	return err
}
