package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// simulator stands in for scheduler, nodes, volumes and load balancers: it binds every
// pod, says what its containers would do, binds claims and hands out addresses.
type simulator struct {
	client *kubernetes.Clientset
	pods   cache.SharedIndexInformer
	queue  workqueue.TypedRateLimitingInterface[string]
	nextIP atomic.Uint32
}

const nodeName = "node-0"

// missingRetry is how soon a pod that waits for a Secret or ConfigMap looks again.
const missingRetry = 300 * time.Millisecond

func (c *controllers) nodes(ctx context.Context) error {
	core := c.informers.Core().V1()
	s := &simulator{
		client: c.client,
		pods:   core.Pods().Informer(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 5*time.Second)),
	}
	if err := s.createNode(ctx); err != nil {
		return err
	}
	enqueue := func(obj any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
			s.queue.Add(key)
		}
	}
	if _, err := s.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, obj any) { enqueue(obj) },
	}); err != nil {
		return err
	}
	if err := s.serveAddresses(ctx, c.informers); err != nil {
		return err
	}
	for range controllerWorkers {
		c.run(func() { s.work(ctx) })
	}
	c.run(func() { <-ctx.Done(); s.queue.ShutDown() })
	return nil
}

func (s *simulator) createNode(ctx context.Context) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{"kubernetes.io/hostname": nodeName, "kubernetes.io/os": "linux"}},
		Status: corev1.NodeStatus{
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Simulated"}},
			Capacity:    corev1.ResourceList{},
			Allocatable: corev1.ResourceList{},
		},
	}
	_, err := s.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (s *simulator) work(ctx context.Context) {
	for {
		key, quit := s.queue.Get()
		if quit {
			return
		}
		again, err := s.step(ctx, key)
		switch {
		case err != nil:
			s.queue.AddRateLimited(key)
		case again > 0:
			s.queue.Forget(key)
			s.queue.AddAfter(key, again)
		default:
			s.queue.Forget(key)
		}
		s.queue.Done(key)
	}
}

// step moves one pod one step towards where it should be, and says when to look again.
func (s *simulator) step(ctx context.Context, key string) (time.Duration, error) {
	obj, exists, err := s.pods.GetIndexer().GetByKey(key)
	if err != nil || !exists {
		return 0, err
	}
	pod := obj.(*corev1.Pod)
	pods := s.client.CoreV1().Pods(pod.Namespace)
	if pod.DeletionTimestamp != nil {
		now := int64(0)
		return 0, ignoreGone(pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	}
	if pod.Spec.NodeName == "" {
		return 0, ignoreGone(pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
		}, metav1.CreateOptions{}))
	}
	missing, err := s.missing(ctx, pod)
	if err != nil {
		return 0, err
	}
	ip := pod.Status.PodIP
	if ip == "" {
		ip = s.address(244)
	}
	want, again := statusOf(pod, missing, ip, time.Now())
	if want == nil {
		return again, nil
	}
	updated := pod.DeepCopy()
	updated.Status = *want
	_, err = pods.UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) { // the informer is behind; its next event brings us back
		return 50 * time.Millisecond, nil
	}
	return again, ignoreGone(err)
}

// missing names the first Secret or ConfigMap that a container's environment needs and
// that is not there, as a kubelet would.
func (s *simulator) missing(ctx context.Context, pod *corev1.Pod) (string, error) {
	if pod.Status.Phase == corev1.PodRunning && podReady(pod) {
		return "", nil // a running container keeps its environment
	}
	for _, container := range pod.Spec.Containers {
		for _, env := range container.Env {
			if env.ValueFrom == nil {
				continue
			}
			if ref := env.ValueFrom.SecretKeyRef; ref != nil && (ref.Optional == nil || !*ref.Optional) {
				secret, err := s.client.CoreV1().Secrets(pod.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
				if apierrors.IsNotFound(err) || err == nil && secret.Data[ref.Key] == nil {
					return fmt.Sprintf("secret %q has no key %q", ref.Name, ref.Key), nil
				}
				if err != nil {
					return "", err
				}
			}
			if ref := env.ValueFrom.ConfigMapKeyRef; ref != nil && (ref.Optional == nil || !*ref.Optional) {
				config, err := s.client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
				if apierrors.IsNotFound(err) {
					return fmt.Sprintf("configmap %q not found", ref.Name), nil
				}
				if err != nil {
					return "", err
				}
				if _, ok := config.Data[ref.Key]; !ok {
					return fmt.Sprintf("configmap %q has no key %q", ref.Name, ref.Key), nil
				}
			}
		}
	}
	return "", nil
}

func (s *simulator) address(block int) string {
	n := s.nextIP.Add(1)
	return fmt.Sprintf("10.%d.%d.%d", block, n/250%250, n%250+1)
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
