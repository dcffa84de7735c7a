package reconcile

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/registry/imagepolicy"
	"github.com/tradewind-dev/tradewind/sync/bucket"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// artifacts remembers what was last found at sources that are not Git.
type artifacts struct {
	mu    sync.Mutex
	known map[string]*artifact
}

// artifact is locked while it is asked for: everyone who wants the same waits for one
// answer.
type artifact struct {
	mu sync.Mutex
	found
	checked time.Time
}

type found struct {
	revision string
	files    fs.FS
}

func newArtifacts() *artifacts { return &artifacts{known: map[string]*artifact{}} }

// maxArtifacts bounds what is remembered, with its files. Beyond it all is asked for again,
// which costs a request each.
const maxArtifacts = 200

func (a *artifacts) of(key string) *artifact {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[key] == nil {
		if len(a.known) >= maxArtifacts {
			clear(a.known)
		}
		a.known[key] = &artifact{}
	}
	return a.known[key]
}

// artifact asks the registry or the object store when this look came from news of it, and
// otherwise once per pullInterval.
func (x *run) artifact(ctx context.Context, src *render.Source) (found, error) {
	if err := x.mayUse(ctx, src); err != nil {
		return found{}, err
	}
	key := fmt.Sprintf("%s %s %s %+v %+v %s", x.app.Namespace, src.Type, src.URL, src.Artifact, src.Bucket, src.SecretName)
	if src.Type == render.SourceBucket {
		key += " " + src.Path
	}
	a := x.artifacts.of(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	news := x.fresh || x.job.Cause == events.CauseWebhook
	if a.files != nil && !news && x.now().Sub(a.checked) < pullInterval(src)-timerSlack {
		return a.found, nil
	}
	if src.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, src.Timeout)
		defer cancel()
	}
	look := x.lookAtRegistry
	if src.Type == render.SourceBucket {
		look = x.lookAtBucket
	}
	now, err := look(ctx, src)
	if err != nil {
		return found{}, err
	}
	a.found, a.checked = now, x.now()
	return now, nil
}

// secret reads the credentials of a source; nil when it names none.
func (x *run) secret(ctx context.Context, src *render.Source) (map[string][]byte, error) {
	if src.SecretName == "" {
		return nil, nil
	}
	data, err := x.text(ctx, kindSecret, src.SecretName)
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w", x.app.Namespace, src.SecretName, err)
	}
	return data, nil
}

func (x *run) lookAtRegistry(ctx context.Context, src *render.Source) (found, error) {
	image, err := registry.ParseImage(src.Image())
	if err != nil {
		return found{}, err
	}
	data, err := x.secret(ctx, src)
	if err != nil {
		return found{}, err
	}
	var keys registry.Keychain
	if data != nil {
		if keys, err = registry.ParseDockerConfig(data[".dockerconfigjson"]); err != nil {
			return found{}, fmt.Errorf("secret %s/%s: %w", x.app.Namespace, src.SecretName, err)
		}
	}
	ref := src.Artifact.String()
	if src.Artifact.Digest == "" && src.Artifact.SemVer != "" {
		if ref, err = x.newest(ctx, image, src.Artifact.SemVer, keys); err != nil {
			return found{}, err
		}
	}
	digest, files, err := x.registry.Artifact(ctx, image, ref, keys)
	return found{digest, files}, err
}

// newest is the highest tag within a range of versions.
func (x *run) newest(ctx context.Context, image registry.Image, within string, keys registry.Keychain) (string, error) {
	policy, err := imagepolicy.ParsePolicy(map[string]any{"policy": map[string]any{"semver": map[string]any{"range": within}}})
	if err != nil {
		return "", fmt.Errorf("properties.oci.semver: %q is not a range of versions", within)
	}
	listing, err := x.registry.Tags(ctx, image, keys, registry.Known{})
	if err != nil {
		return "", err
	}
	tag, err := policy.Choose(listing.Tags)
	if err != nil {
		return "", fmt.Errorf("choosing a tag of %s: %w", image, err)
	}
	return tag, nil
}

func (x *run) lookAtBucket(ctx context.Context, src *render.Source) (found, error) {
	path, err := git.CleanPath(src.Path)
	if err != nil {
		return found{}, err
	}
	from := bucket.Source{Endpoint: src.URL, Bucket: src.Bucket.Name, Path: path, Provider: src.Bucket.Provider, Region: src.Bucket.Region}
	data, err := x.secret(ctx, src)
	if err != nil {
		return found{}, err
	}
	if data != nil {
		from.Secret = x.app.Namespace + "/" + src.SecretName
		if from.Keys, err = bucket.KeysFromSecret(data); err != nil {
			return found{}, fmt.Errorf("secret %s: %w", from.Secret, err)
		}
	}
	revision, files, err := x.buckets.Fetch(ctx, from)
	return found{revision, files}, err
}

const (
	// minPull bounds how often a source without news is asked.
	minPull = 5 * time.Second
	// timerSlack is more than a timer may be early.
	timerSlack = 2 * time.Second
)

// pullInterval is how long a source that is not Git is believed.
func pullInterval(src *render.Source) time.Duration {
	return min(max(src.PullInterval, minPull), headTrust)
}

// refText is which version of a source is wanted, for people.
func refText(src *render.Source) string {
	switch src.Type {
	case render.SourceOCI:
		return src.Artifact.String()
	case render.SourceBucket:
		return src.Bucket.Name
	default:
		return refOf(src).String()
	}
}

// short is a commit or digest as messages show it.
func short(revision string) string {
	return fmt.Sprintf("%.7s", strings.TrimPrefix(revision, "sha256:"))
}

// interestOf is the repository and ref in which a source is interested: for an artifact
// its tag, or "" when any push may move it.
func interestOf(src *render.Source) (repo, ref string, ok bool) {
	switch src.Type {
	case render.SourceOCI:
		image, err := registry.ParseImage(src.Image())
		if err != nil || src.Artifact.Digest != "" { // a digest never moves
			return "", "", false
		}
		if src.Artifact.SemVer == "" {
			ref = src.Artifact.String()
		}
		return artifactKey(image), ref, true
	case render.SourceBucket:
		return "", "", false // nobody tells
	default:
		repo, err := events.RepoKey(src.URL)
		return repo, fixedRef(src), err == nil
	}
}

// artifactKey is an image's name among those of Git repositories.
func artifactKey(image registry.Image) string { return "oci://" + image.Key() }

// artifactKeys are several names of one.
func artifactKeys(images []string) []string {
	var names []string
	for _, name := range images {
		if image, err := registry.ParseImage(name); err == nil {
			names = append(names, artifactKey(image))
		}
	}
	return names
}

// WatchingArtifact counts the Applications that deploy an artifact with any of the names.
func (r *Reconciler) WatchingArtifact(images []string) int {
	return r.index.interested(artifactKeys(images))
}

// RoutePublished turns the news that a tag was pushed, to an image of any of these names,
// into the looks of those who deploy it as an artifact.
func (r *Reconciler) RoutePublished(ev events.Event, images []string, tag string) []events.Trigger {
	var triggers []events.Trigger
	for _, key := range r.index.match(artifactKeys(images), tag) {
		triggers = append(triggers, events.Trigger{Key: key, Cause: events.CauseWebhook, Event: ev.ID, Time: ev.Time})
	}
	return triggers
}
