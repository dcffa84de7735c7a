package kube

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// throughProxy starts a proxy before backend and returns a client that uses its
// kubeconfig, as Tradewind does.
func throughProxy(t *testing.T, backend http.HandlerFunc) (*Proxy, *http.Client, string) {
	t.Helper()
	server := httptest.NewServer(backend)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	c := &Cluster{Kubeconfig: filepath.Join(dir, "kubeconfig"), rest: &rest.Config{Host: server.URL}}
	const kubeconfig = `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "http://x"}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: secret}}]}`
	if err := os.WriteFile(c.Kubeconfig, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := NewProxy(c, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return p, client, config.Host
}

func request(t *testing.T, client *http.Client, method, url string) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err == nil {
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	return res, err
}

func TestProxyFaults(t *testing.T) {
	t.Parallel()
	p, client, url := throughProxy(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("the user's own credentials did not come through: %q", r.Header.Get("Authorization"))
		}
	})
	for how, want := range map[string][2]int{ // answers to a read and to a write; 0 is none
		"": {200, 200}, FaultStatus: {503, 503}, FaultTooMany: {429, 429}, FaultConflict: {200, 409}, FaultDrop: {0, 0},
	} {
		p.Mend()
		if how != "" {
			if err := p.Break(how); err != nil {
				t.Fatal(err)
			}
		}
		for i, method := range []string{http.MethodGet, http.MethodPatch} {
			got := 0
			if res, err := request(t, client, method, url+"/api/v1/namespaces/default/services/web"); err == nil {
				got = res.StatusCode
			}
			if got != want[i] {
				t.Errorf("broken %q: %s answered %d, want %d", how, method, got, want[i])
			}
		}
	}
	if got := p.Writes(func(r Request) bool { return r.Resource == "services" }); got != 1 {
		t.Errorf("%d writes counted, want only the 1 that came through", got)
	}
}

func TestProxyCutsWatches(t *testing.T) {
	t.Parallel()
	p, client, url := throughProxy(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	res, err := request(t, client, http.MethodGet, url+"/api/v1/services")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(res.Body)
	if line, err := lines.ReadString('\n'); line != "first\n" || err != nil {
		t.Fatalf("a watch begins with %q, %v", line, err)
	}
	if err := p.Break(FaultStatus); err != nil {
		t.Fatal(err)
	}
	if line, err := lines.ReadString('\n'); err == nil {
		t.Errorf("a watch went on with %q", line)
	}
}

func TestResourceOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/api/v1/namespaces/default/services/web":                               "services",
		"/api/v1/namespaces/default":                                            "namespaces",
		"/api/v1/nodes":                                                         "nodes",
		"/apis/apps/v1/namespaces/default/deployments/web/scale":                "deployments/scale",
		"/apis/core.oam.dev/v1beta1/namespaces/default/applications/a/status":   "applications/status",
		"/apis/core.oam.dev/v1beta1/applications":                               "applications",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a.example.com": "customresourcedefinitions",
		"/version": "",
	} {
		if got := resourceOf(path); got != want {
			t.Errorf("resourceOf(%s) = %q, want %q", path, got, want)
		}
	}
}
