package main

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const hostIP = "10.0.0.1" // of every node

// doing is what the containers of a pod do at one moment.
type doing struct {
	phase    corev1.PodPhase
	ready    bool
	state    corev1.ContainerState
	last     corev1.ContainerState
	restarts int32
}

// statusOf is what the pod's status should become now (nil: it is right already, or the
// pod is done) and when to look again (zero: only when something changes).
func statusOf(pod *corev1.Pod, lacking *lack, ip string, age time.Duration, now time.Time) (*corev1.PodStatus, time.Duration) {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil, 0
	}
	at := metav1.NewTime(now).Rfc3339Copy() // what the API server will keep of it
	d, again := decide(pod, lacking, age, at)
	status := compose(pod, d, ip, at)
	// Writing the same again would wake everyone who watches pods.
	if equality.Semantic.DeepEqual(*status, pod.Status) {
		return nil, again
	}
	return status, again
}

// decide follows the annotations. A pod that is not restarted when it ends belongs to a
// Job, and does its work at once.
func decide(pod *corev1.Pod, lacking *lack, age time.Duration, at metav1.Time) (doing, time.Duration) {
	finite := pod.Spec.RestartPolicy != corev1.RestartPolicyAlways
	if lacking != nil {
		return waiting(lacking.reason, lacking.message), 0
	}
	if reason := pod.Annotations[annotationFail]; reason != "" {
		return waiting(reason, "chosen by annotation"), 0
	}
	if pod.Annotations[annotationCrash] == "true" {
		if pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
			return doing{phase: corev1.PodFailed, state: exited(1, at)}, 0
		}
		return crashing(age, at)
	}
	running := doing{phase: corev1.PodRunning, ready: true, state: corev1.ContainerState{
		Running: &corev1.ContainerStateRunning{StartedAt: at},
	}}
	if slow, err := time.ParseDuration(pod.Annotations[annotationSlow]); err == nil && age < slow {
		running.ready = finite // a Job works all that time, a server is not ready yet
		return running, slow - age
	}
	if finite {
		return doing{phase: corev1.PodSucceeded, state: exited(0, at)}, 0
	}
	return running, 0
}

func waiting(reason, message string) doing {
	return doing{phase: corev1.PodPending, state: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
	}}
}

func exited(code int32, at metav1.Time) corev1.ContainerState {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: at, FinishedAt: at,
	}}
}

// crashing has the containers restarted after 1, 2, 4 … seconds. It only ever shows the
// back-off between two attempts: the attempt itself takes no time.
func crashing(age time.Duration, at metav1.Time) (doing, time.Duration) {
	d := waiting("CrashLoopBackOff", "")
	d.phase = corev1.PodRunning // as a kubelet has it, once a container has run
	next, pause := time.Duration(0), time.Second
	for ; next <= age; next, pause = next+pause, pause*2 {
		d.restarts++
	}
	d.state.Waiting.Message = fmt.Sprintf("back-off %s restarting failed container", pause/2)
	d.last = exited(1, at)
	return d, next - age
}

// compose writes it down as a kubelet would. Moments stay what they were where nothing
// else changed, and so do conditions that are not a kubelet's.
func compose(pod *corev1.Pod, d doing, ip string, at metav1.Time) *corev1.PodStatus {
	status := pod.Status.DeepCopy()
	status.Phase = d.phase
	status.ObservedGeneration = pod.Generation
	status.HostIP, status.HostIPs = hostIP, []corev1.HostIP{{IP: hostIP}}
	status.PodIP, status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	if status.StartTime == nil {
		status.StartTime = &at
	}
	status.ContainerStatuses = containers(pod.Spec.Containers, pod.Status.ContainerStatuses, d)
	status.InitContainerStatuses = initContainers(pod, d, at)
	setConditions(pod, status, d, at)
	return status
}

func containers(specs []corev1.Container, before []corev1.ContainerStatus, d doing) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for i, spec := range specs {
		c := corev1.ContainerStatus{
			Name: spec.Name, Image: spec.Image, ImageID: spec.Image, Ready: d.ready,
			Started: new(d.state.Running != nil), State: d.state, LastTerminationState: d.last, RestartCount: d.restarts,
		}
		if i < len(before) && before[i].RestartCount == c.RestartCount {
			keepMoments(&c, before[i])
		}
		all = append(all, c)
	}
	return all
}

func keepMoments(c *corev1.ContainerStatus, before corev1.ContainerStatus) {
	if c.State.Running != nil && before.State.Running != nil {
		c.State = before.State
	}
	if c.State.Terminated != nil && before.State.Terminated != nil {
		c.State = before.State
	}
	if c.LastTerminationState.Terminated != nil && before.LastTerminationState.Terminated != nil {
		c.LastTerminationState = before.LastTerminationState
	}
}

// initContainers have done their work by the time anyone looks; those that stay (sidecars)
// do what the others do.
func initContainers(pod *corev1.Pod, d doing, at metav1.Time) []corev1.ContainerStatus {
	done := doing{ready: true, state: exited(0, at)}
	var all []corev1.ContainerStatus
	for i, spec := range pod.Spec.InitContainers {
		what, before := done, pod.Status.InitContainerStatuses
		if spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			what = d
		}
		before = before[min(i, len(before)):min(i+1, len(before))]
		all = append(all, containers([]corev1.Container{spec}, before, what)...)
	}
	return all
}

func setConditions(pod *corev1.Pod, status *corev1.PodStatus, d doing, at metav1.Time) {
	var reason, message string
	switch {
	case d.phase == corev1.PodSucceeded:
		reason = "PodCompleted"
	case d.phase == corev1.PodFailed:
		reason = "PodFailed"
	case !d.ready:
		var names []string
		for _, c := range pod.Spec.Containers {
			names = append(names, c.Name)
		}
		reason, message = "ContainersNotReady", "containers with unready status: ["+strings.Join(names, " ")+"]"
	}
	set := func(kind corev1.PodConditionType, ok bool, reason, message string) {
		setCondition(status, pod.Generation, corev1.PodCondition{
			Type: kind, Status: conditionStatus(ok), Reason: reason, Message: message, LastTransitionTime: at,
		})
	}
	set(corev1.PodScheduled, true, "", "")
	set(corev1.PodInitialized, true, "", "")
	set(corev1.ContainersReady, d.ready, reason, message)
	if gate := closedGate(pod); d.ready && gate != "" {
		set(corev1.PodReady, false, "ReadinessGatesNotReady", fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist or is not True", gate))
		return
	}
	set(corev1.PodReady, d.ready, reason, message)
}

func setCondition(status *corev1.PodStatus, generation int64, want corev1.PodCondition) {
	want.ObservedGeneration = generation
	for i, c := range status.Conditions {
		if c.Type != want.Type {
			continue
		}
		if c.Status == want.Status {
			want.LastTransitionTime = c.LastTransitionTime
		}
		status.Conditions[i] = want
		return
	}
	status.Conditions = append(status.Conditions, want)
}

// closedGate names the first readiness gate that whoever owns it has not opened.
func closedGate(pod *corev1.Pod) corev1.PodConditionType {
	for _, gate := range pod.Spec.ReadinessGates {
		if !conditionTrue(pod, gate.ConditionType) {
			return gate.ConditionType
		}
	}
	return ""
}

func podReady(pod *corev1.Pod) bool { return conditionTrue(pod, corev1.PodReady) }

func conditionTrue(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func conditionStatus(ok bool) corev1.ConditionStatus {
	if ok {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}
