package main

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWantedNode(t *testing.T) {
	t.Parallel()
	p := pod(corev1.RestartPolicyAlways)
	if got := wantedNode(p); got != "" {
		t.Errorf("a pod without affinity wants %q", got)
	}
	// As the DaemonSet controller writes it.
	p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"node-2"}}},
		}}},
	}}
	if got := wantedNode(p); got != "node-2" {
		t.Errorf("a pod of a DaemonSet wants %q, not node-2", got)
	}
}

func TestDelayed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		annotations map[string]string
		age         time.Duration
		wait        bool
		left        time.Duration
	}{
		"young":      {age: 50 * time.Millisecond, wait: true, left: 150 * time.Millisecond},
		"old enough": {age: 200 * time.Millisecond},
		"slow":       {annotations: map[string]string{annotationSlow: "2s"}, age: time.Second, wait: true, left: time.Second},
		"slow, done": {annotations: map[string]string{annotationSlow: "2s"}, age: 2 * time.Second},
		"fail":       {annotations: map[string]string{annotationFail: "no"}, age: time.Hour, wait: true},
	} {
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: test.annotations}}
		if wait, left := delayed(svc, test.age, 200*time.Millisecond); wait != test.wait || left != test.left {
			t.Errorf("%s: wait %t, %v left, want %t, %v", name, wait, left, test.wait, test.left)
		}
	}
}

func TestAddressesDiffer(t *testing.T) {
	t.Parallel()
	s := &simulator{}
	seen := map[string]bool{}
	for range 62500 {
		a := s.address(balancerBlock)
		if seen[a] {
			t.Fatalf("%s was handed out twice", a)
		}
		seen[a] = true
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	if portTaken(nil) || portTaken(errors.New("exit status 1")) {
		t.Error("a port is said to be taken where none is")
	}
	if !portTaken(errors.New("apiserver ended: exit status 1\nlisten tcp 127.0.0.1:1: bind: address already in use")) {
		t.Error("a taken port is not recognised")
	}
}
