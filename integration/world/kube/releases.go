package kube

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	rspb "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Releases is what "helm history" says of a release, read by Helm's own code: a line for
// each version, "1 superseded web-1.0.0 Install complete", oldest first.
func (c *Cluster) Releases(namespace, name string) ([]string, error) {
	client, err := typed.NewForConfig(c.rest)
	if err != nil {
		return nil, err
	}
	found, err := storage.Init(driver.NewSecrets(client.Secrets(namespace))).History(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	versions := make([]*rspb.Release, 0, len(found))
	for _, f := range found {
		r, ok := f.(*rspb.Release)
		if !ok {
			return nil, fmt.Errorf("helm reads a %T", f)
		}
		versions = append(versions, r)
	}
	slices.SortFunc(versions, func(a, b *rspb.Release) int { return cmp.Compare(a.Version, b.Version) })
	lines := make([]string, 0, len(versions))
	for _, r := range versions {
		lines = append(lines, fmt.Sprintf("%d %s %s-%s %s", r.Version, r.Info.Status, r.Chart.Metadata.Name, r.Chart.Metadata.Version, r.Info.Description))
	}
	return lines, nil
}
