package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	balancerBlock = 255 // load balancers and Ingresses: 10.255.0.0/16
	podBlock      = 244
	// addressDelay is long enough to see that there is no address yet.
	addressDelay = 200 * time.Millisecond
)

func (s *simulator) stepService(ctx context.Context, svc *corev1.Service, age time.Duration) (time.Duration, error) {
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer || len(svc.Status.LoadBalancer.Ingress) > 0 {
		return 0, nil
	}
	if wait, left := delayed(svc, age, addressDelay); wait {
		return left, nil
	}
	svc = svc.DeepCopy()
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: s.address(balancerBlock)}}
	_, err := s.client.CoreV1().Services(svc.Namespace).UpdateStatus(ctx, svc, metav1.UpdateOptions{})
	return 0, err
}

func (s *simulator) stepIngress(ctx context.Context, ing *networkingv1.Ingress, age time.Duration) (time.Duration, error) {
	if len(ing.Status.LoadBalancer.Ingress) > 0 {
		return 0, nil
	}
	if wait, left := delayed(ing, age, addressDelay); wait {
		return left, nil
	}
	ing = ing.DeepCopy()
	ing.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: s.address(balancerBlock)}}
	_, err := s.client.NetworkingV1().Ingresses(ing.Namespace).UpdateStatus(ctx, ing, metav1.UpdateOptions{})
	return 0, err
}

// stepClaim says Bound without a volume: nobody looks behind a claim here.
func (s *simulator) stepClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim, age time.Duration) (time.Duration, error) {
	if claim.Status.Phase == corev1.ClaimBound || claim.DeletionTimestamp != nil {
		return 0, nil
	}
	if wait, left := delayed(claim, age, 0); wait {
		return left, nil
	}
	claim = claim.DeepCopy()
	claim.Status.Phase = corev1.ClaimBound
	claim.Status.AccessModes = claim.Spec.AccessModes
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: size}
	_, err := s.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	return 0, err
}
