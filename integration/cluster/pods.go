package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// stepPod is scheduler and kubelet of one pod.
func (s *simulator) stepPod(ctx context.Context, pod *corev1.Pod, age time.Duration) (time.Duration, error) {
	switch {
	case pod.DeletionTimestamp != nil:
		return 0, s.removePod(ctx, pod)
	case pod.Spec.NodeName == "":
		return 0, s.bindPod(ctx, pod)
	}
	ip := pod.Status.PodIP
	if ip == "" {
		ip = s.address(podBlock)
	}
	var lacking *lack
	if !podReady(pod) { // a running container keeps its environment
		var err error
		if lacking, err = firstLack(ctx, needsOf(pod), s.find); err != nil {
			return 0, err
		}
	}
	want, again := statusOf(pod, lacking, ip, age, time.Now())
	if want == nil {
		return again, nil
	}
	updated := pod.DeepCopy()
	updated.Status = *want
	_, err := s.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	return again, err
}

// removePod ends the pod without grace: nothing runs that could want some. The UID keeps
// a pod of the same name that a StatefulSet has made meanwhile.
func (s *simulator) removePod(ctx context.Context, pod *corev1.Pod) error {
	err := s.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if apierrors.IsConflict(err) { // it is gone, and another one is there
		return nil
	}
	return err
}

func (s *simulator) bindPod(ctx context.Context, pod *corev1.Pod) error {
	if len(pod.Spec.SchedulingGates) > 0 {
		return nil
	}
	node := wantedNode(pod)
	if node == "" {
		node = s.nodes[int(s.nextNode.Add(1))%len(s.nodes)]
	}
	err := s.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
	if apierrors.IsConflict(err) { // it is bound, and the informer does not know yet
		return nil
	}
	return err
}

// wantedNode is the node that a pod's affinity names: so a DaemonSet asks for one pod on
// each. Other rules of placement are not looked at.
func wantedNode(pod *corev1.Pod) string {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil {
		return ""
	}
	required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil {
		return ""
	}
	for _, term := range required.NodeSelectorTerms {
		for _, field := range term.MatchFields {
			if field.Key == metav1.ObjectNameField && field.Operator == corev1.NodeSelectorOpIn && len(field.Values) == 1 {
				return field.Values[0]
			}
		}
	}
	return ""
}

// find looks for what a pod needs. The cache may be behind the pod that was created after
// its Secret, so only the API server can say that something is missing.
func (s *simulator) find(ctx context.Context, n need) (object, key bool, err error) {
	for _, get := range []func(context.Context, need) (map[string]bool, error){s.cachedKeys, s.liveKeys} {
		keys, getErr := get(ctx, n)
		if object, key = getErr == nil, keys[n.key]; object && (key || n.key == "") {
			return object, key, nil
		}
		if err = getErr; apierrors.IsNotFound(err) {
			err = nil
		}
	}
	return object, key, err
}

func (s *simulator) cachedKeys(_ context.Context, n need) (map[string]bool, error) {
	if n.kind == "Secret" {
		secret, err := s.secrets.Secrets(n.namespace).Get(n.name)
		return secretKeys(secret), err
	}
	config, err := s.configs.ConfigMaps(n.namespace).Get(n.name)
	return configKeys(config), err
}

func (s *simulator) liveKeys(ctx context.Context, n need) (map[string]bool, error) {
	if n.kind == "Secret" {
		secret, err := s.client.CoreV1().Secrets(n.namespace).Get(ctx, n.name, metav1.GetOptions{})
		return secretKeys(secret), err
	}
	config, err := s.client.CoreV1().ConfigMaps(n.namespace).Get(ctx, n.name, metav1.GetOptions{})
	return configKeys(config), err
}

// wakeWaiting has the pods of a namespace that wait looked at again when one of the
// objects that pods wait for appears or changes.
func wakeWaiting(pods *loop[*corev1.Pod], informers ...cache.SharedIndexInformer) error {
	wake := func(obj any) {
		found, err := pods.informer.GetIndexer().ByIndex(cache.NamespaceIndex, obj.(metav1.Object).GetNamespace())
		if err != nil {
			return // the index is always there
		}
		for _, pod := range found {
			if p := pod.(*corev1.Pod); p.Spec.NodeName != "" && !podReady(p) {
				pods.add(p)
			}
		}
	}
	for _, informer := range informers {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: wake, UpdateFunc: func(_, obj any) { wake(obj) },
		})
		if err != nil {
			return fmt.Errorf("following what pods need: %w", err)
		}
	}
	return nil
}
