package main

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotations on a pod that choose how it behaves.
const (
	annotationSlow  = "sim.tradewind.dev/slow"  // a duration: ready only after it
	annotationFail  = "sim.tradewind.dev/fail"  // a waiting reason: never ready
	annotationCrash = "sim.tradewind.dev/crash" // "true": starts and dies, again and again
)

// statusOf is what the pod's status should become now (nil: it is right already) and
// when to look again (zero: only when something changes).
func statusOf(pod *corev1.Pod, missing, ip string, now time.Time) (*corev1.PodStatus, time.Duration) {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil, 0
	}
	switch {
	case missing != "":
		return waiting(pod, "CreateContainerConfigError", missing, 0, ip), missingRetry
	case pod.Annotations[annotationFail] != "":
		return waiting(pod, pod.Annotations[annotationFail], "chosen by annotation", 0, ip), 0
	case pod.Annotations[annotationCrash] == "true":
		return waiting(pod, "CrashLoopBackOff", "back-off restarting failed container", 3, ip), 0
	}
	if slow, err := time.ParseDuration(pod.Annotations[annotationSlow]); err == nil {
		if left := pod.CreationTimestamp.Add(slow).Sub(now); left > 0 {
			return waiting(pod, "ContainerCreating", "slow by annotation", 0, ip), left
		}
	}
	if pod.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		return succeeded(pod, ip, now), 0
	}
	if podReady(pod) {
		return nil, 0
	}
	return running(pod, ip, now), 0
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func running(pod *corev1.Pod, ip string, now time.Time) *corev1.PodStatus {
	status := base(pod, corev1.PodRunning, corev1.ConditionTrue, ip)
	for i := range status.ContainerStatuses {
		c := &status.ContainerStatuses[i]
		c.Ready, c.Started = true, new(true)
		c.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}
	}
	return status
}

func succeeded(pod *corev1.Pod, ip string, now time.Time) *corev1.PodStatus {
	status := base(pod, corev1.PodSucceeded, corev1.ConditionFalse, ip)
	for i := range status.ContainerStatuses {
		status.ContainerStatuses[i].State.Terminated = &corev1.ContainerStateTerminated{
			Reason: "Completed", StartedAt: metav1.NewTime(now), FinishedAt: metav1.NewTime(now),
		}
	}
	return status
}

// waiting returns nil when the pod says so already: writing it again would wake everyone
// who watches pods.
func waiting(pod *corev1.Pod, reason, message string, restarts int32, ip string) *corev1.PodStatus {
	if cs := pod.Status.ContainerStatuses; len(cs) > 0 && cs[0].State.Waiting != nil && cs[0].State.Waiting.Reason == reason {
		return nil
	}
	status := base(pod, corev1.PodPending, corev1.ConditionFalse, ip)
	for i := range status.ContainerStatuses {
		c := &status.ContainerStatuses[i]
		c.RestartCount = restarts
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
	}
	return status
}

func base(pod *corev1.Pod, phase corev1.PodPhase, ready corev1.ConditionStatus, ip string) *corev1.PodStatus {
	since := pod.CreationTimestamp
	status := &corev1.PodStatus{
		Phase: phase, HostIP: "10.0.0.1", PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &since,
		QOSClass: pod.Status.QOSClass,
	}
	for _, t := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: t, Status: ready, LastTransitionTime: metav1.Now()})
	}
	for _, t := range []corev1.PodConditionType{corev1.PodInitialized, corev1.PodScheduled} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: since})
	}
	for _, c := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image})
	}
	return status
}
