package helm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// layerType is the layer of an OCI artifact that is a chart archive.
// https://helm.sh/docs/topics/registries/#helm-chart-manifest
const layerType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// registry is a repository in an OCI registry: a chart is a repository there, and a
// version a tag.
type registry struct {
	charts *Charts
	base   *url.URL
	login  Login
}

func (r *registry) repo(chart string) (name.Repository, error) {
	var options []name.Option
	if r.charts.insecure(r.base) {
		options = append(options, name.Insecure)
	}
	repo, err := name.NewRepository(strings.TrimPrefix(r.base.String(), schemeOCI+"://")+"/"+chart, options...)
	if err != nil {
		return repo, oneLine(err)
	}
	return repo, nil
}

func (r *registry) options(ctx context.Context) ([]remote.Option, error) {
	rt, err := r.charts.transport(r.login)
	if err != nil {
		return nil, err
	}
	auth := authn.Anonymous
	if r.login.Username != "" {
		auth = &authn.Basic{Username: r.login.Username, Password: r.login.Password}
	}
	return []remote.Option{remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(bound{rt, r}), remote.WithUserAgent("tradewind")}, nil
}

// bound keeps the login at the registry's own host: a token service elsewhere is asked
// without it.
type bound struct {
	next http.RoundTripper
	repo *registry
}

func (b bound) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !b.repo.charts.insecure(req.URL) {
		return nil, fmt.Errorf("plain http is not allowed for %s", req.URL.Host)
	}
	if !strings.EqualFold(req.URL.Host, b.repo.base.Host) && strings.HasPrefix(req.Header.Get("Authorization"), "Basic ") {
		req = req.Clone(req.Context())
		req.Header.Del("Authorization")
	}
	return b.next.RoundTrip(req)
}

func (r *registry) list(ctx context.Context, chart string, _ *listing) (*listing, error) {
	repo, err := r.repo(chart)
	if err != nil {
		return nil, err
	}
	options, err := r.options(ctx)
	if err != nil {
		return nil, err
	}
	tags, err := remote.List(repo, options...)
	if err != nil {
		return nil, fmt.Errorf("listing tags: %w", registryError(err))
	}
	for i := range tags { // "+" is not allowed in a tag, Helm writes "_"
		tags[i] = strings.ReplaceAll(tags[i], "_", "+")
	}
	slices.Sort(tags)
	return &listing{versions: tags}, nil
}

func (r *registry) pull(ctx context.Context, chart, version string, _ *listing) ([]byte, error) {
	repo, err := r.repo(chart)
	if err != nil {
		return nil, err
	}
	options, err := r.options(ctx)
	if err != nil {
		return nil, err
	}
	image, err := remote.Image(repo.Tag(strings.ReplaceAll(version, "+", "_")), options...)
	if err != nil {
		return nil, registryError(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, registryError(err)
	}
	for _, layer := range manifest.Layers {
		if layer.MediaType != layerType {
			continue
		}
		if layer.Size > maxArchive {
			return nil, fmt.Errorf("it takes %d MiB, at most %d MiB", layer.Size>>20, maxArchive>>20)
		}
		blob, err := remote.Layer(repo.Digest(layer.Digest.String()), options...)
		if err != nil {
			return nil, registryError(err)
		}
		content, err := blob.Compressed() // checks the digest while it is read
		if err != nil {
			return nil, registryError(err)
		}
		defer func() { _ = content.Close() }() // was read to its end
		return io.ReadAll(io.LimitReader(content, maxArchive+1))
	}
	return nil, &Error{Err: errors.New("the artifact is not a Helm chart"), Advice: "push it with helm push"}
}

func registryError(err error) error {
	if e, ok := errors.AsType[*transport.Error](err); ok {
		return statusError(e.StatusCode)
	}
	return oneLine(unwrapURL(err))
}
