package main

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestFirstLack(t *testing.T) {
	t.Parallel()
	ref := corev1.LocalObjectReference{Name: "pw"}
	env := func(from corev1.EnvVarSource) corev1.PodSpec {
		return corev1.PodSpec{Containers: []corev1.Container{{Env: []corev1.EnvVar{{Name: "PLAIN", Value: "1"}, {Name: "X", ValueFrom: &from}}}}}
	}
	secretKey := func(key string, optional *bool) corev1.PodSpec {
		return env(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref, Key: key, Optional: optional}})
	}
	for name, test := range map[string]struct {
		spec   corev1.PodSpec
		secret []string // keys; nil: not there
		want   lack     // zero: nothing is lacking
	}{
		"nothing needed":  {},
		"secret":          {spec: secretKey("p", nil), want: lack{"CreateContainerConfigError", `secret "pw" not found`}},
		"key":             {spec: secretKey("p", nil), secret: []string{"q"}, want: lack{"CreateContainerConfigError", "couldn't find key p in Secret ns/pw"}},
		"there":           {spec: secretKey("p", nil), secret: []string{"p"}},
		"optional secret": {spec: secretKey("p", new(true))},
		"config": {
			spec: env(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref, Key: "p"}}),
			want: lack{"CreateContainerConfigError", `configmap "pw" not found`},
		},
		"whole secret": {
			spec: corev1.PodSpec{InitContainers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}}}},
			want: lack{"CreateContainerConfigError", `secret "pw" not found`},
		},
		"volume": {
			spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "pw"}}}}},
			want: lack{"ContainerCreating", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pod(corev1.RestartPolicyAlways)
			p.Spec = test.spec
			find := func(_ context.Context, n need) (object, key bool, err error) {
				if n.kind != "Secret" || n.namespace != "ns" || n.name != "pw" || test.secret == nil {
					return false, false, nil
				}
				for _, k := range test.secret {
					key = key || k == n.key
				}
				return true, key, nil
			}
			got, err := firstLack(t.Context(), needsOf(p), find)
			if got == nil {
				got = &lack{}
			}
			if err != nil || *got != test.want {
				t.Errorf("lacking %+v, %v, want %+v", *got, err, test.want)
			}
		})
	}
}

func TestFirstLackReportsFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	got, err := firstLack(t.Context(), []need{{kind: "Secret", name: "pw"}}, func(context.Context, need) (bool, bool, error) {
		return false, false, broken
	})
	if got != nil || !errors.Is(err, broken) {
		t.Errorf("lacking %+v, %v, want the failure: what cannot be read may be there", got, err)
	}
}
