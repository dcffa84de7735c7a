package helm_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tradewind-dev/tradewind/sync/helm"
)

func TestFetchChoosesTheNewest(t *testing.T) {
	t.Parallel()
	repo := startRepository(t)
	for _, v := range []string{"0.9.0", "1.0.0", "1.2.0", "1.10.0", "2.0.0", "3.0.0-rc.1", "not-a-version"} {
		repo.publish(t, v, chartFiles("1.0.0", nil).pack(t, nil), "")
	}
	charts := repo.charts()
	for wanted, found := range map[string]string{"*": "2.0.0", "^1": "1.10.0", ">=1 <1.10": "1.2.0", "0.9.0": "0.9.0", "~1.2": "1.2.0", ">=3.0.0-0": "3.0.0-rc.1"} {
		repo.asked()
		if _, err := repo.charts().Fetch(t.Context(), helm.Source{URL: repo.URL, Chart: "web", Version: wanted}); err != nil {
			t.Errorf("%s: %v", wanted, err)
			continue
		}
		if got := repo.asked(); !slices.Contains(got, "/web-"+found+".tgz 200 ") {
			t.Errorf("%s: asked for %q, want %s", wanted, got, found)
		}
	}
	_, err := charts.Fetch(t.Context(), helm.Source{URL: repo.URL, Chart: "web", Version: "^7"})
	if err == nil || !strings.Contains(err.Error(), `no version of it is in the range "^7"`) {
		t.Errorf("^7: %v", err)
	}
}

func TestFetchAsksOnlyWhenItMust(t *testing.T) {
	t.Parallel()
	repo := startRepository(t)
	repo.publish(t, "1.0.0", chartFiles("1.0.0", nil).pack(t, nil), "")
	charts := repo.charts()
	fetch := func(version string, age time.Duration, want string, asked ...string) {
		t.Helper()
		c, err := charts.Fetch(t.Context(), helm.Source{URL: repo.URL, Chart: "web", Version: version, MaxAge: age})
		if err != nil {
			t.Fatal(err)
		}
		if c.Version != want {
			t.Errorf("%s: got version %s, want %s", version, c.Version, want)
		}
		if diff := cmp.Diff(asked, repo.asked()); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", version, diff)
		}
	}
	fetch("^1", time.Hour, "1.0.0", "/index.yaml 200 ", "/web-1.0.0.tgz 200 ")
	fetch("^1", time.Hour, "1.0.0")
	fetch("1.0.0", 0, "1.0.0")
	fetch("^1", 0, "1.0.0", "/index.yaml 304 ")
	repo.publish(t, "1.1.0", chartFiles("1.1.0", nil).pack(t, nil), "")
	fetch("^1", time.Hour, "1.0.0") // not older than wanted
	fetch("^1", 0, "1.1.0", "/index.yaml 200 ", "/web-1.1.0.tgz 200 ")
}

// A version that the listing at hand does not have may have been published since.
func TestFetchLooksAgainForAMissingVersion(t *testing.T) {
	t.Parallel()
	repo := startRepository(t)
	repo.publish(t, "1.0.0", chartFiles("1.0.0", nil).pack(t, nil), "")
	charts := repo.charts()
	if _, err := charts.Fetch(t.Context(), helm.Source{URL: repo.URL, Chart: "web", Version: "1.0.0", MaxAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	repo.publish(t, "2.0.0", chartFiles("2.0.0", nil).pack(t, nil), "")
	for deadline := time.Now().Add(20 * time.Second); ; { // at most once a second
		c, err := charts.Fetch(t.Context(), helm.Source{URL: repo.URL, Chart: "web", Version: "2.0.0", MaxAge: time.Hour})
		if err == nil && c.Version == "2.0.0" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestFetchKeepsTheLoginAtHome(t *testing.T) {
	t.Parallel()
	home, other := startRepository(t), startRepository(t)
	home.password = "geheim"
	data := chartFiles("1.0.0", nil).pack(t, nil)
	other.publish(t, "1.0.0", data, "")
	home.publish(t, "1.0.0", data, other.URL+"/web-1.0.0.tgz")
	charts := helm.NewCharts(helm.Config{InsecureHosts: []string{home.host(), other.host()}})
	src := helm.Source{URL: home.URL, Chart: "web", Version: "*"}
	if _, err := charts.Fetch(t.Context(), src); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a login: %v", err)
	}
	src.Login = helm.Login{Username: "ada", Password: "geheim"}
	if _, err := charts.Fetch(t.Context(), src); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/web-1.0.0.tgz 200 "}, other.asked()); diff != "" {
		t.Errorf("the other host (-want +got):\n%s", diff)
	}
}

func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	repo := startRepository(t)
	data := chartFiles("1.0.0", nil).pack(t, nil)
	repo.publish(t, "1.0.0", data, "")
	repo.publish(t, "2.0.0", data, "")
	repo.archives["/web-2.0.0.tgz"] = chartFiles("2.0.0", nil).pack(t, nil) // not what the index says
	repo.publish(t, "3.0.0", data, "http://elsewhere.example.com/web.tgz")
	strict := helm.NewCharts(helm.Config{})
	blocked := helm.NewCharts(helm.Config{InsecureHosts: []string{repo.host()}, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("not an address to talk to")
	}})
	for _, c := range []struct {
		charts             *helm.Charts
		url, version, want string
	}{
		{strict, repo.URL, "*", "plain http is not allowed"},
		{strict, "file:///etc", "*", "repository URL"},
		{strict, "https://ada:geheim@charts.example.com", "*", "holds a login"},
		{strict, "ftp://charts.example.com", "*", "scheme"},
		{blocked, repo.URL, "*", "not an address to talk to"},
		{repo.charts(), repo.URL, "2.0.0", "the index says"},
		{repo.charts(), repo.URL, "3.0.0", "plain http is not allowed for elsewhere"},
		{repo.charts(), repo.URL + "/nowhere", "*", "404"},
	} {
		_, err := c.charts.Fetch(t.Context(), helm.Source{URL: c.url, Chart: "web", Version: c.version})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s %s: %v, want %q", c.url, c.version, err, c.want)
		}
	}
}

