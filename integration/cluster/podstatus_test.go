package main

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pod is one of a Deployment, unless policy says else.
func pod(policy corev1.RestartPolicy, annotations ...string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", Generation: 1, Annotations: map[string]string{}},
		Spec:       corev1.PodSpec{RestartPolicy: policy, Containers: []corev1.Container{{Name: "app", Image: "nginx:1"}}},
	}
	for i := 0; i < len(annotations); i += 2 {
		p.Annotations[annotations[i]] = annotations[i+1]
	}
	return p
}

func TestStatusOf(t *testing.T) {
	t.Parallel()
	const always, never, onFailure = corev1.RestartPolicyAlways, corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure
	missing := &lack{reason: "CreateContainerConfigError", message: `secret "pw" not found`}
	for name, test := range map[string]struct {
		pod     *corev1.Pod
		lacking *lack
		age     time.Duration

		phase    corev1.PodPhase
		ready    bool
		waiting  string
		restarts int32
		again    time.Duration
	}{
		"plain":                  {pod: pod(always), phase: corev1.PodRunning, ready: true},
		"job":                    {pod: pod(onFailure), phase: corev1.PodSucceeded},
		"fail":                   {pod: pod(always, annotationFail, "ImagePullBackOff"), phase: corev1.PodPending, waiting: "ImagePullBackOff"},
		"fail of a job":          {pod: pod(never, annotationFail, "ErrImagePull"), phase: corev1.PodPending, waiting: "ErrImagePull"},
		"missing":                {pod: pod(always), lacking: missing, phase: corev1.PodPending, waiting: missing.reason},
		"missing before fail":    {pod: pod(always, annotationFail, "X"), lacking: missing, phase: corev1.PodPending, waiting: missing.reason},
		"slow":                   {pod: pod(always, annotationSlow, "3s"), age: time.Second, phase: corev1.PodRunning, again: 2 * time.Second},
		"slow is over":           {pod: pod(always, annotationSlow, "3s"), age: 3 * time.Second, phase: corev1.PodRunning, ready: true},
		"slow says nonsense":     {pod: pod(always, annotationSlow, "soon"), phase: corev1.PodRunning, ready: true},
		"slow job":               {pod: pod(never, annotationSlow, "3s"), phase: corev1.PodRunning, ready: true, again: 3 * time.Second},
		"crash":                  {pod: pod(always, annotationCrash, "true"), phase: corev1.PodRunning, waiting: "CrashLoopBackOff", restarts: 1, again: time.Second},
		"crash again":            {pod: pod(always, annotationCrash, "true"), age: 3 * time.Second, phase: corev1.PodRunning, waiting: "CrashLoopBackOff", restarts: 3, again: 4 * time.Second},
		"crash of a job":         {pod: pod(never, annotationCrash, "true"), phase: corev1.PodFailed},
		"crash of a retried job": {pod: pod(onFailure, annotationCrash, "true"), phase: corev1.PodRunning, waiting: "CrashLoopBackOff", restarts: 1, again: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, again := statusOf(test.pod, test.lacking, "10.244.0.1", test.age, time.Now())
			if status == nil || status.Phase != test.phase || again != test.again {
				t.Fatalf("status %v, again in %v, want phase %s, again in %v", status, again, test.phase, test.again)
			}
			test.pod.Status = *status
			c := status.ContainerStatuses[0]
			waiting := ""
			if c.State.Waiting != nil {
				waiting = c.State.Waiting.Reason
			}
			if podReady(test.pod) != test.ready || c.Ready != test.ready || waiting != test.waiting || c.RestartCount != test.restarts {
				t.Errorf("ready %t, container %+v, want ready %t, waiting %q, %d restarts", podReady(test.pod), c, test.ready, test.waiting, test.restarts)
			}
			// Later, nothing of it may change by itself.
			if next, _ := statusOf(test.pod, test.lacking, "10.244.0.1", test.age, time.Now().Add(time.Minute)); next != nil {
				t.Errorf("the same again gives another status: %+v", next)
			}
		})
	}
}

func TestStatusKeepsMoments(t *testing.T) {
	t.Parallel()
	p := pod(corev1.RestartPolicyAlways, annotationSlow, "3s")
	began := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	slow, _ := statusOf(p, nil, "10.244.0.1", 0, began)
	p.Status = *slow
	ready, _ := statusOf(p, nil, "10.244.0.1", 3*time.Second, began.Add(3*time.Second))
	if at := ready.ContainerStatuses[0].State.Running.StartedAt; !at.Time.Equal(began) {
		t.Errorf("the container started at %s, want %s", at, began)
	}
	for _, c := range ready.Conditions {
		want := began
		if c.Type == corev1.PodReady || c.Type == corev1.ContainersReady {
			want = began.Add(3 * time.Second)
		}
		if !c.LastTransitionTime.Time.Equal(want) {
			t.Errorf("%s changed at %s, want %s", c.Type, c.LastTransitionTime, want)
		}
	}
}

func TestStatusOfInitContainers(t *testing.T) {
	t.Parallel()
	sidecar := corev1.ContainerRestartPolicyAlways
	p := pod(corev1.RestartPolicyAlways)
	p.Spec.InitContainers = []corev1.Container{{Name: "migrate"}, {Name: "proxy", RestartPolicy: &sidecar}}
	status, _ := statusOf(p, nil, "10.244.0.1", 0, time.Now())
	if all := status.InitContainerStatuses; len(all) != 2 || all[0].State.Terminated == nil || all[1].State.Running == nil {
		t.Errorf("init containers %+v, want the first done and the second running", all)
	}
}

func TestReadinessGates(t *testing.T) {
	t.Parallel()
	p := pod(corev1.RestartPolicyAlways)
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/warm"}}
	for _, open := range []bool{false, true} {
		if open {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "example.com/warm", Status: corev1.ConditionTrue})
		}
		status, _ := statusOf(p, nil, "10.244.0.1", 0, time.Now())
		p.Status = *status
		if podReady(p) != open || !conditionTrue(p, corev1.ContainersReady) {
			t.Errorf("gate open: %t, conditions %+v", open, p.Status.Conditions)
		}
	}
}
