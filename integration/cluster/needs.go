package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// need is an object that a pod's containers cannot start without.
type need struct {
	kind, namespace, name string
	key                   string // within the object; empty: all of it
	volume                bool   // mounted, not in the environment
}

// lack is why containers wait, in a kubelet's words.
type lack struct{ reason, message string }

// findFunc says whether the needed object is there, and whether it has the key.
type findFunc func(context.Context, need) (object, key bool, err error)

// needsOf lists what must be there: references that are not optional.
func needsOf(pod *corev1.Pod) []need {
	var all []need
	add := func(n need, optional *bool) {
		if n.name != "" && (optional == nil || !*optional) {
			n.namespace = pod.Namespace
			all = append(all, n)
		}
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, from := range c.EnvFrom {
			if ref := from.SecretRef; ref != nil {
				add(need{kind: "Secret", name: ref.Name}, ref.Optional)
			}
			if ref := from.ConfigMapRef; ref != nil {
				add(need{kind: "ConfigMap", name: ref.Name}, ref.Optional)
			}
		}
		for _, env := range c.Env {
			if env.ValueFrom == nil {
				continue
			}
			if ref := env.ValueFrom.SecretKeyRef; ref != nil {
				add(need{kind: "Secret", name: ref.Name, key: ref.Key}, ref.Optional)
			}
			if ref := env.ValueFrom.ConfigMapKeyRef; ref != nil {
				add(need{kind: "ConfigMap", name: ref.Name, key: ref.Key}, ref.Optional)
			}
		}
	}
	for _, volume := range pod.Spec.Volumes {
		if v := volume.Secret; v != nil {
			add(need{kind: "Secret", name: v.SecretName, volume: true}, v.Optional)
		}
		if v := volume.ConfigMap; v != nil {
			add(need{kind: "ConfigMap", name: v.Name, volume: true}, v.Optional)
		}
	}
	return all
}

// firstLack is nil when everything is there.
func firstLack(ctx context.Context, needs []need, find findFunc) (*lack, error) {
	for _, n := range needs {
		object, key, err := find(ctx, n)
		switch {
		case err != nil:
			return nil, fmt.Errorf("looking for %s %s: %w", n.kind, n.name, err)
		case !object && n.volume:
			// A kubelet says no more than this in the status either.
			return &lack{reason: "ContainerCreating"}, nil
		case !object:
			return &lack{"CreateContainerConfigError", fmt.Sprintf("%s %q not found", strings.ToLower(n.kind), n.name)}, nil
		case n.key != "" && !key:
			return &lack{"CreateContainerConfigError", fmt.Sprintf("couldn't find key %s in %s %s/%s", n.key, n.kind, n.namespace, n.name)}, nil
		}
	}
	return nil, nil
}

func addKeys[V any](keys map[string]bool, data map[string]V) {
	for key := range data {
		keys[key] = true
	}
}

func secretKeys(secret *corev1.Secret) map[string]bool {
	keys := map[string]bool{}
	if secret != nil {
		addKeys(keys, secret.Data)
	}
	return keys
}

func configKeys(config *corev1.ConfigMap) map[string]bool {
	keys := map[string]bool{}
	if config != nil {
		addKeys(keys, config.Data)
		addKeys(keys, config.BinaryData)
	}
	return keys
}