func TestFetchFromARegistry(t *testing.T) {
	t.Parallel()
	var listed atomic.Bool
	images := registry.New()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/tags/list") {
			listed.Store(true)
		}
		images.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(version, mediaType string) {
		layer := static.NewLayer(chartFiles(version, nil).pack(t, nil), types.MediaType(mediaType))
		image, err := mutate.AppendLayers(empty.Image, layer)
		if err != nil {
			t.Fatal(err)
		}
		tag, err := name.NewTag(host + "/charts/web:" + strings.ReplaceAll(version, "+", "_"))
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(tag, image, remote.WithContext(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	const chartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	push("1.0.0", chartLayer)
	push("1.1.0+build.1", chartLayer)
	push("2.0.0", "application/vnd.oci.image.layer.v1.tar+gzip")
	charts := helm.NewCharts(helm.Config{InsecureHosts: []string{host}})
	if _, err := charts.Fetch(t.Context(), helm.Source{URL: "oci://" + host + "/charts", Chart: "web", Version: "1.0.0"}); err != nil || listed.Load() {
		t.Errorf("one version: %v, tags were listed: %v", err, listed.Load())
	}
	c, err := charts.Fetch(t.Context(), helm.Source{URL: "oci://" + host + "/charts", Chart: "web", Version: "^1"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Version != "1.1.0+build.1" {
		t.Errorf("got %s", c.Version)
	}
	if _, err := charts.Fetch(t.Context(), helm.Source{URL: "oci://" + host + "/charts", Chart: "web", Version: "2.0.0"}); err == nil || !strings.Contains(err.Error(), "not a Helm chart") {
		t.Errorf("an image: %v", err)
	}
	if _, err := helm.NewCharts(helm.Config{}).Fetch(t.Context(), helm.Source{URL: "oci://" + host + "/charts", Chart: "web", Version: "*"}); err == nil {
		t.Error("plain http to a host that is not listed was possible")
	}
}

func TestArchivesThatAreRefused(t *testing.T) {
	t.Parallel()
	named := func(name string) func(*tar.Header) {
		return func(h *tar.Header) {
			if h.Name == "web/values.yaml" {
				h.Name = name
			}
		}
	}
	link := func(kind byte) func(*tar.Header) {
		return func(h *tar.Header) {
			if h.Name == "web/values.yaml" {
				h.Typeflag, h.Linkname, h.Size = kind, "/etc/passwd", 0
			}
		}
	}
	f := chartFiles("1.0.0", nil)
	for what, data := range map[string][]byte{
		"symbolic link": f.pack(t, link(tar.TypeSymlink)), "hard link": f.pack(t, link(tar.TypeLink)), "device": f.pack(t, link(tar.TypeChar)),
		"parent": f.pack(t, named("web/../../x")), "absolute": f.pack(t, named("/etc/x")), "bare": f.pack(t, named("x")), "drive": f.pack(t, named("web/c:x")),
		"not gzip": []byte("hello"), "empty": files{}.pack(t, nil), "cut": f.pack(t, nil)[:100],
		"bomb":       chartFiles("1.0.0", files{"zero": strings.Repeat("\x00", 8<<20)}).pack(t, nil),
		"no chart":   files{"values.yaml": "{}"}.pack(t, nil),
		"library":    chartFiles("1.0.0", files{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ntype: library\n"}).pack(t, nil),
		"unvendored": chartFiles("1.0.0", files{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, version: ^1, repository: https://x}]\n"}).pack(t, nil),
		"large":      bytes.Repeat([]byte("x"), 17<<20),
	} {
		if _, err := helm.FromArchive(data); err == nil {
			t.Errorf("%s: was accepted", what)
		}
	}
}

func TestFromTree(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{}
	for name, content := range chartFiles("1.0.0", nil) {
		tree["deploy/web/"+name] = &fstest.MapFile{Data: []byte(content)}
	}
	c, err := helm.FromTree(tree, "./deploy/web")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "web" || c.Version != "1.0.0" {
		t.Errorf("got %s %s", c.Name, c.Version)
	}
	for _, at := range []string{"./deploy", "nowhere", "../web", "/"} {
		if _, err := helm.FromTree(tree, at); err == nil {
			t.Errorf("%s: was accepted", at)
		}
	}
}
