package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/component-base/version"
)

// simulator stands in for scheduler, nodes, volumes and load balancers: it binds every
// pod, says what its containers would do, binds claims and hands out addresses.
type simulator struct {
	client  *kubernetes.Clientset
	nodes   []string
	secrets corelisters.SecretLister
	configs corelisters.ConfigMapLister

	nextNode atomic.Uint32
	nextIP   atomic.Uint32
}

// Annotations choose how a pod, load balancer, Ingress or claim behaves.
const (
	annotationSlow  = "sim.tradewind.dev/slow"  // a duration: ready, bound or addressed only after it
	annotationFail  = "sim.tradewind.dev/fail"  // never; for a pod, with this waiting reason
	annotationCrash = "sim.tradewind.dev/crash" // "true": a pod that starts and dies, again and again
)

func (c *controllers) simulator(ctx context.Context) error {
	core := c.informers.Core().V1()
	s := &simulator{client: c.client, secrets: core.Secrets().Lister(), configs: core.ConfigMaps().Lister()}
	for i := range c.layout.Nodes {
		name := fmt.Sprintf("node-%d", i)
		if err := s.createNode(ctx, name); err != nil {
			return fmt.Errorf("creating %s: %w", name, err)
		}
		s.nodes = append(s.nodes, name)
	}
	pods, err := newLoop("Pod", core.Pods().Informer(), s.stepPod)
	if err != nil {
		return err
	}
	services, err := newLoop("Service", core.Services().Informer(), s.stepService)
	if err != nil {
		return err
	}
	ingresses, err := newLoop("Ingress", c.informers.Networking().V1().Ingresses().Informer(), s.stepIngress)
	if err != nil {
		return err
	}
	claims, err := newLoop("PersistentVolumeClaim", core.PersistentVolumeClaims().Informer(), s.stepClaim)
	if err != nil {
		return err
	}
	if err := wakeWaiting(pods, core.Secrets().Informer(), core.ConfigMaps().Informer()); err != nil {
		return err
	}
	c.run(ctx, pods.run, services.run, ingresses.run, claims.run)
	return nil
}

// createNode makes a node that is Ready and has room for everything.
func (s *simulator) createNode(ctx context.Context, name string) error {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1000"), corev1.ResourceMemory: resource.MustParse("4Ti"),
		corev1.ResourcePods: resource.MustParse("100k"), corev1.ResourceEphemeralStorage: resource.MustParse("100Ti"),
	}
	now := metav1.Now()
	_, err := s.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: hostIP}, {Type: corev1.NodeHostName, Address: name}},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Simulated", Message: "no kubelet runs here",
				LastHeartbeatTime: now, LastTransitionTime: now,
			}},
			NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64", KubeletVersion: version.Get().GitVersion},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	// Admission taints every new node as not ready; in a cluster the node lifecycle
	// controller takes that back, and DaemonSets wait for it.
	_, err = s.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
	return err
}

// address is from 10.<block>.0.0/16; it comes round again after 62500 of them.
func (s *simulator) address(block int) string {
	n := s.nextIP.Add(1)
	return fmt.Sprintf("10.%d.%d.%d", block, n/250%250, n%250+1)
}

// delayed says whether an object is to wait, and for how long (zero: for ever).
func delayed(obj metav1.Object, age, atLeast time.Duration) (wait bool, left time.Duration) {
	annotations := obj.GetAnnotations()
	if annotations[annotationFail] != "" {
		return true, 0
	}
	if slow, err := time.ParseDuration(annotations[annotationSlow]); err == nil {
		atLeast = slow
	}
	return age < atLeast, max(0, atLeast-age)
}
